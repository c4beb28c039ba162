"""Views: the training examples as one epoch shows them, made again at any time from the seed."""

from collections.abc import Callable

import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.draws import uniform_draws

ABSENCE_RATE = 0.1


def view_maker(dataset: Dataset, *, seed: int, augment: bool) -> Callable:
    """Makes a function of the view's number and an int32 `[batch]` index to inputs and labels."""
    examples = dataset.splits["train"]
    # The arrays become tensors once; batches are gathered by index, so shuffling is complete
    # and costs an index an example.
    inputs = {name: tf.constant(values) for name, values in examples.inputs.items()}
    labels = tf.constant(examples.labels)

    def make_view(view, index):
        batch = {name: tf.gather(values, index) for name, values in inputs.items()}
        if augment:
            seeds = tf.stack([index, tf.fill(tf.shape(index), seed * 65_537 + view)], axis=1)
            batch = {name: dataset.modalities[name].augment(batch[name], seeds) for name in batch}
            if dataset.task != "retrieval":  # which needs both of each pair
                batch = drop_modalities(batch, seeds, rate=ABSENCE_RATE)
        return batch, tf.gather(labels, index)

    return make_view


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

    Args:
        dataset: The data.
        views: Number of the view to stop before.
        first_view: Number of the view to begin with, from 0.
        batch_size: Examples in a batch; the last batch of a view may be smaller.
        seed: As for `training_batches`, whose epoch e shows view e.
        augment: As for `training_batches`.

    Returns:
        Batches of `({modality: tensor}, int32 labels)`.
    """
    make_view = view_maker(dataset, seed=seed, augment=augment)

    def view_indices(view):
        indices = tf.data.Dataset.range(dataset.sizes["train"], output_type=tf.int32)
        return indices.batch(batch_size).map(lambda index: (view, index))

    steps = tf.data.Dataset.range(first_view, views, output_type=tf.int32).flat_map(view_indices)
    return steps.map(make_view, num_parallel_calls=2, deterministic=True).prefetch(2)


def drop_modalities(
    batch: dict[str, tf.Tensor], seeds: tf.Tensor, *, rate: float
) -> dict[str, tf.Tensor]:
    """Makes one modality absent in some examples, so that a model learns to do without it.

    Args:
        batch: By modality, tensors `[batch, ...]`; all zeros is absent.
        seeds: int32 `[batch, 2]`; the same seed gives the same choice.
        rate: Share of the examples that lose a modality, 0 to 1.

    Returns:
        The batch; an example that has one modality only keeps it.
    """
    if len(batch) < 2:
        return batch
    draws = uniform_draws(seeds ^ 0x5EED, 1)[:, 0]  # other numbers than augmentation takes
    chosen = tf.cast(tf.floor(draws / rate * len(batch)), tf.int32)
    present = [tf.reduce_any(tf.reshape(x, [tf.shape(x)[0], -1]) != 0, 1) for x in batch.values()]
    complete = tf.reduce_all(tf.stack(present), axis=0)
    kept = {}
    for index, (name, values) in enumerate(batch.items()):
        dropped = tf.reshape((chosen == index) & complete, [-1] + [1] * (len(values.shape) - 1))
        kept[name] = tf.where(dropped, tf.zeros_like(values), values)
    return kept
