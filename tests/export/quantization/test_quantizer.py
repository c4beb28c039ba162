import sys

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.plan import Arithmetic, Treatment
from mmkd_tf.export.quantization.quantizer import apply
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of
from mmkd_tf.export.tflite_tables import read_tables

NUMBERS = {"numbers": np.random.default_rng(0).normal(size=(5, 64)).astype("float32")}


@pytest.fixture(scope="module")
def content():
    numbers = keras.Input([64], name="numbers")
    x = layers.Dense(4200)(numbers)  # 268,800 weights: the tool puts them behind the tables
    return convert(keras.Model(numbers, layers.Dense(3)(x)), NUMBERS)


def applied(content, treatments, capfd):
    """Treats dense layers in turn."""
    model, left = read_tables(content), list(treatments)
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            tensor.name = f"a.b+c({index})".encode()  # no regular expression that means itself
    rows = [
        [
            left.pop(0) if code_of(model, operator) == Operator.FULLY_CONNECTED else None
            for operator in graph.operators
        ]
        for graph in model.subgraphs
    ]
    result = apply(model, rows, {})
    assert capfd.readouterr() == ("", "")
    return result


def kinds(content):
    model = read_tables(content)
    graph = model.subgraphs[0]
    return [
        graph.tensors[operator.inputs[1]].type
        for operator in graph.operators
        if code_of(model, operator) == Operator.FULLY_CONNECTED
    ]


def test_each_operator_is_treated_for_itself(content, capfd):
    float32, int8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
    dynamic = Treatment(Arithmetic.DYNAMIC, 8)
    assert kinds(applied(content, [dynamic, None], capfd)) == [int8, float32]
    assert kinds(applied(content, [None, dynamic], capfd)) == [float32, int8]


def test_large_weights_lie_inside_the_tables(content, capfd):
    result = applied(content, [Treatment(Arithmetic.FLOAT, 8), None], capfd)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(result, 0))
    assert max(0 if b.data is None else len(b.data) for b in model.buffers) == 64 * 4200
    assert not any(buffer.offset for buffer in model.buffers)
    found, expected = TensorRunner(result)(NUMBERS), TensorRunner(content)(NUMBERS)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_nothing_to_do(content, capfd):
    result = applied(content, [None, None], capfd)
    np.testing.assert_array_equal(TensorRunner(result)(NUMBERS), TensorRunner(content)(NUMBERS))


def test_says_how_to_get_the_tool(content, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    model = read_tables(content)
    with pytest.raises(ImportError, match="pip install litert-quantizer"):
        apply(model, [[None] * len(graph.operators) for graph in model.subgraphs], {})
