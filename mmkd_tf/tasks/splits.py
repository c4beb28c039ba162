"""Divides rows into training, validation and test rows, so that all splits are alike."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

_MOST_BINS = 10
_GROUPS_IN_A_BIN = 10


def numbered(keys: Sequence[Hashable]) -> list[int]:
    """Gives each key a number from 0 on, equal keys the same."""
    numbers: dict = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def joined(pairs: Iterable[tuple[Hashable, Hashable]]) -> Callable[[Hashable], Hashable]:
    """Joins the nodes of each pair; gives a function from a node to the one that stands for all."""
    parents: dict = {}

    def root(node):
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for first, second in pairs:
        parents[root(first)] = root(second)
    return root


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

    The rows of a group have the same label; by default each row is a group. Arguments and result
    are as in `Task.divide`.
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


def iterative_split(
    labels: np.ndarray,
    *,
    fractions: Mapping[str, float],
    seed: int,
    groups: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Deals out rows of several labels label by label, the rarest first, where each lacks most.

    Of a label's first row training is given, since it lacks the most. Rows without labels follow
    at the end. Groups are never divided; by default each row is one. Labels are 0 or 1,
    `[rows, num_labels]`; the other arguments and the result are as in `Task.divide`.

    References:
        Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, 2011.
    """
    labels = np.asarray(labels, np.float64)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros([len(sizes), labels.shape[1]])
    np.add.at(counts, groups, labels)  # by group and label, rows

    names = ["train", *fractions]
    shares = np.array([1 - sum(fractions.values()), *fractions.values()])
    lacking = shares[:, None] * counts.sum(axis=0)  # by split and label, rows still wanted
    lacking_rows = shares * sizes.sum()
    random = np.random.default_rng(seed)
    chosen = np.full(len(sizes), -1)

    def deal(members: np.ndarray, wanted: np.ndarray) -> None:
        """Gives each of the groups to the split for which `wanted` is greatest, then the rows."""
        for group in random.permutation(members):
            best = np.flatnonzero(np.isclose(wanted, wanted.max()))
            rows = lacking_rows[best]
            split = random.choice(best[np.isclose(rows, rows.max())])
            chosen[group] = split
            lacking[split] -= counts[group]
            lacking_rows[split] -= sizes[group]

    while True:
        left = counts[chosen < 0].sum(axis=0)
        if not left.any():
            break
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        # A view: it follows what `deal` takes from it.
        deal(np.flatnonzero((chosen < 0) & (counts[:, label] > 0)), lacking[:, label])
    deal(np.flatnonzero(chosen < 0), lacking_rows)
    rows = chosen[groups]
    return {name: np.flatnonzero(rows == split) for split, name in enumerate(names)}


def quantile_bins(targets: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Sorts rows into up to ten bins of about as many groups each, by how great they are.

    Of several targets, `[rows, num_targets]`, the mean in standard deviations counts. Groups are
    numbered from 0 on; all rows of one are in one bin. Gives int `[rows]`, the bin's number.
    """
    spread = targets.std(axis=0)
    scores = (targets - targets.mean(axis=0)) / np.where(spread > 0, spread, 1)
    groups = np.asarray(groups)
    means = np.bincount(groups, scores.mean(axis=1)) / np.bincount(groups)
    num_bins = min(_MOST_BINS, max(1, len(means) // _GROUPS_IN_A_BIN))
    ranks = np.argsort(np.argsort(means, kind="stable"), kind="stable")
    return (ranks * num_bins // len(means))[groups]
