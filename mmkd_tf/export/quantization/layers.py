"""Rewrites convolutions and dense layers so that integers serve them well."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.graph import (
    Operator,
    add_tensor,
    code_of,
    constant,
    consumers,
    set_constant,
)


def add_biases(model: schema.ModelT, *, min_weights: int) -> None:
    """Gives dense layers of so many weights that lack a bias zeros, so that it can be corrected."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        if code_of(model, operator) != Operator.FULLY_CONNECTED or operator.inputs[-1] != -1:
            continue
        weights = constant(model, graph.tensors[operator.inputs[1]])
        if weights is not None and weights.size >= min_weights:
            name = graph.tensors[operator.outputs[0]].name.decode()
            bias = add_tensor(graph, f"{name}/bias", [len(weights)])
            set_constant(model, graph.tensors[bias], np.zeros(len(weights), np.float32))
            operator.inputs = [*operator.inputs[:2], bias]


def merge_separable(model: schema.ModelT) -> None:
    """Makes one convolution of a depthwise one with several filters a channel and the next 1 x 1.

    The runtime has no fast integer code for such depthwise convolutions, which stand where
    pictures come in: their three channels make many. Merged, the default student's integer file
    takes three quarters of the time, with 600 weights more. Nothing else changes.
    """
    graph = model.subgraphs[0]
    readers = consumers(graph)
    merged = []
    for operator in graph.operators:
        behind = readers.get(int(operator.outputs[0]), [])
        if len(behind) == 1 and _can_merge(model, graph, operator, behind[0]):
            _merge(model, graph, operator, behind[0])
            merged.append(operator)
    graph.operators = [operator for operator in graph.operators if operator not in merged]


def _can_merge(model, graph, depthwise, pointwise) -> bool:
    if (
        code_of(model, depthwise) != Operator.DEPTHWISE_CONV_2D
        or code_of(model, pointwise) != Operator.CONV_2D
    ):
        return False
    first, second = depthwise.builtinOptions, pointwise.builtinOptions
    kernels = [constant(model, graph.tensors[each.inputs[1]]) for each in (depthwise, pointwise)]
    biases = [constant(model, graph.tensors[each.inputs[2]]) for each in (depthwise, pointwise)]
    return (
        first.depthMultiplier > 1
        and first.fusedActivationFunction == schema.ActivationFunctionType.NONE
        and second.strideH == second.strideW == 1
        and depthwise.outputs[0] not in graph.outputs
        and all(each is not None for each in kernels + biases)
        and np.asarray(kernels[1]).shape[1:3] == (1, 1)
    )


def _merge(model, graph, depthwise, pointwise) -> None:
    """Puts both into the second."""
    (spread, spread_bias), (mix, mix_bias) = (
        [np.asarray(constant(model, graph.tensors[each.inputs[place]])) for place in (1, 2)]
        for each in (depthwise, pointwise)
    )
    _, height, width, num_spread = spread.shape
    multiplier = depthwise.builtinOptions.depthMultiplier
    product = np.einsum("om,hwm->ohwm", mix[:, 0, 0], spread[0])
    product = product.reshape(len(mix), height, width, num_spread // multiplier, multiplier)
    kernel, bias = (graph.tensors[pointwise.inputs[place]] for place in (1, 2))
    merged = product.sum(axis=-1).astype(np.float32)
    kernel.shape = np.array(merged.shape, np.int32)
    set_constant(model, kernel, merged)
    set_constant(model, bias, mix_bias + mix[:, 0, 0] @ spread_bias)
    pointwise.inputs = [depthwise.inputs[0], *pointwise.inputs[1:]]
    for name in ("strideH", "strideW", "padding", "dilationHFactor", "dilationWFactor"):
        setattr(pointwise.builtinOptions, name, getattr(depthwise.builtinOptions, name))
