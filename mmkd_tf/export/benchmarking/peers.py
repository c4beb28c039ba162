"""Exports a model in the ways that others offer, to measure them beside this project's."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.export.benchmarking.onnx_lstm import export_onnx_with_lstm
from mmkd_tf.export.benchmarking.process import ModelFile
from mmkd_tf.models.routing import input_structure

KERAS_STATIC = "Keras LiteRT, batch of 1"
KERAS_DYNAMIC = "Keras LiteRT, any batch"
ONNX_LSTM = "ONNX Runtime, LSTM operator"
ONNX_KERAS = "ONNX Runtime, Keras' export"
SAVED_MODEL = "SavedModel, Keras' export"

_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")


def export_peers(
    model: keras.Model, inputs: Mapping[str, np.ndarray], folder: Path
) -> tuple[list[ModelFile], dict[str, str]]:
    """Writes the model in each way that works here.

    All get a batch of one to compute, and files whose batch is fixed know it: that is their
    best case.

    Args:
        model: Functional model.
        inputs: By input name, an array whose sizes after the first the files take.
        folder: Where they go.

    Returns:
        The files, and by name of those that there are not, why: the pip line that gets a missing
        package, or what stood in the way.
    """
    specs = [_spec(tensor, inputs[tensor.name], batch=1) for tensor in model.inputs]
    open_specs = [_spec(tensor, inputs[tensor.name], batch=None) for tensor in model.inputs]

    def by_keras(form: str, specs: Sequence[keras.InputSpec]) -> Callable[[Path], None]:
        structure = keras.tree.pack_sequence_as(input_structure(model), specs)
        return lambda path: model.export(
            path, format=form, input_signature=[structure], verbose=False
        )

    ways = [
        (KERAS_STATIC, "keras_static.tflite", "litert", by_keras("litert", specs)),
        (KERAS_DYNAMIC, "keras_dynamic.tflite", "litert", by_keras("litert", open_specs)),
        (
            ONNX_LSTM,
            "lstm_operator.onnx",
            "onnxruntime",
            lambda path: export_onnx_with_lstm(model, path, specs=specs),
        ),
        (ONNX_KERAS, "keras.onnx", "onnxruntime", by_keras("onnx", specs)),
        (SAVED_MODEL, "saved_model", "tensorflow", by_keras("tf_saved_model", open_specs)),
    ]
    files, absent = [], {}
    for name, file_name, runtime, export in ways:
        packages = _ONNX_PACKAGES if runtime == "onnxruntime" else ()
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            absent[name] = f"not installed; get it with: pip install {' '.join(missing)}"
            continue
        try:
            with _quiet():
                export(folder / file_name)
        except Exception as error:  # a peer that can't do this model is a result, not a failure
            absent[name] = f"its export failed: {type(error).__name__}: {error}"
        else:
            files.append(ModelFile(name, folder / file_name, runtime))
    return files, absent


def _spec(tensor, values, *, batch):
    return keras.InputSpec(shape=(batch, *values.shape[1:]), dtype=tensor.dtype, name=tensor.name)


@contextmanager
def _quiet():
    """Without the chatter of converters."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
