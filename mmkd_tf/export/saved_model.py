"""Exports a Keras model as a SavedModel that takes raw values, such as pictures and texts."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.export.calibrated import calibrated, temperature_problems
from mmkd_tf.export.contract import call_by_name, check_model
from mmkd_tf.export.convert import portable
from mmkd_tf.export.latency import median_ms
from mmkd_tf.export.parity import Export, check_logits, compare, difference, keras_logits
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

_NUM_RAW = 20
_OF_PATTERNS = set("*?[\\")  # with one of these TensorFlow reads a path as a pattern of names


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    modalities: Mapping[str, Modality],
    examples: Mapping[str, np.ndarray],
    task: Task | str = DEFAULT_TASK,
    temperature: float | None = None,
) -> Export:
    """Writes a model as a SavedModel with everything between raw inputs and class names.

    Signature `serving_default` takes a batch of one or more, each input as string `[batch]`: of
    pictures the bytes of JPEG, PNG or BMP files, see `mmkd_tf.modalities.picture_files`, of texts
    UTF-8; an empty string is an absent one; of sets of pictures string `[batch, views]`. An example
    of which all is absent is an InvalidArgumentError, as is a picture of another format, a damaged
    one or one of more than 64 million pixels. Signature `tensors` takes the tensor form, and
    answers for zeros as the model does. Both give `probabilities`, float32 `[batch, num_classes]`,
    `class_names`, string of the same shape and order, the same in each row, and `label`, string
    `[batch]`, the most probable class. With several labels an example there is no `label`; for
    regression there are `values` in place of `probabilities`, for retrieval and embedding an
    `embedding` alone.

    Args:
        model: Functional model that gives logits or values.
        path: The folder to write; a SavedModel there is replaced.
        class_names: Name of each class, in the order of the model's outputs.
        modalities: By input name, what turns raw values into tensors; see `Dataset.modalities`.
        examples: By input name, examples in tensor form along the first axis; the first 500 are
            used to compare the SavedModel with Keras.
        task: What the model is for, or its name; of retrieval one tower.
        temperature: What logits are divided by before they become probabilities, see
            `mmkd_tf.export.calibrated`; None leaves them as they are.

    Returns:
        Size, latency (of the signature `tensors`) and difference from Keras.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model, the examples or another argument don't fit.
        FileExistsError: If `path` holds something else than a SavedModel.
        RuntimeError: If the SavedModel differs from Keras by more than 1e-4 nats.
    """
    inputs = check_model(
        model,
        class_names=class_names,
        examples=examples,
        modalities=modalities,
        problems=temperature_problems(temperature, task),
        task=task,
    )
    task, model = find_task(task), calibrated(model, temperature)
    modalities = {name: modalities[name] for name in inputs}
    logits = keras_logits(model, inputs)
    # As the model itself gives them: probabilities that are divided no longer look like any.
    check_logits(logits * (temperature or 1), case="the examples", task=task)
    path = Path(path)
    if path.exists() and not (path / "saved_model.pb").is_file() and not _is_empty_folder(path):
        raise FileExistsError(
            f"`{path}`: a folder to make, or a SavedModel to replace. Received: one which holds "
            "something else. Choose another path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unproved = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _save(model, unproved, class_names, modalities, inputs, task)
        with tf.device("CPU:0"), _without_patterns(unproved) as readable:
            signatures = tf.saved_model.load(str(readable)).signatures

            def run(tensors):
                tensors = {name: tf.constant(values) for name, values in tensors.items()}
                return signatures["tensors"](**tensors)[task.output].numpy()

            result = compare(
                model=model, run=run, inputs=inputs, exact=True, logits=logits, task=task
            )
            _compare_raw(model, signatures["serving_default"], modalities, inputs, task)
            milliseconds = median_ms(run, [{k: v[:1] for k, v in inputs.items()}])
        num_bytes = sum(file.stat().st_size for file in unproved.rglob("*") if file.is_file())
        _replace_folder(unproved, path)
    finally:
        shutil.rmtree(unproved, ignore_errors=True)
    if _OF_PATTERNS & set(path.as_posix()):
        warnings.warn(
            f"TensorFlow may open no SavedModel whose path has one of * ? [ \\ in it, as {path}: "
            "rename or copy the folder before it is loaded.",
            stacklevel=2,
        )
    reads_text = any(modality.takes_utf8 for modality in modalities.values())
    return Export(
        file=str(path),
        bytes=num_bytes,
        latency_ms=milliseconds,
        max_abs_logit_difference=result.max_abs_logit_difference,
        top1_agreement=result.top1_agreement,
        num_examples=result.num_examples,
        batch_size=None,
        text_input="bytes" if reads_text else None,
        task=task.name,
    )


@contextmanager
def _without_patterns(path: Path) -> Iterator[Path]:
    """Gives another path of the same folder where TensorFlow would not find what is in it."""
    if not _OF_PATTERNS & set(path.as_posix()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "model"
        link.symlink_to(path.resolve(), target_is_directory=True)
        yield link


def _save(model, path, class_names, modalities, inputs, task) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `tensors`."""
    class_names = list(class_names)
    specs = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype, name=name)
        for name, values in inputs.items()
    }
    raw_specs = {
        name: tf.TensorSpec([None, *modalities[name].string_shape], tf.string, name=name)
        for name in inputs
    }

    @tf.function(input_signature=[specs], autograph=False)
    def tensors(batch):
        with portable(model):
            outputs = task.activate(call_by_name(model, batch))
        answer = {task.output: outputs}
        if class_names:
            names = tf.constant(class_names)
            answer["class_names"] = tf.tile(names[tf.newaxis], [tf.shape(outputs)[0], 1])
        if task.has_one_class:
            answer["label"] = tf.gather(names, tf.argmax(outputs, axis=1))
        return answer

    @tf.function(input_signature=[raw_specs], autograph=False)
    def serving_default(batch):
        ready = {name: modalities[name].decode(raw) for name, raw in batch.items()}
        with tf.control_dependencies([_something_in_each(ready)]):
            ready = {name: tf.identity(values) for name, values in ready.items()}
        return tensors({name: tf.cast(ready[name], specs[name].dtype) for name in specs})

    module = tf.Module()
    # Tracked by hand: tf.Module finds no variables in Keras models, and no tables in modalities.
    module.weights = [variable.value for variable in model.variables]
    module.tables = [
        value
        for modality in modalities.values()
        for value in vars(modality).values()
        if isinstance(value, tf.lookup.StaticHashTable)
    ]
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # no word about assets
    try:
        signatures = {"serving_default": serving_default, "tensors": tensors}
        tf.saved_model.save(module, str(path), signatures=signatures)
    finally:
        logger.setLevel(level)


