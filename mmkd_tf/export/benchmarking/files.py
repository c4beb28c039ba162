"""Exports a model as this project does, in the forms that the benchmark measures."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.export.benchmarking.process import ModelFile
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantize import LEVELS, quantize

OURS = "float32"
TEXT_BRANCH = "text branch, float32"

_TEXT_FEATURES = "text_features"


def export_ours(
    model: keras.Model, inputs: Mapping[str, np.ndarray], folder: Path
) -> tuple[list[ModelFile], dict[str, str]]:
    """Writes the TFLite files of the ladder, and the text branch by itself.

    They are without labels and vocabulary, as those of others are.

    Args:
        model: Functional model that gives logits.
        inputs: By input name, examples in tensor form; they calibrate the quantised files.
        folder: Where they go.

    Returns:
        The files, float32 first, and by name of those that there are not, why.

    Raises:
        NotImplementedError: If the model needs an operator that TFLite lacks.
    """
    content = convert(model, inputs)
    files, absent = [_write(folder, OURS, content)], {}
    for level in LEVELS:
        if level == OURS:
            continue
        try:
            quantized = quantize(content, level=level, examples=inputs)
        except Exception as error:  # the float32 file is still worth measuring
            absent[level] = f"{type(error).__name__}: {error}"
        else:
            files.append(_write(folder, level, quantized))
    if "text" in inputs:
        branch = _text_branch(model)
        if branch is None:
            absent[TEXT_BRANCH] = f"the model has no layer '{_TEXT_FEATURES}' of the text alone"
        else:
            content = convert(branch, {"text": inputs["text"]})
            files.append(_write(folder, TEXT_BRANCH, content))
    return files, absent


def _text_branch(model):
    """The model from the text's input to its features, `[batch, dim]`; None if it has none."""
    (text,) = (tensor for tensor in model.inputs if tensor.name == "text")
    try:
        features = model.get_layer(_TEXT_FEATURES).output
        branch = keras.Model(text, features)
    except ValueError:  # no such layer, or one that needs other inputs
        return None
    return branch if len(features.shape) == 2 else None


def _write(folder, name, content):
    path = folder / f"{name.replace(', ', '_').replace(' ', '_')}.tflite"
    path.write_bytes(content)
    return ModelFile(name, path, "litert")
