"""Batches: what `fit` and `evaluate` read, from the examples of a Dataset."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.kept import gatherer
from mmkd_tf.modalities.modality import student_inputs


def training_batches(
    dataset: Dataset,
    *,
    epochs: int,
    first_epoch: int = 0,
    batch_size: int = 32,
    seed: int = 0,
    augment: bool = True,
    soft_targets=None,
) -> tf.data.Dataset:
    """Makes shuffled, augmented batches of the training split for several epochs in a row.

    Order and augmentation depend on the seed, the epoch and the example alone. So a training
    that was interrupted goes on with the batches that it would have seen, and each view can
    be made again: fit with `steps_per_epoch=num_steps(dataset, batch_size)`.

    Args:
        dataset: The data.
        epochs: Number of the epoch to stop before.
        first_epoch: Number of the epoch to begin with, from 0.
        batch_size: Examples in a batch; the last batch of an epoch may be smaller.
        seed: Seed of order and augmentation.
        augment: Whether inputs are changed at random, see `Modality.augment`; to leave some
            out is the model's own part, see `mmkd_tf.models.ModalityDropout`.
        soft_targets: A teacher's outputs for these data, made by `cache_soft_targets`, or a dict
            of several by teacher name; one alone is named `teacher`, those of a list `teacher_0`
            and so on, as in the Distiller. Epoch e then shows view `e % views`, the only ones
            that the teacher has seen, in an order of its own.

    Returns:
        Batches of `({input: tensor}, labels)`. Where the student has an input in a form of its
        own, `teacher/<input>` is the same view of the example as teachers read it. With soft
        targets the inputs hold `<teacher name>/logits`, float32 `[batch, num_classes]`, in its
        place, and so for each cached layer, and the cache's `marker`, by which a Distiller knows
        its own.

    Raises:
        ValueError: If soft targets are of other data, another seed or other augmentation.
    """
    caches = {} if soft_targets is None else named_teachers(soft_targets)
    _check_caches(caches, dataset, seed=seed, augment=augment)
    views = next((cache.views for cache in caches.values()), None)
    readers = {name: cache.reader() for name, cache in caches.items()}
    make_view = _view_maker(dataset, seed=seed, augment=augment)

    def epoch_indices(epoch):
        order = tf.range(dataset.sizes["train"])
        order = tf.random.experimental.stateless_shuffle(order, [seed, epoch])
        indices = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return indices.map(lambda index: (epoch, index))

    def make_batch(epoch, index):
        view = epoch if views is None else epoch % views
        batch, labels = make_view(view, index)
        if caches:  # teachers have read theirs already
            batch = student_inputs(batch)
        for teacher_name, read in readers.items():
            cache, outputs = caches[teacher_name], read(view, index)
            batch |= keyed_outputs(outputs, cache=cache, teacher_name=teacher_name)
        return batch, labels

    steps = tf.data.Dataset.range(first_epoch, epochs, output_type=tf.int32).flat_map(epoch_indices)
    return steps.map(make_batch, num_parallel_calls=2, deterministic=True).prefetch(2)


def view_batches(
    dataset: Dataset,
    *,
    views: int,
    first_view: int = 0,
    batch_size: int = 64,
    seed: int = 0,
    augment: bool = True,
) -> tf.data.Dataset:
    """Makes batches of whole views of the training split, one after the other, unshuffled.

    A view is the training examples as one epoch shows them: views `first_view` to `views - 1`,
    as `training_batches` makes them for the epochs of these numbers.
    """
    make_view = _view_maker(dataset, seed=seed, augment=augment)

    def view_indices(view):
        indices = tf.data.Dataset.range(dataset.sizes["train"], output_type=tf.int32)
        return indices.batch(batch_size).map(lambda index: (view, index))

    steps = tf.data.Dataset.range(first_view, views, output_type=tf.int32).flat_map(view_indices)
    return steps.map(make_view, num_parallel_calls=2, deterministic=True).prefetch(2)


def first_view_seed(seed: int) -> int:
    """What the augmentation of view 0 is seeded with; view v has this plus v, below 2**31.

    Seeds below 32,768 are so far apart that none has a view of another; larger ones, for which
    there is no such room in 32 bits, stand anywhere.
    """
    if seed < 2**15:
        return seed * 65_537
    return int(np.random.default_rng(seed).integers(2**31 - 2**15))


def num_steps(dataset: Dataset, batch_size: int) -> int:
    """Number of training batches in an epoch."""
    return -(-dataset.sizes["train"] // batch_size)


def batches(dataset: Dataset, split: str, *, batch_size: int = 256) -> tf.data.Dataset:
    """Makes batches of a split as they stand, in their fixed order, for evaluation."""
    return getattr(dataset, split).batch(batch_size).prefetch(2)


def named_teachers(teachers) -> dict:
    """Names of models or caches: a dict's keys, places in a list, or `teacher` for one alone."""
    if isinstance(teachers, Mapping):
        return dict(teachers)
    if isinstance(teachers, list | tuple):
        return {f"teacher_{index}": teacher for index, teacher in enumerate(teachers)}
    return {"teacher": teachers}


