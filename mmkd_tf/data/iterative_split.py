"""Divides rows of several labels each, so that every split gets its share of every label."""

from collections.abc import Mapping, Sequence

import numpy as np


def iterative_split(
    labels: np.ndarray,
    *,
    fractions: Mapping[str, float],
    seed: int,
    groups: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Deals out the rows label by label, the rarest first, to the split that lacks it most.

    Of a label's first row training is given, since it lacks the most. Rows without labels follow
    at the end. Groups are never divided.

    Args:
        labels: 0 or 1, `[rows, num_labels]`.
        fractions: By name of a held-out split, the fraction of rows that it gets.
        seed: Seed of the choice; the same seed gives the same split.
        groups: Group of each row. By default each row is a group of its own.

    Returns:
        Row indices in rising order, by split: `train` and the names of `fractions`.

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
