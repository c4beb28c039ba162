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
    expected = keras.ops.softmax(student(tensors))
    assert runner(tensors).shape == (1, 3)
    np.testing.assert_allclose(runner(tensors), expected, atol=1e-5)


def test_result_outlives_the_next_call(student_file):
    runner = TensorRunner(student_file.read_bytes())
    inputs = {name: np.zeros(*form) for name, form in runner.inputs.items()}
    first = runner(inputs)
    copy = first.copy()
    runner({**inputs, "text": np.array([[2, 3, 4, 1]], "int32")})
    np.testing.assert_array_equal(first, copy)


@pytest.fixture(scope="module", params=[1, 3, None])
def doubler(request):
    """A file whose answer tells its inputs apart."""
    specs = [
        tf.TensorSpec([request.param, 2], name="x"),
        tf.TensorSpec([request.param, 2], tf.int32, name="y"),
    ]
    content = converted(
        lambda x, y: {"probabilities": tf.tanh(x) + 10 * tf.cast(y, tf.float32)}, specs
    )
    return -1 if request.param is None else request.param, TensorRunner(content)


def test_runs_any_number_of_examples(doubler):
    size, runner = doubler
    assert runner.batch_size == size
    assert runner.inputs == {
        "x": ((size, 2), np.dtype("float32")),
        "y": ((size, 2), np.dtype("int32")),
    }
    for num_examples in (1, 7, 3, 8):
        x = np.linspace(-1, 1, 2 * num_examples, dtype="float32").reshape(-1, 2)
        y = np.arange(2 * num_examples, dtype="int32").reshape(-1, 2)
        expected = np.tanh(x) + 10 * y
        np.testing.assert_allclose(runner({"y": y, "x": x}), expected, atol=1e-5)


def test_lists_tensors_that_do_not_fit(doubler):
    _, runner = doubler
    with pytest.raises(ValueError) as caught:
        runner({"x": np.zeros([2, 3], "float32"), "z": np.zeros([2, 2])})
    message = str(caught.value)
    assert "for 'x', float32 ['n', 2]. Received: float32 [2, 3]." in message
    assert "for 'y', int32 ['n', 2]. Received: nothing." in message
    for rows in ((2, 3), (0, 0)):
        tensors = {"x": np.zeros([rows[0], 2], "float32"), "y": np.zeros([rows[1], 2], "int32")}
        with pytest.raises(ValueError, match="one example or more, equally many"):
            runner(tensors)


def test_refuses_inputs_without_a_batch():
    specs = [tf.TensorSpec([1, 2], name="x"), tf.TensorSpec([], name="y")]
    content = converted(lambda x, y: {"probabilities": x + y}, specs)
    with pytest.raises(ValueError, match="inputs all begin with the batch"):
        TensorRunner(content)


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


def test_no_more_examples_than_memory():
    """Each example compared with each: the second thousand takes more than the first."""
    spec = tf.TensorSpec([None, 4], name="x")
    content = converted(
        lambda x: {"probabilities": tf.matmul(tf.matmul(x, x, transpose_b=True), x)}, [spec]
    )
    runner = TensorRunner(content)
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.testing.assert_allclose(runner({"x": x}), x @ x.T @ x, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="`tensors`: fewer examples at a time. Received: 40000"):
        runner({"x": np.zeros([40_000, 4], np.float32)})
