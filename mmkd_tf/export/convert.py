"""Converts a Keras model to TFLite bytes with builtin operators only."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.lite.python.convert_phase import ConverterError

from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.recurrent import lowered_inner_loop
from mmkd_tf.models.fusion import Presence
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

MOST_EXAMPLES = 2**16  # at a time; of many more the converter computes for hours
# What the converter raises where it meets an operator or a shape that it can't convert.
_CANT_BE_DONE = (ConverterError, tf.errors.OpError, ValueError, RuntimeError)
_LOG_TAIL = 1500
# By what the names of operators hold, what can be done without them.
_CHOICES = {
    "String|Regex|Unicode|Ragged": (
        "Texts become token ids before the model: build it on an input of ids, as "
        "mmkd_tf.modalities.text.Text gives them, and leave TextVectorization and Hashing out."
    ),
    "LookupTable": (
        "Tables are looked up before the model, or in it with an Embedding of consecutive ids."
    ),
    "Bincount": "Instead of CategoryEncoding, add up rows of an Embedding or keras.ops.one_hot.",
    "TensorList|TensorArray": (
        "Give recurrent layers sequences whose length is known when the model is built."
    ),
}
_OTHER_CHOICE = "Replace these layers, or write them with other operations of keras.ops."


@dataclass(frozen=True)
class Reader:
    """Lets a file take what `spec` says; `read` makes the model's tensor of it, as TFLite can."""

    spec: tf.TensorSpec
    read: Callable[[tf.Tensor], tf.Tensor]


def convert(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    *,
    batch_size: int | None = 1,
    readers: Mapping[str, Reader] | None = None,
    task: Task | str = DEFAULT_TASK,
) -> bytes:
    """Converts a model, with the activation of its task behind it: softmax, sigmoid or none.

    Args:
        model: Functional model that gives logits or values.
        inputs: By input name, an array whose sizes after the first, and dtype, the model takes.
        batch_size: None leaves it open, which takes a sixth more time in each call.
        readers: By input name, what reads that input from something else.
        task: What the file is for, or its name.

    Returns:
        A TFLite model with the signature `serving_default` and the task's output, such as
        `probabilities`, float32 `[batch_size, num_outputs]`.

    Raises:
        ValueError: If `batch_size` or `readers` don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks; names the layers.
    """
    task, readers = find_task(task), dict(readers or {})
    _check(inputs, batch_size, readers)
    weights = [(variable, np.asarray(variable)) for variable in model.variables]
    specs = {
        name: tf.TensorSpec([batch_size, *values.shape[1:]], values.dtype, name=name)
        for name, values in inputs.items()
    }
    taken = specs | {
        name: tf.TensorSpec(reader.spec.shape, reader.spec.dtype, name=name)
        for name, reader in readers.items()
    }

    @tf.function(input_signature=[taken], autograph=False)
    def serve(tensors):
        for name, reader in readers.items():
            tensors = tensors | {name: _read(reader, tensors[name], specs[name])}
        # Weights as constants: the converter loses variables that no tf.Module tracks, and then
        # writes a file that gives NaN.
        constants = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=constants), portable(model, lower=True):
            outputs = call_by_name(model, tensors)
        return {task.output: task.activate(outputs, name=task.output)}

    with _stderr_kept() as log:
        function = serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        # Without Flex and custom operators among them, the converter fails where it needs one.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except _CANT_BE_DONE as error:
            text = f"{error}\n{log()}"
    raise NotImplementedError(explain(model, function, text))


def _read(reader: Reader, tensor, spec: tf.TensorSpec):
    """Gives the model's tensor, of the type and shape in `spec`."""
    read = reader.read(tensor)
    if not spec.shape.is_compatible_with(read.shape):
        raise ValueError(
            f"`readers`: a reader that gives {spec.name} of shape {spec.shape}. "
            f"Received: one that gives {read.shape}. Make it for the same model."
        )
    read.set_shape(spec.shape)
    return tf.cast(read, spec.dtype)


@contextmanager
def _stderr_kept() -> Iterator[Callable[[], str]]:
    """Keeps what C++ writes to standard error; the value given reads it."""
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> str:
            file.seek(0)
            return file.read()

        try:
            yield read
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _check(inputs, batch_size, readers):
    problems = []
    if batch_size is not None and (
        type(batch_size) is not int or not 1 <= batch_size <= MOST_EXAMPLES
    ):
        problems.append(
            f"`batch_size`: 1 to {MOST_EXAMPLES:,}, or None for any. "
            f"Received: batch_size={batch_size!r}. Phones want 1."
        )
    for name, reader in readers.items():
        if name not in inputs:
            problems.append(
                f"`readers`: readers of the inputs {sorted(inputs)}. Received: one of '{name}'."
            )
        elif reader.spec.shape[0] != batch_size:
            problems.append(
                f"`readers`: for {name}, a batch of {batch_size} as in `batch_size`. "
                f"Received: {reader.spec}. Make the reader for the same batch."
            )
    if problems:
        raise ValueError("\n".join(problems))


