"""Exports a model of a run: a SavedModel, a TFLite file and a small one, each tried out."""

from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.edge.encoder import Encoder
from mmkd_tf.edge.examples import text_bytes
from mmkd_tf.edge.index import Index
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.contract import MAX_EXAMPLES
from mmkd_tf.export.logits import keras_logits
from mmkd_tf.export.parity import Export, difference, score
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.models.routing import input_names
from mmkd_tf.models.two_tower import tower


def export_all(
    model: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    path: Path,
    *,
    name: str = "student",
    quantize: str = "auto",
    batch_size: int | None = 1,
) -> list[dict]:
    """Writes a SavedModel, a TFLite file in float32 and a small one, each compared with Keras.

    Of retrieval these are written of each tower, `_image` or `_text` being added to their names,
    and the training texts as an index, `<name>_texts.npz`.

    Args:
        model: What to export.
        dataset: Training serves to calibrate, validation to compare and to choose; on test the
            TFLite files are measured once they are made.
        config: The settings.
        path: The folder for the files.
        name: How their names begin.
        quantize: Of the small file, as in `export_tflite`.
        batch_size: Of the TFLite files; None for any.

    Returns:
        A dict for each file, with the keys of `mmkd_tf.export.Export`, and `test_accuracy` and
        `test_top1_agreement`, None for the SavedModel.
    """
    options = {"quantize": quantize, "batch_size": batch_size}
    if dataset.task != "retrieval":
        labels = {split: examples.labels for split, examples in dataset.splits.items()}
        return _export(model, labels, dataset, config, path, name=name, **options)
    made = []
    for modality in dataset.modalities:
        (other,) = (each for each in dataset.modalities if each != modality)
        # What a picture is to find is the texts as Keras encodes them, and the other way round.
        sought = {
            split: keras_logits(tower(model, other), {other: dataset.splits[split].inputs[other]})
            for split in ("validation", "test")
        }
        one = tower(model, modality)
        made += _export(one, sought, dataset, config, path, name=f"{name}_{modality}", **options)
    _write_texts(dataset, path, name)
    return made


def _write_texts(dataset: Dataset, path: Path, name: str) -> None:
    """Writes the texts of the training split as what a picture can find."""
    texts = list(dict.fromkeys(dataset.splits["train"].texts))
    index = Index()
    index.add(texts, Encoder(path / f"{name}_text.tflite").encode(texts))
    index.save(path / f"{name}_texts.npz")


def _export(model, labels, dataset, config, path, *, name, **options) -> list[dict]:
    """Exports a model with one output; `labels` are those of validation and test."""
    validation, test = dataset.splits["validation"], dataset.splits["test"]
    training = dataset.splits["train"].inputs
    text = dataset.modalities["text"] if "text" in input_names(model) else None
    shared = {"class_names": dataset.class_names, "examples": validation.inputs}
    lite = {
        **shared,
        "labels": labels["validation"],
        "vocabulary": text.vocabulary if text else None,
        "text_input": config.text_input if text else "ids",
        "options": TFLiteOptions(
            batch_size=options["batch_size"],
            calibration={key: values[:MAX_EXAMPLES] for key, values in training.items()},
            max_accuracy_loss=config.max_accuracy_loss,
            author=config.author,
            licence=config.licence,
            task=dataset.task,
        ),
    }
    saved_model = export_saved_model(
        model,
        path / f"{name}_saved_model",
        modalities=dataset.modalities,
        task=dataset.task,
        **shared,
    )
    files = [
        export_tflite(model, path / f"{name}.tflite", **lite),
        export_tflite(model, path / f"{name}_small.tflite", quantize=options["quantize"], **lite),
    ]
    unmeasured = {"test_accuracy": None, "test_top1_agreement": None}
    made = [{**asdict(saved_model), **unmeasured}]
    logits = keras_logits(model, {key: test.inputs[key] for key in input_names(model)})
    made += [{**asdict(file), **_measure(file, test, labels["test"], logits)} for file in files]
    return [{**values, "file": Path(values["file"]).name} for values in made]


def _measure(file: Export, examples: Examples, labels: np.ndarray, logits: np.ndarray) -> dict:
    """Measures a TFLite file on the test split, on texts as they are if it takes bytes."""
    runner = TensorRunner(Path(file.file).read_bytes())
    inputs = {name: examples.inputs[name] for name in runner.inputs}
    if "text" in inputs and runner.inputs["text"][1] == np.uint8:
        num_bytes = runner.inputs["text"][0][1]
        rows = [text_bytes(text or "", num_bytes=num_bytes) for text in examples.texts]
        inputs["text"] = np.stack(rows)
    probabilities = runner(inputs)
    return {
        "test_accuracy": score(file.task, probabilities, labels),
        "test_top1_agreement": difference(
            logits=logits, probabilities=probabilities, task=file.task, labels=labels
        ).top1_agreement,
    }
