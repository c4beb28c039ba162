"""Helps to change the operators and tensors of a TFLite model."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.tflite_tables import write_tables

Operator = schema.BuiltinOperator
WEIGHTED = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)


def write_used(model: schema.ModelT) -> bytes:
    """Writes a model without the buffers and operator codes that nothing uses any more."""
    graphs, metadata = model.subgraphs, model.metadata or []
    holders = [tensor for graph in graphs for tensor in graph.tensors] + list(metadata)
    kept = sorted({0} | {holder.buffer for holder in holders})  # the first is "no data"
    model.buffers = [model.buffers[index] for index in kept]
    moved = {old: new for new, old in enumerate(kept)}
    for holder in holders:
        holder.buffer = moved[holder.buffer]
    operators = [operator for graph in graphs for operator in graph.operators]
    kept = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in kept]
    moved = {old: new for new, old in enumerate(kept)}
    for operator in operators:
        operator.opcodeIndex = moved[operator.opcodeIndex]
    return write_tables(model)


def code_of(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Gives which of `Operator` it is."""
    return _number(model.operatorCodes[operator.opcodeIndex])


def _number(code: schema.OperatorCodeT) -> int:
    # Numbers above 127 are only in the newer of the two fields.
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def make_operator(
    model: schema.ModelT, code: int, inputs: Sequence[int], outputs: Sequence[int]
) -> schema.OperatorT:
    """Makes an operator without options; the caller puts it into a graph."""
    operator = schema.OperatorT()
    known = [_number(each) for each in model.operatorCodes]
    if code not in known:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        model.operatorCodes.append(entry)
        known.append(code)
    operator.opcodeIndex = known.index(code)
    operator.inputs, operator.outputs = list(inputs), list(outputs)
    return operator


def add_tensor(
    graph: schema.SubGraphT, name: str, shape: Sequence[int], *, type: int = 0, like=None
) -> int:
    """Adds a tensor, by default float32, of a new name, and gives its index.

    Its first size is open where that of the tensor `like` is.
    """
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), type
    tensor.buffer = 0
    if like is not None and like.shapeSignature is not None and like.shapeSignature[0] == -1:
        tensor.shapeSignature = np.array([-1, *shape[1:]], np.int32)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """Gives the float32 values that the file holds for a tensor; None if it holds none."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) == 0:
        return None
    return np.asarray(data, np.uint8).view(np.float32).reshape(tensor.shape)


def set_constant(model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray) -> None:
    """Gives a tensor values of its own; other tensors keep what they shared with it."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1


def consumers(graph: schema.SubGraphT) -> dict[int, list[schema.OperatorT]]:
    """Gives, by tensor index, the operators that read it."""
    found: dict[int, list[schema.OperatorT]] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            found.setdefault(int(index), []).append(operator)
    return found
