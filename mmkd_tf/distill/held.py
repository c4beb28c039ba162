"""Held blocks: parts of a student that do not learn are run once for each view, not each step."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from mmkd_tf.data.batches import first_view_seed, view_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.transfer import TransferRows
from mmkd_tf.modalities.modality import (
    Modality,
    is_absent,
    student_inputs,
    teacher_form,
    teacher_inputs,
)
from mmkd_tf.progress import each, steps

MOST_VIEWS = 8
MOST_BYTES = 2**29  # in memory
_AT_ONCE = 256


class HeldOutputs:
    """A form of an input: what a model that does not learn makes of it, in several views.

    It has of the contract of `Modality` what training needs.

    Args:
        name: Name of the input.
        views: float16 `[views, num_examples, ...]`, of the training split.
        seed: Seed of the batches.
    """

    keeps_raw = False

    def __init__(self, name: str, views: np.ndarray, seed: int):
        self.name, self.first = name, first_view_seed(seed)
        self.num_views, self.num_examples = views.shape[:2]
        self.views = tf.constant(views.reshape([-1, *views.shape[2:]]))

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Gives the view that the seeds ask for; epochs show the views in turn."""
        view = (seeds[:, 1] - self.first) % self.num_views
        return tf.gather(self.views, view * self.num_examples + seeds[:, 0])


def held_model(student: keras.Model) -> tuple[keras.Model, dict[str, keras.Model]]:
    """Gives the part of a student that learns, and by input the models before it that do not.

    These are layers of the student that read an input alone and have no weight that learns. The
    part shares its layers with the student: what it learns, the student has learnt.

    Zeros stand for an absent input in the part too. Its layers above then see what the held model
    makes of a picture of zeros, as they do in the student, whether the input was never there or
    was dropped: batch normalisation would else learn from other numbers than it meets later.
    """
    first = {
        name: layer
        for layer in student.layers
        if isinstance(layer, keras.Model) and not layer.trainable
        for name in student.input
        if layer.name == f"{name}_held"
    }
    if not first:
        return student, {}
    given = {
        name: keras.Input(first[name].output.shape[1:], dtype="float16", name=name)
        if name in first
        else keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in student.input.items()
    }
    held = {id(layer): _AbsentAs(_of_nothing(layer)) for layer in first.values()}
    part = keras.models.clone_model(
        student,
        input_tensors=given,
        clone_function=lambda layer: layer,
        call_function=lambda layer, *args, **kwargs: (
            held[id(layer)](args[0]) if id(layer) in held else layer(*args, **kwargs)
        ),
    )
    return part, first


def _of_nothing(model: keras.Model) -> np.ndarray:
    """What a model makes of an absent input: float16 `[1, ...]`."""
    nothing = ops.zeros([1, *model.input.shape[1:]], model.input.dtype)
    return ops.convert_to_numpy(model(nothing, training=False)).astype(np.float16)


class _AbsentAs(layers.Layer):
    """Puts `values`, `[1, ...]`, in the place of each example that is all zeros."""

    def __init__(self, values: np.ndarray):
        super().__init__(autocast=False, trainable=False)
        self.values = values

    def call(self, inputs):
        there = ops.any(inputs != 0, axis=list(range(1, len(inputs.shape))), keepdims=True)
        return ops.where(there, inputs, self.values)


