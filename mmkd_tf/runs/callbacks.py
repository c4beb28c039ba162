"""Keras callbacks that the settings name, beside a run's own: logging to TensorBoard and others."""

import importlib
import importlib.util
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.modality import student_inputs

FOLDER = "tensorboard"
NUM_EXAMPLES = 8
# Callbacks of these packages want a session of theirs: how each begins for one model, and ends.
_SESSIONS = {
    "wandb": ("init", lambda model: {"project": "mmkd_tf", "name": model}, "finish"),
    "mlflow": ("start_run", lambda model: {"run_name": model, "nested": True}, "end_run"),
}


def check_callbacks(config: RunConfig) -> None:
    """Refuses what can't be imported or is no callback, before anything is trained.

    Raises:
        ValueError: Lists all problems, each with the pip line where a package is missing.
    """
    problems = []
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        problems.append(
            "`tensorboard`: the package tensorboard. Run `pip install 'mmkd-tf[tensorboard]'`, or "
            "leave --tensorboard out."
        )
    for each in config.callbacks:
        try:
            _find(each.name)
        except (ImportError, AttributeError, ValueError) as error:
            package = each.name.partition(".")[0]
            problems.append(
                f"`callbacks`: the dotted name of a Keras callback, such as "
                f"keras.callbacks.CSVLogger. Received: {each.name} ({error}). Where the package "
                f"is missing run `pip install {package}`."
            )
    if problems:
        raise ValueError("\n".join(problems))


def named_callbacks(
    config: RunConfig, model: str, dataset: Dataset, folder: Path
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks of one training, and begins what sessions they want.

    Args:
        config: Their names are in `callbacks`; texts among their arguments may have `{model}`, the
            role of the model that is trained, and `{folder}`, that of the run.
        model: The role, such as `student`.
        dataset: The data, of which TensorBoard shows the first validation rows.
        folder: The run's folder; logs for TensorBoard go to its folder `tensorboard`.
    """
    made: list[keras.callbacks.Callback] = []
    if config.tensorboard:
        made.append(TensorBoardLog(folder / FOLDER / model, dataset))
    sessions = dict.fromkeys(each.name.partition(".")[0] for each in config.callbacks)
    for package in sessions:
        if package in _SESSIONS:
            begin, arguments, _ = _SESSIONS[package]
            getattr(importlib.import_module(package), begin)(**arguments(model))
    for each in config.callbacks:
        given = _filled(each.arguments, {"model": model, "folder": str(folder)})
        made.append(_find(each.name)(**given))
    # Last, so that the others have said their last word.
    made += [_End(package) for package in sessions if package in _SESSIONS]
    return made


class TensorBoardLog(keras.callbacks.Callback):
    """Writes each epoch's figures, the loss by term among them, and some examples at the start.

    (`keras.callbacks.TensorBoard` writes no examples, and training and validation as two runs.)
    """

    def __init__(self, folder: Path, dataset: Dataset):
        super().__init__()
        self.folder, self.dataset = folder, dataset

    def on_train_begin(self, logs=None):
        self.writer = tf.summary.create_file_writer(str(self.folder))
        examples = self.dataset.splits["validation"]
        with self.writer.as_default(step=0):
            for name, values in student_inputs(examples.inputs).items():
                if values.dtype == np.uint8 and values.ndim == 4:
                    shown = values[:NUM_EXAMPLES]
                    tf.summary.image(f"examples/{name}", shown, max_outputs=NUM_EXAMPLES)
                elif name in examples.raw:
                    texts = [str(value) for value in examples.raw[name][:NUM_EXAMPLES]]
                    tf.summary.text(f"examples/{name}", texts)

    def on_epoch_end(self, epoch, logs=None):
        with self.writer.as_default(step=epoch + 1):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, float(value))
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.writer.close()


class _End(keras.callbacks.Callback):
    """Ends the session of a package with the training."""

    def __init__(self, package: str):
        super().__init__()
        self.package = package

    def on_train_end(self, logs=None):
        getattr(importlib.import_module(self.package), _SESSIONS[self.package][2])()


def _find(name: str) -> Any:
    """Imports what a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ValueError("without a dot it names no module")
    with suppress(ModuleNotFoundError):  # keras.callbacks and others are attributes of the package
        importlib.import_module(module)
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for part in parts[1:]:
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{attribute} is no class or function")
    return found


def _filled(arguments: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    filled = {}
    for name, value in arguments.items():
        if isinstance(value, str):
            for key, text in values.items():
                value = value.replace(f"{{{key}}}", text)
        filled[name] = value
    return filled
