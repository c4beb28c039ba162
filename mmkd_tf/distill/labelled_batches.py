"""Labelled batches that a training reads once an epoch, checked before it begins."""

import tensorflow as tf


def check_dataset(batches) -> None:
    """Refuses batches that are no `tf.data.Dataset`.

    Raises:
        TypeError: With the line that makes one of arrays.
    """
    if not isinstance(batches, tf.data.Dataset):
        raise TypeError(
            "`batches`: a tf.data.Dataset of (x, y) or (x, y, sample_weight). Received: "
            f"{type(batches).__name__}. Make one of arrays: "
            "tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0).batch(32)."
        )


def batch_problems(batches: tf.data.Dataset) -> list[str]:
    """What keeps a dataset from being read as labelled batches, once an epoch."""
    problems = []
    parts = batches.element_spec
    if not (isinstance(parts, tuple) and len(parts) in (2, 3)):
        problems.append(
            "`batches`: elements (x, y) or (x, y, sample_weight). Received: a dataset of "
            f"{parts}. Map it to (x, y)."
        )
    if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
        problems.append(
            "`batches`: a dataset that ends, because it is read once an epoch. Received: one that "
            "repeats for ever. Leave out repeat(), or end it with take(num_steps)."
        )
    return problems


def count_problems(*, least: int, **counts) -> list[str]:
    """Counts that are not integers of at least `least`."""
    return [
        f"`{name}`: an integer, {least} or more. Received: {name}={count!r}."
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < least
    ]