@contextmanager
def portable(model: layers.Layer, *, lower: bool = False) -> Iterator[None]:
    """Within this context the model computes what an exported file shall compute.

    Mixed precision becomes float32 and cuDNN kernels are not used; with `lower`, recurrent layers,
    `Embedding` and `Presence` take operations that TFLite runs better. Other threads must not call
    the model meanwhile.
    """
    policies, attributes = [], []
    try:
        for layer in model._flatten_layers():  # the one way to layers inside wrappers
            policy = layer.dtype_policy
            if policy.quantization_mode is None and policy.compute_dtype != policy.variable_dtype:
                policies.append((layer, policy))
                layer.dtype_policy = policy.variable_dtype
            swaps: dict[str, Any] = {"use_cudnn": False} if hasattr(layer, "use_cudnn") else {}
            if lower:
                swaps.update(_lowered(layer))
            for name, value in swaps.items():
                attributes.append((layer, name, vars(layer).get(name)))
                vars(layer)[name] = value  # past Keras, which tracks what is set on a layer
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy
        for layer, name, value in attributes:
            if value is None:
                del vars(layer)[name]
            else:
                vars(layer)[name] = value


def _lowered(layer: layers.Layer) -> dict[str, Callable]:
    """Gives replacements for methods of a layer, by name."""
    if isinstance(layer, layers.RNN) and not layer.stateful:
        return {"inner_loop": lowered_inner_loop(layer)}
    if type(layer) is layers.Embedding and layer.quantization_mode is None:
        return {"call": _plain_lookup(layer)}
    if type(layer) is Presence:
        return {"call": _lean_presence(layer)}
    return {}


def _plain_lookup(layer: layers.Embedding) -> Callable:
    """Leaves out what Keras does for negative ids, three operators, which no tokenizer gives."""

    def call(ids):
        table = keras.ops.convert_to_tensor(layer.embeddings)
        rows = tf.gather(table, tf.reshape(tf.cast(ids, tf.int32), [-1]))
        sizes = [-1 if size is None else size for size in ids.shape]
        if sizes.count(-1) > 1:
            sizes = tf.unstack(tf.shape(ids))
        return tf.reshape(rows, [*sizes, layer.output_dim])

    return call


def _lean_presence(layer: Presence) -> Callable:
    """Takes sums of what can't be negative, which the interpreter has faster than maxima."""
    keras_call = layer.call

    def call(inputs):
        axes = list(range(1, inputs.shape.rank))
        if inputs.dtype.is_unsigned:
            there = tf.reduce_sum(tf.cast(inputs, tf.float32), axes) > 0
        elif inputs.dtype.is_integer:
            there = tf.reduce_any(inputs != 0, axes)
        else:
            return keras_call(inputs)
        return tf.reshape(tf.cast(there, layer.compute_dtype), [-1, 1])

    return call


def explain(model: keras.Model, function, text: str) -> str:
    """Says which operators and layers the converter refuses in `text`, and what else there is."""
    operators = set(re.findall(r"'tf\.(\w+)' op", text))
    for line in re.findall(r"(?:Flex|Custom) ops: (.+)", text):
        operators |= {name.strip().removeprefix("Flex") for name in line.split(",")}
    operators.discard("Placeholder")  # an input, of a type that only such operators take
    if not operators:
        return (
            "`model`: layers that TFLite can run. Received: one that the converter refuses. "
            f"Its last words: {text.strip()[-_LOG_TAIL:]}"
        )
    scopes = [scope for scope, operator in _operators(function) if operator in operators]
    names = _layers_of(model, scopes)
    choices = [
        choice
        for pattern, choice in _CHOICES.items()
        if any(re.search(pattern, operator) for operator in operators)
    ]
    return (
        "`model`: operators that TFLite has itself; others (Flex, custom) are missing on devices. "
        f"Received: {', '.join(sorted(operators))}{f' in the layers {names}' if names else ''}. "
        f"{' '.join(choices) or _OTHER_CHOICE}"
    )


def _operators(function) -> Iterator[tuple[str, str]]:
    """Gives scope and name of each operator of a graph and of the functions in it."""
    graph = function.graph.as_graph_def()
    yield from ((node.name, node.op) for node in graph.node)
    for body in graph.library.function:  # loops are functions, named after their scope
        yield from ((body.signature.name, node.op) for node in body.node_def)


def _layers_of(model: keras.Model, scopes: Iterable[str]) -> list[str]:
    """Finds the layers that scopes belong to."""
    names = {layer.name for layer in model._flatten_layers(include_self=False)}
    found = set()
    for scope in scopes:
        parts = [n for n in names if re.search(rf"(^|[/_]){re.escape(n)}([/_]|$)", scope)]
        # The name of one layer may be a part of another's, such as `lstm` of `lstm_1`.
        found |= {n for n in parts if not any(n in other and n != other for other in parts)}
    return sorted(found)
