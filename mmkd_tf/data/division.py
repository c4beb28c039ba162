"""Division: which rows of a table go to which split, so that all splits are alike."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from mmkd_tf.data.iterative_split import iterative_split
from mmkd_tf.data.splitting import stratified_split
from mmkd_tf.data.targets import label_array

_MOST_BINS = 10
_GROUPS_IN_A_BIN = 10


def divide(
    labels: Sequence,
    contents: Sequence[Hashable],
    *,
    task: str,
    fractions: Mapping[str, float],
    seed: int,
) -> dict[str, np.ndarray]:
    """Divides rows; those of the same content stay together.

    Classes are divided one by one, see `stratified_split`; rows of the same content but of another
    class count as different. Labels of several are dealt out by `iterative_split`, numbers by
    how great they are, see `quantile_bins`; of pairs, the rows of an item stay together.

    Args:
        labels: Label of each row, in the form that `read_labels` gives; of retrieval the number
            of the item.
        contents: Content of each row.
        task: One of `mmkd_tf.tasks.TASKS`.
        fractions: By name of a held-out split, the fraction of rows that it gets.
        seed: Seed of the choice.

    Returns:
        Row indices in rising order, by split: `train` and the names of `fractions`.
    """
    options = {"fractions": fractions, "seed": seed}
    if task == "single_label":
        groups = _numbered(list(zip(contents, labels, strict=True)))
        return stratified_split(labels, groups=groups, **options)
    if task == "retrieval":
        return stratified_split(["pair"] * len(labels), groups=_numbered(labels), **options)
    groups = _numbered(contents)
    if task == "multi_label":
        names = sorted({name for label in labels for name in label})
        array = label_array(labels, task=task, class_names=names)
        return iterative_split(array, groups=groups, **options)
    return stratified_split(quantile_bins(np.array(labels), groups), groups=groups, **options)


def quantile_bins(targets: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Sorts rows into up to ten bins of about as many groups each, by how great they are.

    Args:
        targets: float `[rows, num_targets]`; of several the mean in standard deviations counts.
        groups: Group of each row, from 0 on; all rows of one are in one bin.

    Returns:
        int `[rows]`, the number of the bin.
    """
    spread = targets.std(axis=0)
    scores = (targets - targets.mean(axis=0)) / np.where(spread > 0, spread, 1)
    groups = np.asarray(groups)
    means = np.bincount(groups, scores.mean(axis=1)) / np.bincount(groups)
    num_bins = min(_MOST_BINS, max(1, len(means) // _GROUPS_IN_A_BIN))
    ranks = np.argsort(np.argsort(means, kind="stable"), kind="stable")
    return (ranks * num_bins // len(means))[groups]


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    numbers: dict = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]
