"""Quantises a float32 TFLite model: half precision, integer weights, integer arithmetic."""

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.parity import difference
from mmkd_tf.export.quantization.embeddings import scale_rows, use_embedding_lookup
from mmkd_tf.export.quantization.graph import Operator, code_of, write_used
from mmkd_tf.export.quantization.layers import add_biases, merge_separable
from mmkd_tf.export.quantization.observation import correct_biases, observe_ranges
from mmkd_tf.export.quantization.plan import VERY_LARGE, Arithmetic, Scheme, Treatment, plan
from mmkd_tf.export.quantization.rounding import round_weights
from mmkd_tf.export.tflite_tables import read_tables
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

LEVELS = ("float32", "float16", "dynamic", "dynamic4", "mixed", "mixed4")

# Where dense layers of 4 bits change the logits by more than this share, they get 8.
_MAX_RELATIVE_ERROR = 0.05
_NUM_COMPARED = 128

_SCHEMES = {
    "float16": Scheme(weight_bits=16),
    "dynamic": Scheme(),
    "dynamic4": Scheme(embedding_bits=4),
    "mixed": Scheme(integer=True),
    "mixed4": Scheme(integer=True, embedding_bits=4, large_dense_bits=4),
}


def quantize(
    content: bytes,
    *,
    level: str,
    examples: Mapping[str, np.ndarray],
    task: Task | str = DEFAULT_TASK,
) -> bytes:
    """Quantises a float32 model that `convert` made.

    Signature, inputs and output stay: the output is float32, and so is the arithmetic within
    recurrent layers. Tensors inside get short names. The levels:

    - "float32": as it is.
    - "float16": weights in half precision, half the bytes, hardly a difference.
    - "dynamic": weights in 8 bits, activations float; large products are computed in integers.
    - "dynamic4": as "dynamic", with word embeddings in 4 bits.
    - "mixed": convolutions, and what follows them up to the fusion, run in integers throughout.
    - "mixed4": as "mixed", with word embeddings in 4 bits, and so dense layers of 65,536 weights
      or more if that changes the logits of the examples by no more than 5 %.

    Weights of 8 bits are rounded by what comes into their layers on the examples, see
    `mmkd_tf.export.quantization.rounding`, those of 4 bits by the layer behind them.

    Args:
        content: TFLite bytes of one signature, float32 inside.
        level: One of `LEVELS`.
        examples: By input name, examples in the form that the file takes, along the first axis,
            for instance of the training split; 512 are used. A hundred or more are advisable.
        task: What the file was made for, or its name.

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
    scheme, task = _SCHEMES[level], find_task(task)
    quantized = _quantize(content, scheme, examples)
    if scheme.large_dense_bits == 4 and _has_narrow_dense(quantized):
        few = {name: values[:_NUM_COMPARED] for name, values in examples.items()}
        logits = task.deactivate(TensorRunner(content)(few))
        found = difference(logits=logits, probabilities=TensorRunner(quantized)(few), task=task)
        if found.relative_error > _MAX_RELATIVE_ERROR:
            quantized = _quantize(content, replace(scheme, large_dense_bits=8), examples)
    return quantized


def _quantize(content: bytes, scheme: Scheme, examples: Mapping[str, np.ndarray]) -> bytes:
    model = read_tables(content)
    use_embedding_lookup(model)
    add_biases(model, min_weights=VERY_LARGE)
    if scheme.integer:
        merge_separable(model)
    _shorten_names(model)
    unrounded = write_used(model)
    if scheme.weight_bits == 16:
        return apply(model, plan(model, scheme), {})
    ranges = observe_ranges(model, unrounded, examples)
    round_weights(model, plan(model, scheme)[0], unrounded, examples)
    scale_rows(model, bits=scheme.embedding_bits)
    quantized = apply(model, plan(model, scheme), ranges)
    return correct_biases(quantized, unrounded, examples)


def apply(
    model: schema.ModelT,
    treatments: Sequence[Sequence[Treatment | None]],
    ranges: Mapping[str, tuple[float, float]],
) -> bytes:
    """Quantises a float model as `plan` says, by a recipe with an entry for each operator.

    No two tensors, also of different graphs, have the same name. `ranges` are by it, the smallest
    and the largest value of those that integer arithmetic rounds.
    """
    try:
        from litert_quantizer import qtyping, quantizer
    except ImportError as error:
        raise ImportError(
            "Quantising a .tflite file needs the LiteRT quantizer: pip install litert-quantizer"
        ) from error
    content = write_used(model)
    tool = quantizer.Quantizer(content)
    names = {value: name for name, value in vars(Operator).items() if name.isupper()}
    for graph, row in zip(model.subgraphs, treatments, strict=True):
        for operator, treatment in zip(graph.operators, row, strict=True):
            if treatment is None:
                continue
            scope = ";".join(graph.tensors[index].name.decode() for index in operator.outputs)
            where = f"^{re.escape(scope)};$"
            name = qtyping.TFLOperationName(names[code_of(model, operator)])
            if treatment.arithmetic is Arithmetic.STATIC:
                tool.add_static_config(where, name, 8, treatment.bits)
            elif treatment.arithmetic is Arithmetic.DYNAMIC:
                lookup = name is qtyping.TFLOperationName.EMBEDDING_LOOKUP
                per = qtyping.QuantGranularity
                granularity = per.TENSORWISE if lookup else per.CHANNELWISE
                tool.add_dynamic_config(where, name, treatment.bits, granularity)
            elif treatment.bits == 16:
                key = quantizer.AlgorithmName.FLOAT_CASTING
                tool.add_weight_only_config(where, name, 16, algorithm_key=key)
            else:
                tool.add_weight_only_config(where, name, treatment.bits)
    if not tool.get_quantization_recipe():
        return content  # nothing in it is worth it
    seen = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tool keeps all tensors, and draws a progress bar
        result = tool.quantize(seen, enable_progress_bar=False, enable_progress_report=False)
    # Large weights lie behind the tables, where not every tool looks for them.
    return write_used(read_tables(bytes(result.quantized_model)))


def _has_narrow_dense(content: bytes) -> bool:
    """Whether a dense layer has weights of 4 bits."""
    graph = (model := read_tables(content)).subgraphs[0]
    return any(
        code_of(model, operator) == Operator.FULLY_CONNECTED
        and graph.tensors[operator.inputs[1]].type == schema.TensorType.INT4
        for operator in graph.operators
    )


def _check_examples(inputs: Mapping, examples: Mapping) -> tuple[Mapping, list[str]]:
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
