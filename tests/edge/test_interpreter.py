import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.edge.interpreter import TensorRunner


def converted(function, specs):
    function = tf.function(function, input_signature=specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], tf.Module()
    )
    return converter.convert()


def test_binds_inputs_by_name(student, student_file):
    runner = TensorRunner(student_file.read_bytes())
    assert runner.inputs == {
        "image": ((1, 12, 16, 3), np.dtype("uint8")),
        "text": ((1, 4), np.dtype("int32")),
    }
    assert runner.num_classes == 3
    tensors = {
        "text": np.array([[2, 3, 0, 0]], "int32"),
        "image": np.full([1, 12, 16, 3], 90, "uint8"),
    }
    expected = keras.ops.softmax(student(tensors))[0]
    np.testing.assert_allclose(runner(tensors), expected, atol=1e-5)


def test_result_outlives_the_next_call(student_file):
    runner = TensorRunner(student_file.read_bytes())
    inputs = {name: np.zeros(*form) for name, form in runner.inputs.items()}
    first = runner(inputs)
    copy = first.copy()
    runner({**inputs, "text": np.array([[2, 3, 4, 1]], "int32")})
    np.testing.assert_array_equal(first, copy)


def test_refuses_other_signatures():
    content = converted(lambda x: {"y": x + 1.0}, [tf.TensorSpec([1, 2], name="x")])
    with pytest.raises(ValueError, match="a signature 'serving_default' that gives"):
        TensorRunner(content)


def test_refuses_what_the_interpreter_refuses():
    with pytest.raises(ValueError, match="one that this interpreter refuses"):
        TensorRunner(b"\x1c\x00\x00\x00TFL3" + bytes(200))


def test_says_how_to_install_the_interpreter(student_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        TensorRunner(student_file.read_bytes())
