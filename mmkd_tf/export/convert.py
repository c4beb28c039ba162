"""Converts a Keras model to TFLite bytes with builtin operators only."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.edge.interpreter import OUTPUT
from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.recurrent import portable

_LOG_TAIL = 1500


def convert(
    model: keras.Model, inputs: Mapping[str, np.ndarray], *, quantize: str | None = None
) -> bytes:
    """Converts a model for a batch of one, with a softmax behind it.

    Args:
        model: Functional model that gives logits.
        inputs: By input name, an array whose sizes after the first, and dtype, the file takes.
        quantize: None or "dynamic" (int8 weights).

    Returns:
        A TFLite model with the signature `serving_default`.

    Raises:
        NotImplementedError: If the model needs an operator that TFLite lacks; names the layers.
    """
    weights = [(variable, np.asarray(variable)) for variable in model.variables]
    specs = {
        name: tf.TensorSpec([1, *values.shape[1:]], values.dtype, name=name)
        for name, values in inputs.items()
    }

    @tf.function(input_signature=[specs], autograph=False)
    def serve(tensors):
        # Weights as constants: the converter loses variables that no tf.Module tracks, and then
        # writes a file that gives NaN.
        constants = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=constants), portable(model, lower_lstm=True):
            logits = call_by_name(model, tensors)
        return {OUTPUT: tf.nn.softmax(tf.cast(logits, tf.float32), name=OUTPUT)}

    with _stderr_kept() as log:
        function = serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        # Without Flex and custom operators among them, the converter fails where it needs one.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            return converter.convert()
        except Exception as error:  # the converter has several types for "can't be done"
            text = f"{error}\n{log()}"
    raise NotImplementedError(_explain(model, function, text))


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


def _explain(model: keras.Model, function, text: str) -> str:
    """Says which operators and layers stand in the way, from the converter's words."""
    operators = set(re.findall(r"'tf\.(\w+)' op", text))
    for line in re.findall(r"(?:Flex|Custom) ops: (.+)", text):
        operators |= {name.strip().removeprefix("Flex") for name in line.split(",")}
    layers = _layers_of(model, function, operators)
    if not operators:
        return (
            "`model`: layers that TFLite can run. Received: one that the converter refuses. "
            f"Its last words: {text.strip()[-_LOG_TAIL:]}"
        )
    where = f" in the layers {layers}" if layers else ""
    return (
        "`model`: operators that TFLite has itself; others (Flex, custom) are missing on devices. "
        f"Received: {', '.join(sorted(operators))}{where}. "
        "Replace these layers, or write them with other operations."
    )


def _layers_of(model: keras.Model, function, operators: set[str]) -> Sequence[str]:
    """Finds the layers whose scopes hold some of the operators."""
    graph = function.graph.as_graph_def()
    scopes = [node.name for node in graph.node if node.op in operators]
    for body in graph.library.function:  # loops are functions, named after their scope
        if any(node.op in operators for node in body.node_def):
            scopes.append(body.signature.name)
    names = {layer.name for layer in model._flatten_layers(include_self=False)}
    return sorted(
        name
        for name in names
        if any(re.search(rf"(^|[/_]){re.escape(name)}([/_]|$)", scope) for scope in scopes)
    )
