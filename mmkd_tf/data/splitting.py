"""Divides rows into training, validation and test rows, class by class."""

from collections.abc import Mapping, Sequence

import numpy as np


def stratified_split(
    labels: Sequence,
    *,
    fractions: Mapping[str, float],
    seed: int,
    groups: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Takes a fraction of each class for each held-out split; the rest is for training.

    A class is in every split where it has groups enough: one is kept for training first, then
    each held-out split gets one in the order of `fractions`. Groups are never divided. Large ones
    tend to training, so that no held-out split consists of one row repeated.

    Args:
        labels: Class of each row, anything that can be sorted.
        fractions: By name of a held-out split, the fraction of rows that it gets; see
            `check_fractions`.
        seed: Seed of the choice; the same seed gives the same split.
        groups: Group of each row; the rows of a group have the same label. By default each row
            is a group of its own.

    Returns:
        Row indices in rising order, by split: `train` and the names of `fractions`.
    """
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, first_rows, groups, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    group_splits = np.full(len(sizes), "train", dtype=object)
    random = np.random.default_rng(seed)
    group_labels = labels[first_rows]
    for label in np.unique(group_labels):
        members = random.permutation(np.flatnonzero(group_labels == label))
        members = list(members[np.argsort(sizes[members], kind="stable")])
        rows = sizes[members].sum()
        splits_to_come = len(fractions)
        for split, fraction in fractions.items():
            splits_to_come -= 1
            wanted = max(1, round(fraction * rows))
            kept = 1 + splits_to_come if len(members) > 1 + splits_to_come else 1
            while wanted > 0 and len(members) > kept:
                wanted -= sizes[members[0]]
                group_splits[members.pop(0)] = split
    row_splits = group_splits[groups]
    return {split: np.flatnonzero(row_splits == split) for split in ("train", *fractions)}


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises a ValueError unless each fraction is above 0 and something is left for training."""
    wrong = [
        f"`{split}`: a fraction above 0 and below 1, or a table. Received: {split}={fraction!r}."
        for split, fraction in fractions.items()
        if not 0 < fraction < 1
    ]
    if not wrong and sum(fractions.values()) >= 1:
        received = ", ".join(f"{split}={fraction!r}" for split, fraction in fractions.items())
        wrong = [
            f"`{'`, `'.join(fractions)}`: fractions that leave rows for training. "
            f"Received: {received}."
        ]
    if wrong:
        raise ValueError("\n".join(wrong))
