"""Exports a trained model as a SavedModel, a TFLite file and a small one, each tried out."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import ExportSettings
from mmkd_tf.edge.encoder import Encoder
from mmkd_tf.edge.index import Index
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import SMALL
from mmkd_tf.edge.tokenizer import text_bytes
from mmkd_tf.export.calibrated import calibrated
from mmkd_tf.export.contract import MAX_EXAMPLES
from mmkd_tf.export.latency import interleaved_times_ms
from mmkd_tf.export.parity import difference, keras_logits
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.text_bytes import needed_num_bytes, share_cut
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.models.inputs import input_names
from mmkd_tf.models.two_tower import tower
from mmkd_tf.progress import each


def export_all(
    model: keras.Model,
    dataset,
    settings: ExportSettings,
    path: Path,
    *,
    name: str = "student",
    quantize: str = "auto",
    batch_size: int | None = 1,
    temperature: float | None = None,
) -> list[dict]:
    """Writes a TFLite file in float32 and a small one, each compared with Keras, and a SavedModel.

    The SavedModel is made where the settings ask for it.

    Of a task whose models are two towers these are written of each tower, `_<input>` being added
    to their names, and the training texts as an index, `<name>_<input>s.npz`.

    Args:
        model: What to export.
        dataset: A `mmkd_tf.data.dataset.Dataset`. Training serves to calibrate, validation to
            compare and to choose; on test the TFLite files are measured once they are made.
        settings: How files are made.
        path: The folder for the files.
        name: How their names begin.
        quantize: Of the small file, as in `export_tflite`.
        batch_size: Of the TFLite files; None for any.
        temperature: What logits are divided by, see `mmkd_tf.export.calibrated`.

    Returns:
        A dict for each file, with the keys of `mmkd_tf.export.Export`, and `test_accuracy`,
        `test_top1_agreement`, `latency_spread_ms` and `cut_texts`, None for the SavedModel.
        `latency_spread_ms` are the milliseconds that a tenth of the calls stay below, and a tenth
        exceed. The latencies of the TFLite files are of calls in turn, so that they can be
        compared. `cut_texts` is the share of the training texts for whose words a file that takes
        bytes lacks room, 0 to 1; None of one that takes ids.
    """
    shared = {"dataset": dataset, "settings": settings}
    shared |= {"batch_size": batch_size, "temperature": temperature}
    if not dataset.task.is_pairwise:
        labels = {split: examples.labels for split, examples in dataset.splits.items()}
        if dataset.task.gives_embeddings:
            validation = dataset.splits["validation"]
            outputs = keras_logits(model, validation.inputs)
            shared["threshold"] = dataset.task.file_threshold(
                labels=validation.labels, outputs=outputs
            )
        return _export(model, labels, path / name, quantize, **shared)
    made = []
    for one, modality in dataset.modalities.items():
        (other,) = (each for each in dataset.modalities if each != one)
        # What a picture is to find is the texts as Keras encodes them, and the other way round.
        sought = {
            split: keras_logits(tower(model, other), {other: dataset.splits[split].inputs[other]})
            for split in ("validation", "test")
        }
        file = path / f"{name}_{one}"
        made += _export(tower(model, one), sought, file, quantize, **shared)
        if modality.takes_utf8:
            texts = list(dict.fromkeys(dataset.splits["train"].raw[one]))
            index = Index()
            index.add(texts, Encoder(f"{file}.tflite").encode(texts))
            index.save(f"{file}s.npz")
    return made


def _export(
    model, labels, file, quantize, *, dataset, settings, batch_size, temperature, threshold=None
) -> list[dict]:
    """Exports a model with one output; `labels` are those of validation and test."""
    names = input_names(model)
    modalities = {key: dataset.modalities[key] for key in names}
    reads_text = any(modality.takes_utf8 for modality in modalities.values())
    training = dataset.splits["train"].inputs
    shared = {
        "class_names": dataset.class_names,
        "examples": dataset.splits["validation"].inputs,
        "modalities": modalities,
    }
    num_bytes, cut_texts = None, None
    if reads_text and settings.text_input == "bytes":
        texts = {key: of for key, of in modalities.items() if of.takes_utf8}
        num_bytes = bytes_of_texts(dataset, texts)
        cut_texts = max(
            share_cut(_texts(dataset, key), of.length, num_bytes[key]) for key, of in texts.items()
        )
    options = TFLiteOptions(
        batch_size=batch_size,
        calibration={key: training[key][:MAX_EXAMPLES] for key in names},
        max_accuracy_loss=settings.max_accuracy_loss,
        author=settings.author,
        licence=settings.licence,
        task=dataset.task,
        temperature=temperature,
        threshold=threshold,
        num_bytes=num_bytes,
    )
    made, saved = [], None
    if settings.saved_model:
        saved = export_saved_model(
            model, f"{file}_saved_model", task=dataset.task, temperature=temperature, **shared
        )
    test = dataset.splits["test"]
    given = {key: test.inputs[key] for key in names}
    logits = keras_logits(calibrated(model, temperature), given)
    for end, level in each((("", None), (SMALL, quantize)), "files made and compared", 2):
        export = export_tflite(
            model,
            f"{file}{end}.tflite",
            labels=labels["validation"],
            quantize=level,
            text_input=settings.text_input if reads_text else "ids",
            options=options,
            **shared,
        )
        answers = _answers(Path(export.file), test, modalities)
        found = difference(
            logits=logits, probabilities=answers, task=dataset.task, labels=labels["test"]
        )
        measured = {
            "test_accuracy": dataset.task.file_score(labels=labels["test"], answers=answers),
            "test_top1_agreement": found.top1_agreement,
        }
        made.append({**asdict(export), **measured, "cut_texts": cut_texts})
    for values, times in zip(made, _times(made, test, modalities), strict=True):
        low, median, high = np.quantile(times, [0.1, 0.5, 0.9]).tolist()
        values |= {"latency_ms": median, "latency_spread_ms": [low, high]}
    if saved is not None:
        unmeasured = ("test_accuracy", "test_top1_agreement", "latency_spread_ms", "cut_texts")
        made.insert(0, {**asdict(saved), **dict.fromkeys(unmeasured)})
    return [{**values, "file": Path(values["file"]).name} for values in made]


def bytes_of_texts(dataset, texts: Mapping) -> dict[str, int]:
    """By name of a text, how many bytes a file takes of it, by the training texts."""
    return {
        name: needed_num_bytes(_texts(dataset, name), of.vocabulary, of.length)
        for name, of in texts.items()
    }


def _texts(dataset, name: str) -> list[str]:
    return [text or "" for text in dataset.splits["train"].raw[name]]


def _answers(file: Path, examples, modalities) -> np.ndarray:
    """Runs a TFLite file on examples, on texts as they are if it takes bytes."""
    runner = TensorRunner(file.read_bytes())
    return runner(_inputs_of(runner, examples, modalities))


def _times(made: list[dict], examples, modalities) -> list[np.ndarray]:
    """Milliseconds of the calls of some TFLite files that take the same, in turn."""
    contents = {values["file"]: Path(values["file"]).read_bytes() for values in made}
    runner = TensorRunner(next(iter(contents.values())))
    inputs = _inputs_of(runner, examples, modalities)
    return list(interleaved_times_ms(contents, inputs).values())


def _inputs_of(runner: TensorRunner, examples, modalities) -> dict[str, np.ndarray]:
    """Examples in the form that a file takes."""
    inputs = {name: examples.inputs[name] for name in runner.inputs}
    for name, (shape, dtype) in runner.inputs.items():
        if modalities[name].takes_utf8 and dtype == np.uint8:
            rows = [text_bytes(text or "", num_bytes=shape[1]) for text in examples.raw[name]]
            inputs[name] = np.stack(rows)
    return inputs
