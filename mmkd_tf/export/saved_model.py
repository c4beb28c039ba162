"""Exports a Keras model as a SavedModel that takes pictures and texts as they are."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.edge.interpreter import OUTPUTS
from mmkd_tf.export.benchmark import median_ms
from mmkd_tf.export.contract import check_model, task_problems
from mmkd_tf.export.parity import Export, check_logits, compare, difference, keras_logits
from mmkd_tf.export.serving import save_serving_model
from mmkd_tf.export.spelling import spell
from mmkd_tf.modalities.modality import Modality

_NUM_RAW = 20


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    modalities: Mapping[str, Modality],
    examples: Mapping[str, np.ndarray],
    task: str = "single_label",
) -> Export:
    """Writes a model as a SavedModel with everything between raw inputs and class names.

    Signature `serving_default` takes a batch of any size: `image`, string `[batch]`, the bytes of
    JPEG, PNG, WebP, GIF or BMP files; `text`, string `[batch]`, UTF-8; an empty string is an
    absent one. Signature `tensors` takes the tensor form. Both give `probabilities`, float32
    `[batch, num_classes]`, `class_names`, string of the same shape and order, the same in each
    row, and `label`, string `[batch]`, the most probable class. With several labels an example
    there is no `label`; for regression there are `values` in place of `probabilities`, for
    retrieval an `embedding` alone.

    Args:
        model: Functional model that gives logits or values, with inputs among `image` and `text`.
        path: The folder to write; a SavedModel there is replaced.
        class_names: Name of each class, in the order of the model's outputs.
        modalities: By input name, what turns raw values into tensors; see `Dataset.modalities`.
        examples: By input name, examples in tensor form along the first axis; the first 500 are
            used to compare the SavedModel with Keras.
        task: What the model is for, one of `mmkd_tf.tasks.TASKS`; of retrieval one tower.

    Returns:
        Size, latency (of the signature `tensors`) and difference from Keras.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model, the examples or another argument don't fit.
        FileExistsError: If `path` holds something else than a SavedModel.
        RuntimeError: If the SavedModel differs from Keras by more than 1e-4 nats.
    """
    problems = task_problems(task) + _modality_problems(model, examples, modalities)
    inputs = check_model(
        model, class_names=class_names, examples=examples, problems=problems, task=task
    )
    logits = keras_logits(model, inputs)
    check_logits(logits, case="the examples", task=task)
    path = Path(path)
    if path.exists() and not (path / "saved_model.pb").is_file() and not _is_empty_folder(path):
        raise FileExistsError(
            "`path`: a folder to make, or a SavedModel to replace. "
            f"Received: '{path}', which holds something else. Choose another path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unproved = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_serving_model(
            model,
            unproved,
            class_names=class_names,
            modalities=modalities,
            inputs=inputs,
            task=task,
        )
        with tf.device("CPU:0"):
            signatures = tf.saved_model.load(str(unproved)).signatures

            def run(tensors):
                tensors = {name: tf.constant(values) for name, values in tensors.items()}
                return signatures["tensors"](**tensors)[OUTPUTS[task]].numpy()

            result = compare(
                model=model, run=run, inputs=inputs, exact=True, logits=logits, task=task
            )
            _compare_raw(model, signatures["serving_default"], modalities, inputs, task)
            milliseconds = median_ms(run, [{k: v[:1] for k, v in inputs.items()}])
        num_bytes = sum(file.stat().st_size for file in unproved.rglob("*") if file.is_file())
        _replace_folder(unproved, path)
    finally:
        shutil.rmtree(unproved, ignore_errors=True)
    return Export(
        file=str(path),
        bytes=num_bytes,
        latency_ms=milliseconds,
        max_abs_logit_difference=result.max_abs_logit_difference,
        top1_agreement=result.top1_agreement,
        num_examples=result.num_examples,
        batch_size=None,
        text_input="bytes" if "text" in inputs else None,
        task=task,
    )


def _modality_problems(
    model: keras.Model, examples: Mapping[str, np.ndarray], modalities: Mapping[str, Modality]
) -> list[str]:
    names = {tensor.name for tensor in getattr(model, "inputs", ())}
    if not names <= {"image", "text"} or not names <= set(modalities):
        return [
            "`modalities`: one for each input of the model, of `image` and `text`. "
            f"Received: {sorted(modalities)} for the inputs {sorted(names)}."
        ]
    problems = []
    for name in sorted(names & set(examples)):
        modality, size = modalities[name], list(np.shape(examples[name])[1:])
        wanted = [modality.length] if name == "text" else [modality.height, modality.width, 3]
        if size != wanted:
            problems.append(
                f"`modalities`: {name} as in the examples, {size}. Received: "
                f"{modality.describe()}. Give the modality that the model was built for."
            )
    return problems


def _compare_raw(model, serving, modalities, inputs, task) -> None:
    """Checks the signature for raw inputs: pictures as PNG files, texts spelled out."""
    raw, ready = {}, {}
    for name, values in inputs.items():
        values = values[:_NUM_RAW]
        if name == "image":
            pixels = np.clip(np.round(values), 0, 255).astype(np.uint8)
            raw[name] = [tf.io.encode_png(p).numpy() if p.any() else b"" for p in pixels]
            ready[name] = pixels.astype(values.dtype)
        else:
            raw[name] = spell(values, modalities[name].vocabulary)
            ready[name] = modalities[name].to_tensor(raw[name]).numpy()
    answer = serving(**{name: tf.constant(values) for name, values in raw.items()})
    logits = keras_logits(model, ready)
    found = difference(logits=logits, probabilities=answer[OUTPUTS[task]].numpy(), task=task)
    if found.exceeds(exact=True):
        raise RuntimeError(
            "The SavedModel differs from Keras on pictures and texts as they are, "
            f"so it was not kept: {found}. Report it as a defect."
        )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _replace_folder(source: Path, target: Path) -> None:
    """Gives a folder its name; what had the name before goes only after it is ready."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    shutil.rmtree(old, ignore_errors=True)
