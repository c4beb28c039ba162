"""Rounds weights so that what layers make of real inputs changes least."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.embeddings import round_rows
from mmkd_tf.export.quantization.graph import Operator, code_of, constant, set_constant
from mmkd_tf.export.quantization.observation import runs
from mmkd_tf.export.quantization.plan import Treatment

_BITS = 8
_MAX_EXAMPLES = 128
_MAX_POSITIONS = 256  # of a picture
# The products of a layer's inputs take the square of this; larger layers are rounded one by one.
_MAX_COLUMNS = 2**10


def round_weights(
    model: schema.ModelT,
    treatments: Sequence[Treatment | None],
    unrounded: bytes,
    examples: Mapping[str, np.ndarray],
) -> None:
    """Rounds the weights of the main graph's layers that get 8 bits, by what comes into them.

    A projection of 100 channels with errors of half a step each is off by many steps where the
    channels rise together, as they do behind a ReLU. So the error of a weight is made up for by
    those that are rounded after it; see `round_rows`. Weights are multiples of their channel's
    step then, which a quantizer finds again. Recurrent kernels, in graphs of their own, stay.

    Args:
        model: A float model, changed in place.
        treatments: Of the main graph's operators.
        unrounded: The same model, or one whose tensors have the same places, as bytes.
        examples: As in `quantize`.
    """
    graph = model.subgraphs[0]
    layers = [
        operator
        for operator, treatment in zip(graph.operators, treatments, strict=True)
        if treatment is not None and treatment.bits == _BITS and _columns(model, graph, operator)
    ]
    sums: list[Any] = [0.0] * len(layers)  # arrays in the end
    for value_of in runs(unrounded, examples, limit=_MAX_EXAMPLES) if layers else ():
        for place, layer in enumerate(layers):
            value = value_of(layer.inputs[0])
            if value is not None and np.isfinite(value).all():
                sums[place] = sums[place] + _products(model, graph, layer, value)
    for layer, products in zip(layers, sums, strict=True):
        if np.ndim(products):
            _round(model, graph, layer, products)


def _columns(model, graph, operator) -> int:
    """How many weights make one output; 0 of operators that are left alone."""
    code = code_of(model, operator)
    if code not in (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED):
        return 0
    weights = constant(model, graph.tensors[operator.inputs[1]])
    if weights is None:
        return 0
    if code == Operator.DEPTHWISE_CONV_2D:
        single = weights.shape[-1] == graph.tensors[operator.inputs[0]].shape[-1]
        return weights.size // weights.shape[-1] if single else 0
    columns = weights.size // len(weights)
    grouped = weights.shape[-1] != graph.tensors[operator.inputs[0]].shape[-1]
    return 0 if grouped or columns > _MAX_COLUMNS else columns


def _products(model, graph, layer, value: np.ndarray) -> np.ndarray:
    """`inputs.T @ inputs` of a layer: `[columns, columns]`, of depthwise ones for each channel."""
    code = code_of(model, layer)
    if code == Operator.FULLY_CONNECTED:
        rows = value.reshape(-1, value.shape[-1])
        return rows.T @ rows
    shape = graph.tensors[layer.inputs[1]].shape
    rows = _patches(value, shape[1:3], layer.builtinOptions)
    if code == Operator.DEPTHWISE_CONV_2D:
        by_channel = rows.transpose(2, 1, 0)
        return by_channel @ by_channel.transpose(0, 2, 1)
    rows = rows.reshape(len(rows), -1)
    return rows.T @ rows


def _patches(value: np.ndarray, size: Sequence[int], options) -> np.ndarray:
    """What a convolution sees at some of its places: `[places, height * width, channels]`."""
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    reach = [(n - 1) * dilation + 1 for n, dilation in zip(size, dilations, strict=True)]
    if options.padding == schema.Padding.SAME:
        sides = zip(value.shape[1:3], reach, strides, strict=True)
        lacking = [max((-(-n // step) - 1) * step + far - n, 0) for n, far, step in sides]
        value = np.pad(value, [(0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(value, reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
    number = int(np.prod(windows.shape[:3]))
    places = np.arange(0, number, -(-number // _MAX_POSITIONS))
    found = windows[np.unravel_index(places, windows.shape[:3])]
    return found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)


def _round(model, graph, layer, products: np.ndarray) -> None:
    """Gives a layer whose inputs have such products its rounded weights."""
    tensor = graph.tensors[layer.inputs[1]]
    weights = np.asarray(constant(model, tensor))
    depthwise = products.ndim == 3
    rows = weights.reshape(-1, weights.shape[-1]).T if depthwise else weights
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    steps = np.abs(rows).max(axis=1, keepdims=True) / (2 ** (_BITS - 1) - 1)
    steps = np.where(steps > 0, steps, 1.0)
    if depthwise:
        found = [
            round_rows(row[np.newaxis], bits=_BITS, products=each)[0]
            for row, each in zip(rows / steps, products, strict=True)
        ]
    else:
        found = round_rows(rows / steps, bits=_BITS, products=products)
    found = (np.asarray(found) * steps).astype(np.float32)
    found = found.T.reshape(weights.shape) if depthwise else found.reshape(weights.shape)
    set_constant(model, tensor, found)
