"""Batches: what `fit` and `evaluate` read, from the examples of a Dataset."""

import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.draws import uniform_draws

ABSENCE_RATE = 0.1


def training_batches(
    dataset: Dataset,
    *,
    epochs: int,
    first_epoch: int = 0,
    batch_size: int = 32,
    seed: int = 0,
    augment: bool = True,
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
        augment: Whether modalities are changed at random, see `Modality.augment`, and one of
            them is left out of a tenth of the examples, see `drop_modalities`.

    Returns:
        Batches of `({modality: tensor}, int32 labels)`.
    """
    examples = dataset.splits["train"]
    # The arrays become tensors once; batches are gathered by index, so shuffling is complete
    # and costs an index an example.
    inputs = {name: tf.constant(values) for name, values in examples.inputs.items()}
    labels = tf.constant(examples.labels)

    def epoch_indices(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(examples)), [seed, epoch])
        indices = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return indices.map(lambda index: (epoch, index))

    def gather(epoch, index):
        batch = {name: tf.gather(values, index) for name, values in inputs.items()}
        if augment:
            seeds = tf.stack([index, tf.fill(tf.shape(index), seed * 65_537 + epoch)], axis=1)
            batch = {name: dataset.modalities[name].augment(batch[name], seeds) for name in batch}
            batch = drop_modalities(batch, seeds, rate=ABSENCE_RATE)
        return batch, tf.gather(labels, index)

    steps = tf.data.Dataset.range(first_epoch, epochs, output_type=tf.int32).flat_map(epoch_indices)
    return steps.map(gather, num_parallel_calls=2, deterministic=True).prefetch(2)


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


def num_steps(dataset: Dataset, batch_size: int) -> int:
    """Number of training batches in an epoch."""
    return -(-dataset.sizes["train"] // batch_size)


def batches(dataset: Dataset, split: str, *, batch_size: int = 256) -> tf.data.Dataset:
    """Makes batches of a split as they stand, in their fixed order, for evaluation."""
    return getattr(dataset, split).batch(batch_size).prefetch(2)