def with_held(
    dataset: Dataset, held: dict[str, keras.Model], *, epochs: int, seed: int, augment: bool
) -> Dataset | None:
    """Gives the data in which inputs are what the held models make of them; None if too large.

    There are as many views as epochs, at most `MOST_VIEWS`: view v is that of epoch v, with some
    examples corrupted besides.
    """
    shapes = {name: model.output.shape[1:] for name, model in held.items()}
    bytes_of_a_view = sum(2 * dataset.sizes["train"] * int(np.prod(s)) for s in shapes.values())
    views = min(epochs, MOST_VIEWS, MOST_BYTES // bytes_of_a_view) if augment else 1
    if augment and views < min(epochs, 2):
        return None
    outputs = {name: _outputs(model) for name, model in held.items()}
    seen = dataset.only(list(held))
    made = {
        name: np.zeros([views * len(seen.splits["train"]), *shapes[name]], np.float16)
        for name in held
    }
    row, size = 0, len(seen.splits["train"])
    shown = view_batches(seen, views=views, seed=seed, augment=augment, batch_size=_AT_ONCE)
    with steps("views through the blocks that are held", len(next(iter(made.values())))) as advance:
        for batch, labels in shown:
            if augment:
                rows = tf.range(row, row + len(labels))
                seeds = tf.stack([rows % size, first_view_seed(seed) + rows // size], 1)
                batch |= {
                    name: dataset.modalities[name].corrupt(batch[name], seeds) for name in held
                }
            for name in held:
                made[name][row : row + len(labels)] = outputs[name](batch[name])
            row += len(labels)
            advance(len(labels))
    forms: dict[str, Any] = {
        name: HeldOutputs(name, values.reshape([views, -1, *shapes[name]]), seed)
        for name, values in made.items()
    }

    def clean(name: str, examples: Examples) -> np.ndarray:
        if examples is dataset.splits["train"]:  # read as it is where nothing is augmented
            return made[name][: len(examples)]
        if augment and examples is not dataset.splits["validation"]:  # the test split is not read
            return np.zeros([len(examples), *shapes[name]], np.float16)
        values, starts = examples.inputs[name], range(0, len(examples), _AT_ONCE)
        return np.concatenate([outputs[name](values[at : at + _AT_ONCE]) for at in starts])

    def replaced(examples: Examples) -> dict:
        theirs = {teacher_form(n): x for n, x in teacher_inputs(examples.inputs).items()}
        own = {name: clean(name, examples) for name in held}
        return {**student_inputs(examples.inputs), **theirs, **own}

    theirs = {teacher_form(n): m for n, m in teacher_inputs(dataset.modalities).items()}
    return dataset.with_inputs(replaced, {**student_inputs(dataset.modalities), **theirs, **forms})


def rows_with_held(
    rows: TransferRows,
    held: Mapping[str, keras.Model],
    forms: Mapping[str, Modality],
    *,
    epochs: int,
    seed: int,
    augment: bool,
) -> TransferRows | None:
    """Gives transfer rows whose inputs are what the held models make of them; None if too large.

    There are fewer views than of the training rows where memory asks for it, one at least.

    Args:
        rows: As the student reads them.
        held: By name of an input, the model.
        forms: The inputs as the student reads them.
        epochs: Those of the training.
        seed: Its seed.
        augment: Whether it changes inputs at random.
    """
    made, num_views = {}, {}
    for name in set(held).intersection(rows.values):
        values, shape = rows.values[name], held[name].output.shape[1:]
        views = min(epochs, MOST_VIEWS) if augment else 1
        views = min(views, MOST_BYTES // (2 * len(values) * int(np.prod(shape))))
        if not views:
            return None
        outputs, made[name] = _outputs(held[name]), np.zeros([views * len(values), *shape], "f2")
        parts = [(view, at) for view in range(views) for at in range(0, len(values), _AT_ONCE)]
        title = "batches of rows without labels through the blocks that are held"
        for view, at in each(parts, title, len(parts)):
            some = tf.constant(values[at : at + _AT_ONCE])
            if augment:
                index = tf.range(at, at + len(some))
                seeds = tf.stack([index, tf.fill([len(some)], first_view_seed(seed) + view)], 1)
                some = forms[name].corrupt(forms[name].augment(some, seeds), seeds)
            start = view * len(values) + at
            made[name][start : start + len(some)] = outputs(some)
        num_views[name] = views
    return replace(rows, values={**rows.values, **made}, views=num_views)


def _outputs(model: keras.Model) -> Callable:
    """Makes a function from values to what a held model makes of them, float16; zeros of absent."""
    run = tf.function(
        lambda x: tf.cast(model(x, training=False), tf.float16),
        input_signature=[tf.TensorSpec([None, *model.input.shape[1:]], model.input.dtype)],
        autograph=False,
    )

    def outputs(values) -> np.ndarray:
        found = run(values).numpy()
        found[is_absent(np.asarray(values))] = 0
        return found

    return outputs