# Of a batch with rows without labels: how much the label of each row counts, float32 `[batch]`.
LABEL_WEIGHT = "labels/weight"


def output_key(teacher_name: str, output: str) -> str:
    """The key of a teacher's output in a batch; no input's name has a slash."""
    return f"{teacher_name}/{output}"


def keyed_outputs(outputs: Mapping, *, cache, teacher_name: str) -> dict:
    """A teacher's outputs `[batch, ...]` as a batch holds them, with the marker of their cache."""
    keyed = {output_key(teacher_name, name): values for name, values in outputs.items()}
    num_examples = tf.shape(outputs["logits"])[:1]
    return {**keyed, cache.marker(teacher_name): tf.zeros(num_examples, tf.uint8)}


def _view_maker(dataset: Dataset, *, seed: int, augment: bool) -> Callable:
    """Makes a function of the view's number and an int32 `[batch]` index to inputs and labels."""
    examples = dataset.splits["train"]
    # The arrays become tensors once, or stay on disk; batches are gathered by index, so shuffling
    # is complete and costs an index an example.
    inputs = {name: gatherer(values) for name, values in examples.inputs.items()}
    labels = tf.constant(examples.labels)
    first = first_view_seed(seed)

    def make_view(view, index):
        batch = {name: rows(index) for name, rows in inputs.items()}
        if augment:
            seeds = tf.stack([index, tf.fill(tf.shape(index), first + view)], axis=1)
            batch = {name: dataset.modalities[name].augment(batch[name], seeds) for name in batch}
        return batch, tf.gather(labels, index)

    return make_view


def _check_caches(caches: Mapping, dataset: Dataset, *, seed: int, augment: bool) -> None:
    """Refuses soft targets that are not about these batches."""
    problems = []
    asked = {"augment": augment, "num_examples": dataset.sizes["train"]}
    asked |= {"seed": seed} if augment else {}  # without augmentation it makes only the order
    fingerprint = dataset.seen_by(teacher=True).fingerprint() if caches else ""
    for name, cache in caches.items():
        made = {argument: getattr(cache, argument) for argument in asked}
        differing = [key for key in asked if made[key] != asked[key]]
        problems += [f"'{name}' has {key}={made[key]!r}, not {asked[key]!r}" for key in differing]
        if not differing and cache.fingerprint != fingerprint:
            problems.append(f"'{name}' is of other data, though as many")
    views = {name: cache.views for name, cache in caches.items()}
    if len(set(views.values())) > 1:
        problems.append(f"views={views}, which can't all be those of an epoch")
    if problems:
        raise ValueError(
            "`soft_targets`: made by cache_soft_targets from the same data with the same seed, "
            f"augment and views. Received: {'; '.join(problems)}. Make them again for this "
            "training, or train as they were made."
        )
