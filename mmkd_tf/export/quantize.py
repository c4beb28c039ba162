"""Makes a float32 TFLite model smaller: half precision, integer weights, integer arithmetic."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.heads import as_logits
from mmkd_tf.export.parity import difference
from mmkd_tf.export.quantization.bias_correction import add_biases, correct_biases
from mmkd_tf.export.quantization.lookups import scale_rows, use_embedding_lookup
from mmkd_tf.export.quantization.observation import observe
from mmkd_tf.export.quantization.plan import VERY_LARGE, Scheme, plan
from mmkd_tf.export.quantization.quantizer import apply
from mmkd_tf.export.quantization.separable import merge_separable
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, write_used
from mmkd_tf.export.quantization.weight_rounding import round_weights
from mmkd_tf.export.tflite_tables import read_tables

LEVELS = ("float32", "float16", "dynamic", "mixed", "mixed4")

# Where dense layers of 4 bits change the logits by more than this share, they get 8.
_MAX_RELATIVE_ERROR = 0.05
_NUM_COMPARED = 128

_SCHEMES = {
    "float16": Scheme(weight_bits=16),
    "dynamic": Scheme(),
    "mixed": Scheme(integer=True),
    "mixed4": Scheme(integer=True, embedding_bits=4, large_dense_bits=4),
}


def quantize(
    content: bytes,
    *,
    level: str,
    examples: Mapping[str, np.ndarray],
    task: str = "single_label",
) -> bytes:
    """Quantises a float32 model that `convert` made.

    Signature, inputs and output stay: the output is float32, and so is the arithmetic within
    recurrent layers. Tensors inside get short names. The levels:

    - "float32": as it is.
    - "float16": weights in half precision, half the bytes, hardly a difference.
    - "dynamic": weights in 8 bits, activations float; large products are computed in integers.
    - "mixed": convolutions, and what follows them up to the fusion, run in integers throughout.
    - "mixed4": as "mixed", with word embeddings in 4 bits, and so dense layers of 65,536 weights
      or more if that changes the logits of the examples by no more than 5 %.

    Weights are rounded so that what each layer gives on the examples changes least.

    Args:
        content: TFLite bytes of one signature, float32 inside.
        level: One of `LEVELS`.
        examples: By input name, examples in the form that the file takes, along the first axis,
            for instance of the training split; 512 are used. A hundred or more are advisable.
        task: What the file was made for.

    Returns:
        TFLite bytes.

    Raises:
        ImportError: If the quantizer is not installed.
        ValueError: If `content` is no TFLite model, or another argument does not fit; the
            message lists all that is wrong.
    """
    problems = []
    if level not in LEVELS:
        problems.append(f"`level`: one of {', '.join(LEVELS)}. Received: level={level!r}.")
    read_tables(content)  # says what is wrong with it
    examples, more = _check_examples(TensorRunner(content).inputs, examples)
    if problems + more:
        raise ValueError("\n".join(problems + more))
    if level == "float32":
        return content
    scheme = _SCHEMES[level]
    quantized = _quantize(content, scheme, examples)
    if scheme.large_dense_bits == 4 and _has_narrow_dense(quantized):
        few = {name: values[:_NUM_COMPARED] for name, values in examples.items()}
        logits = as_logits(TensorRunner(content)(few), task=task)
        found = difference(logits=logits, probabilities=TensorRunner(quantized)(few), task=task)
        if found.relative_error > _MAX_RELATIVE_ERROR:
            quantized = _quantize(content, replace(scheme, large_dense_bits=8), examples)
    return quantized


def _quantize(content, scheme, examples):
    model = read_tables(content)
    use_embedding_lookup(model)
    add_biases(model, min_weights=VERY_LARGE)
    if scheme.integer:
        merge_separable(model)
    _shorten_names(model)
    unrounded = write_used(model)
    if scheme.weight_bits == 16:
        return apply(model, plan(model, scheme), {})
    observation = observe(model, unrounded, examples)
    ranges = {
        model.subgraphs[0].tensors[index].name.decode(): bounds
        for index, bounds in observation.ranges.items()
    }
    scale_rows(model, bits=scheme.embedding_bits)
    treatments = plan(model, scheme)
    round_weights(model, treatments, observation.moments)
    return correct_biases(apply(model, treatments, ranges), unrounded, examples)


def _has_narrow_dense(content):
    graph = (model := read_tables(content)).subgraphs[0]
    return any(
        code_of(model, operator) == Operator.FULLY_CONNECTED
        and graph.tensors[operator.inputs[1]].type == schema.TensorType.INT4
        for operator in graph.operators
    )


def _check_examples(inputs, examples):
    """Gives the examples as arrays, and what is wrong with them."""
    missing = [name for name in inputs if name not in examples]
    if missing:
        return examples, [
            f"`examples`: arrays for the inputs {list(inputs)}. "
            f"Received: {sorted(examples)}, so {missing} are missing."
        ]
    arrays = {name: np.asarray(examples[name]) for name in inputs}
    problems = []
    for name, (shape, dtype) in inputs.items():
        wanted, given = list(shape[1:]), arrays[name]
        if list(given.shape[1:]) != wanted or given.ndim == 0 or given.dtype != dtype:
            problems.append(
                f"`examples`: {name} of shape {['n', *wanted]}, {dtype}. "
                f"Received: {list(given.shape)}, {given.dtype}."
            )
    sizes = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        problems.append(
            "`examples`: at least one, and equally many for each input. "
            f"Received: {sizes}. Give a hundred or more of the training split."
        )
    return arrays, problems


def _shorten_names(model: schema.ModelT) -> None:
    """Gives tensors other than inputs and outputs short names, all distinct.

    The quantizer knows tensors by their names, across graphs, so none may come twice.
    """
    for number, graph in enumerate(model.subgraphs):
        kept = set() if number else {*map(int, graph.inputs), *map(int, graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            if index not in kept:
                tensor.name = f"t{number}_{index}".encode()
