"""Converts a Keras model to TFLite bytes with builtin operators only."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.edge.interpreter import OUTPUTS
from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.heads import activate
from mmkd_tf.export.lowering.portable import portable
from mmkd_tf.export.lowering.unsupported import explain


@dataclass(frozen=True)
class Reader:
    """Lets a file take something else than a model's tensor, such as bytes instead of token ids.

    Attributes:
        spec: What the file takes: shape with the batch first, and dtype.
        read: From that to the model's tensor, by operations that TFLite has.
    """

    spec: tf.TensorSpec
    read: Callable[[tf.Tensor], tf.Tensor]


def convert(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    *,
    batch_size: int | None = 1,
    readers: Mapping[str, Reader] | None = None,
    task: str = "single_label",
) -> bytes:
    """Converts a model, with the activation of its task behind it: softmax, sigmoid or none.

    Args:
        model: Functional model that gives logits or values.
        inputs: By input name, an array whose sizes after the first, and dtype, the model takes.
        batch_size: Number of examples that the file takes at a time; None leaves it open, which
            takes a sixth more time in each call of the default student.
        readers: By input name, what reads that input from something else; the file has the
            reader's input in its place.
        task: What the file is for, a key of `mmkd_tf.edge.interpreter.OUTPUTS`.

    Returns:
        A TFLite model with the signature `serving_default`: inputs as the model's, output
        `probabilities` or `values`, float32 `[batch_size, num_classes]`.

    Raises:
        ValueError: If `batch_size` or `readers` don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks; names the layers.
    """
    readers = dict(readers or {})
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
            logits = call_by_name(model, tensors)
        return {OUTPUTS[task]: activate(logits, task=task, name=OUTPUTS[task])}

    with _stderr_kept() as log:
        function = serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        # Without Flex and custom operators among them, the converter fails where it needs one.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # the converter has several types for "can't be done"
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
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        problems.append(
            "`batch_size`: 1 or more, or None for any. "
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
