"""Takes out of a quantised model the errors that are the same in every example."""

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.observation import WEIGHTED, runs
from mmkd_tf.export.quantization.tflite_graph import (
    Operator,
    add_tensor,
    code_of,
    constant,
    consumers,
    set_constant,
    write_used,
)
from mmkd_tf.export.tflite_tables import read_tables

_MAX_EXAMPLES = 64
_MAX_STEPS = 2**20


def add_biases(model: schema.ModelT, *, min_weights: int) -> None:
    """Gives dense layers that lack a bias one of zeros, so that it can be corrected.

    Args:
        model: A float model; is changed.
        min_weights: Smaller layers stay as they are.
    """
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


def correct_biases(quantized: bytes, unrounded: bytes, examples: Mapping[str, np.ndarray]) -> bytes:
    """Shifts the biases of integer layers until their mean outputs are those of the float model.

    Rounded weights and activations shift what a layer gives by a constant, which the next layers
    would carry on. Layers are corrected from the first to the last, each with those before it
    corrected already.

    Args:
        quantized: A quantised model; what has float weights, or weights that are turned back into
            floats, stays as it is.
        unrounded: The float model; the same tensors have the same names.
        examples: By input name, examples in the form that the files take; up to 64 are used.

    Returns:
        The quantised model with other biases.

    References:
        Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight
        Equalization and Bias Correction, 2019.
    """
    model = read_tables(quantized)
    graph = model.subgraphs[0]
    layers = _integer_layers(model)
    if not layers:
        return quantized
    places = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    original = read_tables(unrounded).subgraphs[0].tensors
    where = {tensor.name: index for index, tensor in enumerate(original)}
    names = [graph.tensors[layer.outputs[0]].name for layer in layers]
    wanted = _means(unrounded, original, [where[name] for name in names], examples)
    for layer, name, mean in zip(layers, names, wanted, strict=True):
        (found,) = _means(write_used(model), graph.tensors, [places[name]], examples)
        bias = graph.tensors[layer.inputs[2]]
        values = np.asarray(model.buffers[bias.buffer].data, np.uint8)
        if bias.type == schema.TensorType.INT32:
            with np.errstate(divide="ignore", invalid="ignore"):
                steps = np.rint((found - mean) / bias.quantization.scale)
            # A channel without weights has no scale, and nothing that could be put right.
            steps = np.where(np.abs(steps) < _MAX_STEPS, steps, 0).astype(np.int32)
            set_constant(model, bias, values.view(np.int32) - steps)
        else:
            shift = (found - mean).astype(np.float32)
            set_constant(model, bias, values.view(np.float32) - shift)
    return write_used(model)


def _integer_layers(model):
    """Finds layers of the main graph with integer weights and a bias of their own."""
    graph = model.subgraphs[0]
    readers = consumers(graph)
    return [
        operator
        for operator in graph.operators
        if code_of(model, operator) in WEIGHTED
        and graph.tensors[operator.inputs[1]].type != schema.TensorType.FLOAT32
        and len(operator.inputs) > 2
        and operator.inputs[2] >= 0
        and len(readers[int(operator.inputs[2])]) == 1
    ]


def _means(content, tensors, indices, examples):
    """Gives the mean of each tensor over examples and positions, `[channels]` each."""
    sums, count = [0.0] * len(indices), 0
    for value_of in runs(content, examples, limit=_MAX_EXAMPLES):
        count += 1
        for position, index in enumerate(indices):
            value, stored = value_of(index).astype(np.float64), tensors[index].quantization
            if tensors[index].type != schema.TensorType.FLOAT32:
                value = (value - stored.zeroPoint[0]) * stored.scale[0]
            sums[position] += value.reshape(-1, value.shape[-1]).mean(axis=0)
    return [total / count for total in sums]
