"""Runs models on examples: which values their tensors take, and what rounding shifts."""

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.interpreter import SIGNATURE
from mmkd_tf.export.quantization.graph import (
    WEIGHTED,
    code_of,
    constant,
    consumers,
    set_constant,
    write_used,
)
from mmkd_tf.export.tflite_tables import read_tables

_MAX_EXAMPLES = 512
_MAX_EXAMPLES_OF_MEANS = 64
_MAX_STEPS = 2**20


def observe_ranges(
    model: schema.ModelT, content: bytes, examples: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Gives the smallest and largest value of the main graph's float tensors but constants."""
    tensors = model.subgraphs[0].tensors
    found: dict[str, tuple[float, float]] = {}
    floats = {
        index: tensor.name.decode()
        for index, tensor in enumerate(tensors)
        if tensor.type == schema.TensorType.FLOAT32 and constant(model, tensor) is None
    }
    for value_of in runs(content, examples, limit=_MAX_EXAMPLES):
        for index, name in floats.items():
            value = value_of(index)
            if value is not None and value.size and np.isfinite(value).all():
                low, high = found.get(name, (np.inf, -np.inf))
                found[name] = (min(low, value.min()), max(high, value.max()))
    return found


def runs(content: bytes, examples: Mapping[str, np.ndarray], *, limit: int) -> Iterator:
    """Runs a model on up to `limit` examples, evenly chosen, and lets its tensors be read.

    Yields after each run a function from a tensor's index in the main graph to its value, or None
    where it has none, as in a branch that was not taken.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    details = interpreter.get_signature_runner(SIGNATURE).get_input_details()
    batch = next(iter(details.values()))["shape"][0]
    num_examples = len(next(iter(examples.values())))
    chosen = np.linspace(0, num_examples - 1, min(limit, num_examples)).astype(int)
    chosen = np.resize(chosen, -(-len(chosen) // batch) * batch)  # the last batch is made full

    def value_of(index):
        try:
            return interpreter.get_tensor(int(index))
        except ValueError:
            return None

    for rows in chosen.reshape(-1, batch):
        for name, detail in details.items():
            interpreter.set_tensor(detail["index"], examples[name][rows])
        interpreter.invoke()
        yield value_of


def correct_biases(quantized: bytes, unrounded: bytes, examples: Mapping[str, np.ndarray]) -> bytes:
    """Shifts the biases of integer layers until their mean outputs are those of the float model.

    Rounded weights and activations shift what a layer gives by a constant, which the next layers
    would carry on. Layers are corrected from the first to the last, each with those before it
    corrected already. What has float weights, or weights that are turned back into floats, stays
    as it is. Tensors have the same names in the float model `unrounded`.

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


def _integer_layers(model: schema.ModelT) -> list[schema.OperatorT]:
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
    for value_of in runs(content, examples, limit=_MAX_EXAMPLES_OF_MEANS):
        count += 1
        for position, index in enumerate(indices):
            value, stored = value_of(index).astype(np.float64), tensors[index].quantization
            if tensors[index].type != schema.TensorType.FLOAT32:
                value = (value - stored.zeroPoint[0]) * stored.scale[0]
            sums[position] += value.reshape(-1, value.shape[-1]).mean(axis=0)
    return [total / count for total in sums]
