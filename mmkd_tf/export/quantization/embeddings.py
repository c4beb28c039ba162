"""Rewrites the lookups of word embeddings so that few bits hold them well."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.graph import (
    Operator,
    add_tensor,
    code_of,
    constant,
    consumers,
    make_operator,
    set_constant,
)

_DAMPING = 0.01
# Of a row's largest number, what its scale may reach to; by whether bits are few.
_SHARES = {False: (1.0,), True: (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)}
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
        graph.operators = [
            new for operator in graph.operators for new in _lookup(model, graph, operator)
        ]


def _is_table_gather(model, graph, operator) -> bool:
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


def _lookup(model, graph, gather) -> list[schema.OperatorT]:
    """EMBEDDING_LOOKUP takes ids of one axis, so others need a RESHAPE before and behind."""
    if not _is_table_gather(model, graph, gather):
        return [gather]
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
    """
    for graph in model.subgraphs:
        graph.operators = [
            new for operator in graph.operators for new in _scale(model, graph, operator, bits)
        ]


def _scale(model, graph, lookup, bits) -> list[schema.OperatorT]:
    """Changes a lookup into one of steps, with operators behind it; leaves other operators."""
    if code_of(model, lookup) != Operator.EMBEDDING_LOOKUP:
        return [lookup]
    ids, table = lookup.inputs
    tensor, output = graph.tensors[table], lookup.outputs[0]
    values = constant(model, tensor)
    if values is None:
        return [lookup]
    steps, scales = _steps(values, bits=bits, products=_products_behind(model, graph, output))
    set_constant(model, tensor, steps)
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
    return [lookup, make_operator(model, code, [ids, scale_table], [row_scales]), product]


def _steps(
    values: np.ndarray, *, bits: int, products: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Gives whole numbers and the scale of each row, `[rows, 1]`, half precision in float32.

    With few bits a row's largest number may better be cut than make the steps of all others large.
    """
    largest = np.abs(values.astype(np.float64)).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    best: tuple[np.ndarray, ...] = ()
    for share in _SHARES[bits <= 4]:
        scales = np.where(largest > 0, largest * share, 1.0).astype(np.float16).astype(np.float32)
        scales = np.maximum(scales, np.finfo(np.float16).tiny)
        steps = round_rows(values / scales, bits=bits, products=products)
        errors = steps * scales - values
        behind = errors if products is None else errors @ products
        losses = (behind * errors).sum(axis=1, keepdims=True)
        if not best:
            best = steps, scales, losses
        else:
            better = losses < best[2]
            best = tuple(
                np.where(better, new, old)
                for new, old in zip((steps, scales, losses), best, strict=True)
            )
    return best[0], best[1]


def _products_behind(
    model: schema.ModelT, graph: schema.SubGraphT, index: int
) -> np.ndarray | None:
    """`kernel @ kernel.T` of the dense layers that read a lookup's rows; None if there are none."""
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
                    total = kernel.T.astype(np.float64) @ kernel + (0 if total is None else total)
            elif code in _MOVING and len(shape := graph.tensors[output].shape):
                waiting += [output] if shape[-1] == size else []
    return total


def round_rows(rows: np.ndarray, *, bits: int, products: np.ndarray | None = None) -> np.ndarray:
    """Rounds `[rows, columns]` to whole numbers so that what a layer makes of them changes least.

    Numbers reach from `-(2^(bits - 1) - 1)` to `2^(bits - 1) - 1`. With `products`,
    `kernel @ kernel.T`, columns are rounded one after the other, and the error of each is made up
    for by those that are still to come: it is the error of `rows @ kernel` that becomes small then.
    Numbers at the ends stay there, so that a quantizer which takes its scale from the largest one
    finds the very same numbers.

    References:
        Frantar, Ashkboos, Hoefler, Alistarh: GPTQ: Accurate Post-Training Quantization for
        Generative Pre-trained Transformers, 2023.

    Examples:
        >>> round_rows(np.array([[7.0, 2.6], [-7.4, 0.3]]), bits=4).tolist()
        [[7.0, 3.0], [-7.0, 0.0]]
    """
    end = 2 ** (bits - 1) - 1
    nearest = np.clip(np.rint(rows), -end, end).astype(np.float64)
    if products is None:
        return nearest.astype(np.float32)
    left, at_end = rows.astype(np.float64), np.abs(rows) > end - 1e-3
    # Columns that matter most go first, while many are left to make up for them.
    order = np.argsort(-np.diagonal(products), kind="stable")
    shares = _error_shares(products[np.ix_(order, order)])
    for place, column in enumerate(order):
        rounded = np.clip(np.rint(left[:, column]), -end, end)
        rounded = np.where(at_end[:, column], nearest[:, column], rounded)
        error = left[:, column] - rounded
        left[:, order[place + 1 :]] -= np.outer(error, shares[place, place + 1 :])
        left[:, column] = rounded
    return left.astype(np.float32)


def _error_shares(products: np.ndarray) -> np.ndarray:
    """How much of a column's error each later one takes: `[columns, columns]`."""
    # Columns that nothing depends on would make the matrix singular.
    damping = _DAMPING * np.diagonal(products).mean() + 1e-12
    inverse = np.linalg.inv(products + np.eye(len(products)) * damping)
    factor = np.linalg.cholesky(inverse).T
    return factor / np.diagonal(factor)[:, np.newaxis]