def _something_in_each(ready) -> tf.Operation:
    """Refuses, in a graph, a batch with examples of which all is absent, or without examples."""
    there = [
        tf.reduce_any(values != 0, axis=list(range(1, values.shape.rank)))
        for values in ready.values()
    ]
    complete = tf.reduce_any(tf.stack(there), axis=0)
    lacking = tf.where(~complete)[:, 0]
    wanted = f"An example has at least one of {', '.join(ready)}. Received: none, of the examples"
    fits = (tf.size(lacking) == 0) & (tf.size(complete) > 0)
    return tf.debugging.Assert(fits, [wanted, lacking])


def _compare_raw(model, serving, modalities, inputs, task) -> None:
    """Checks the signature for raw inputs: pictures as PNG files, texts spelled out."""
    raw, ready = {}, {}
    for name, values in inputs.items():
        # What is decoded from an encoded value is encoded and decoded again without loss.
        encoded = tf.constant(modalities[name].encode(values[:_NUM_RAW]))
        ready[name] = modalities[name].decode(encoded).numpy().astype(values.dtype)
        raw[name] = tf.constant(modalities[name].encode(ready[name]))
    logits = keras_logits(model, ready)
    answers = serving(**raw)[task.output].numpy()
    found = difference(logits=logits, probabilities=answers, task=task)
    if found.exceeds(exact=True):
        raise RuntimeError(
            f"The SavedModel differs from Keras on raw {' and '.join(inputs)}, so it was not kept: "
            f"{found}. Report it as a defect."
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
