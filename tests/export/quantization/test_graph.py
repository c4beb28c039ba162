import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.graph import (
    Operator,
    add_tensor,
    code_of,
    constant,
    consumers,
    make_operator,
    set_constant,
    write_used,
)
from mmkd_tf.export.tflite_tables import read_tables


@pytest.fixture(scope="module")
def content(model, examples):
    return convert(model, examples)


def test_what_nothing_uses_is_left_out(content):
    model = read_tables(content)
    before = len(write_used(read_tables(content)))
    unused = schema.TensorT()
    set_constant(model, unused, np.zeros(5000, np.float32))
    make_operator(model, Operator.COS, [0], [0])
    assert len(write_used(model)) == before
    assert Operator.COS not in {code.builtinCode for code in model.operatorCodes}


def test_written_models_give_the_same(content, examples):
    written = write_used(read_tables(content))
    np.testing.assert_array_equal(TensorRunner(written)(examples), TensorRunner(content)(examples))


def test_a_new_constant_leaves_those_who_shared_the_old_one(content, examples):
    model = read_tables(content)
    graph = model.subgraphs[0]
    dense = [o for o in graph.operators if code_of(model, o) == Operator.FULLY_CONNECTED][-1]
    kernel = graph.tensors[dense.inputs[1]]
    values = constant(model, kernel)
    twin = add_tensor(graph, "twin", values.shape)
    graph.tensors[twin].buffer = kernel.buffer
    set_constant(model, kernel, 2 * values)
    np.testing.assert_array_equal(constant(model, kernel), 2 * values)
    np.testing.assert_array_equal(constant(model, graph.tensors[twin]), values)


def test_constant_is_none_for_what_is_computed_or_no_float(content):
    model = read_tables(content)
    graph = model.subgraphs[0]
    assert all(constant(model, graph.tensors[index]) is None for index in graph.inputs)
    integers = add_tensor(graph, "integers", [2], type=schema.TensorType.INT32)
    set_constant(model, graph.tensors[integers], np.array([1, 2], np.int32))
    assert constant(model, graph.tensors[integers]) is None


def test_open_sizes_are_those_of_the_tensor_it_is_like(model, examples):
    graph = read_tables(convert(model, examples, batch_size=None)).subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    new = graph.tensors[add_tensor(graph, "new", [1, 7], like=image)]
    assert list(new.shapeSignature) == [-1, 7]
    assert graph.tensors[add_tensor(graph, "other", [1, 7])].shapeSignature is None


def test_operators_above_127(content):
    model = read_tables(content)
    operator = make_operator(model, Operator.GELU, [0], [1])
    assert Operator.GELU > 127
    assert code_of(model, operator) == Operator.GELU
    assert make_operator(model, Operator.GELU, [0], [1]).opcodeIndex == operator.opcodeIndex


def test_consumers_are_by_tensor(content):
    model = read_tables(content)
    graph = model.subgraphs[0]
    readers = consumers(graph)
    for operator in graph.operators:
        assert all(operator in readers[index] for index in operator.inputs)
    assert not any(index in readers for index in graph.outputs)
