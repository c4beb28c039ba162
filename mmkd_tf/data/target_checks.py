"""Finds what is wrong with labels of several an example, and with targets of regression."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.data.cells import quote
from mmkd_tf.data.checks import check_inputs
from mmkd_tf.data.labels import name_classes
from mmkd_tf.data.rows import Rows
from mmkd_tf.data.targets import MISSING

# Below this share of the greatest value, float32 does not tell the values apart well enough.
_SMALLEST_SPREAD = 1e-6


def check_label_sets(
    tables: Mapping[str, Rows], *, held_out: Sequence[str], class_names: Sequence[str] | None
) -> tuple[dict[str, str], list[str], list[str]]:
    """Checks the labels of all tables together, and adds to the problems of their rows.

    Args:
        tables: As for `check_classes`.
        held_out: As for `check_classes`. A label of one row is no problem here: it stays in
            training, and a note names the splits that lack it.
        class_names: The labels if they are known beforehand.

    Returns:
        As `check_classes`: the name of each label; the names in order; what is wrong with the
        data as a whole.
    """
    if class_names is None:
        class_of, class_names = name_classes(
            name for rows in tables.values() for label in rows.labels for name in label
        )
    else:
        class_of = {name: name for name in class_names}
    train = tables["train"]
    known = [label for label in train.labels if label != MISSING]
    counts = Counter(class_of[name] for label in known for name in label)
    general = [f"{rows.source}: no rows left." for rows in tables.values() if not len(rows)]
    general = general or _check_known(train, known, counts) + check_inputs(train)
    if general:
        return class_of, list(class_names), general
    for rows in tables.values():
        for index, label in enumerate(rows.labels):
            for name in label:
                if class_of[name] not in counts:
                    rows.add_problem(index, f"label {quote(name)}: no training row has it")
    return class_of, list(class_names), general


def _check_known(train: Rows, known, counts) -> list[str]:
    if not counts:
        return [f"{train.source}: no labels."]
    if len(counts) > 20 and len(counts) > len(known) / 2:
        return [
            f"{train.source}: the label column has {len(counts):,} different labels in "
            f"{len(known):,} rows, such as {quote(next(iter(counts)))}: too many to learn; name "
            "the right column, or another label_separator."
        ]
    if all(len(label) == 1 for label in known):
        return [
            f"{train.source}: each row has exactly one label, such as {quote(known[0][0])}; name "
            "what stands between labels with label_separator, or take task='single_label'."
        ]
    if all(set(label) == set(known[0]) for label in known):
        return [f"{train.source}: all rows have the same labels; there is nothing to learn."]
    return []


def check_numbers(
    tables: Mapping[str, Rows], *, held_out: Sequence[str], class_names: Sequence[str]
) -> tuple[dict[str, str], list[str], list[str]]:
    """Checks the targets of all tables together.

    Args:
        tables: As for `check_classes`.
        held_out: Not needed.
        class_names: Names of the targets.

    Returns:
        As `check_classes`; the first is empty, since numbers have no names.
    """
    train = tables["train"]
    general = [f"{rows.source}: no rows left." for rows in tables.values() if not len(rows)]
    known = [label for label in train.labels if label != MISSING]
    if general or not known:
        return {}, list(class_names), general or [f"{train.source}: no numbers to learn."]
    general = check_spread(train.source, known, class_names)
    return {}, list(class_names), general + check_inputs(train)


def check_spread(source: str, labels: Sequence, names: Sequence[str]) -> list[str]:
    """Says which targets are the same, or nearly so, in all rows, so that they can't be learned.

    Args:
        source: What people call the rows.
        labels: A tuple of numbers for each row.
        names: Names of the targets.
    """
    return [
        f"{source}: {name} is {values[0]:g} in all rows or nearly so; there is nothing to learn. "
        "Subtract what all have in common, or add rows."
        for name, values in zip(names, np.array(labels, np.float64).T, strict=True)
        if values.std() <= _SMALLEST_SPREAD * np.abs(values).max()
    ]
