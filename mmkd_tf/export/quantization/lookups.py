"""Rewrites the lookups of word embeddings so that few bits hold them well."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.rounding import round_to_grid, row_steps
from mmkd_tf.export.quantization.tflite_graph import (
    Operator,
    add_tensor,
    code_of,
    constant,
    consumers,
    make_operator,
    set_constant,
)

# They choose rows or put them elsewhere.
_MOVING = (
    Operator.EXPAND_DIMS,
    Operator.GATHER,
    Operator.GATHER_ND,
    Operator.RESHAPE,
    Operator.REVERSE_V2,
    Operator.SLICE,
    Operator.SQUEEZE,
    Operator.STRIDED_SLICE,
    Operator.TRANSPOSE,
)


def use_embedding_lookup(model: schema.ModelT) -> None:
    """Turns each GATHER of rows from a float table into EMBEDDING_LOOKUP.

    Both give the same, but the quantizer and the runtime know integer tables of the second only.
    Tables of integers stay as they are.
    """
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            if _is_table_gather(model, graph, operator):
                operators += _lookup(model, graph, operator)
            else:
                operators.append(operator)
        graph.operators = operators


def _is_table_gather(model, graph, operator):
    if code_of(model, operator) != Operator.GATHER:
        return False
    table, ids = (graph.tensors[index] for index in operator.inputs[:2])
    values, options = constant(model, table), operator.builtinOptions
    return (
        values is not None
        and values.ndim == 2
        and ids.type == schema.TensorType.INT32
        and len(ids.shape) > 0
        and (options is None or (options.axis == 0 and options.batchDims == 0))
    )


def _lookup(model, graph, gather):
    """EMBEDDING_LOOKUP takes ids of one axis, so others need a RESHAPE before and behind."""
    table, ids = gather.inputs[:2]
    ids_tensor, output = graph.tensors[ids], graph.tensors[gather.outputs[0]]
    if len(ids_tensor.shape) == 1:
        return [make_operator(model, Operator.EMBEDDING_LOOKUP, [ids, table], gather.outputs)]
    name, size = output.name.decode(), int(np.prod(ids_tensor.shape))
    kind = schema.TensorType.INT32
    flat = add_tensor(graph, f"{name}/ids", [size], type=kind, like=ids_tensor)
    rows = add_tensor(graph, f"{name}/rows", [size, output.shape[-1]], like=ids_tensor)
    return [
        _reshape(model, graph, ids, flat, [-1]),
        make_operator(model, Operator.EMBEDDING_LOOKUP, [flat, table], [rows]),
        _reshape(model, graph, rows, gather.outputs[0], [-1, *map(int, output.shape[1:])]),
    ]


def _reshape(model, graph, source, target, sizes):
    name = f"{graph.tensors[target].name.decode()}/sizes"
    shape = add_tensor(graph, name, [len(sizes)], type=schema.TensorType.INT32)
    set_constant(model, graph.tensors[shape], np.array(sizes, np.int32))
    operator = make_operator(model, Operator.RESHAPE, [source, shape], [target])
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = schema.ReshapeOptionsT()
    operator.builtinOptions.newShape = list(sizes)
    return operator


def scale_rows(model: schema.ModelT, *, bits: int) -> None:
    """Gives each row of an embedding table a scale of its own, at two bytes a row.

    `lookup(ids, table)` becomes `lookup(ids, steps) * lookup(ids, scales)`: the steps are whole
    numbers of `bits` bits, the scales will be half precision. The format's own scales take 12
    bytes a row, as much as a whole row of a small embedding. The rounding keeps what the dense
    layer behind the lookup computes, where there is one.

    Args:
        model: A model with EMBEDDING_LOOKUP operators; is changed.
        bits: Of the steps, 2 to 8.
    """
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            operators.append(operator)
            if code_of(model, operator) == Operator.EMBEDDING_LOOKUP:
                operators += _scale(model, graph, operator, bits)
        graph.operators = operators


def _scale(model, graph, lookup, bits):
    ids, table = lookup.inputs
    tensor, output = graph.tensors[table], lookup.outputs[0]
    values = constant(model, tensor)
    if values is None:
        return []
    scales = row_steps(values, bits=bits).astype(np.float16).astype(np.float32)
    scales = np.maximum(scales, np.finfo(np.float16).tiny)
    set_constant(
        model,
        tensor,
        round_to_grid(
            values / scales,
            steps=np.ones_like(scales),
            bits=bits,
            moments=_moments_of_projection(model, graph, output),
        ),
    )
    name, sizes = graph.tensors[output].name.decode(), graph.tensors[output].shape
    like = graph.tensors[ids]
    rows = add_tensor(graph, f"{name}/steps", sizes, like=like)
    scale_table = add_tensor(graph, f"{name}/scales", scales.shape)
    set_constant(model, graph.tensors[scale_table], scales)
    row_scales = add_tensor(graph, f"{name}/row_scales", [sizes[0], 1], like=like)
    lookup.outputs = [rows]
    product = make_operator(model, Operator.MUL, [rows, row_scales], [output])
    product.builtinOptionsType = schema.BuiltinOptions.MulOptions
    product.builtinOptions = schema.MulOptionsT()
    code = Operator.EMBEDDING_LOOKUP
    return [make_operator(model, code, [ids, scale_table], [row_scales]), product]


def _moments_of_projection(model, graph, index):
    """The matrix whose quadratic form is what an error of a row does behind the dense layers."""
    readers, total, waiting = consumers(graph), None, [int(index)]
    size = graph.tensors[index].shape[-1]
    while waiting:
        index = waiting.pop()
        for operator in readers.get(index, []):
            code, output = code_of(model, operator), int(operator.outputs[0])
            if operator.inputs[0] != index:
                continue
            if code == Operator.FULLY_CONNECTED:
                kernel = constant(model, graph.tensors[operator.inputs[1]])
                if kernel is not None and kernel.shape[1] == size:
                    product = kernel.T.astype(np.float64) @ kernel
                    total = product if total is None else total + product
            elif code in _MOVING and len(shape := graph.tensors[output].shape):
                waiting += [output] if shape[-1] == size else []
    return total
