"""Pairs: pictures and texts that belong together, for a task that finds one by the other."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.data.rows import Rows
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.modality import is_absent


def complete_pairs(tables: Mapping[str, Rows]) -> tuple[dict[str, Rows], list[str]]:
    """Leaves out the rows that lack their picture or a text with a word: they show no pair.

    Args:
        tables: Rows by split. Those with a problem stay, so that it is told.

    Returns:
        The rows that remain, with their problems, and notes for people on the others.
    """
    complete, notes = dict(tables), []
    for split, rows in tables.items():
        if rows.pixels is None or rows.texts is None:
            continue  # `check_pairs` says so
        lacks = is_absent(rows.pixels) | ~np.array([any(split_words(t)) for t in rows.texts], bool)
        kept = [i for i in range(len(rows)) if not lacks[i] or i in rows.problems]
        if left_out := len(rows) - len(kept):
            complete[split] = rows.select(kept)
            complete[split].problems = {
                place: rows.problems[index]
                for place, index in enumerate(kept)
                if index in rows.problems
            }
            count = "1 row" if left_out == 1 else f"{left_out:,} rows"
            notes.append(f"{count} of {rows.source} without both picture and words left out.")
    return complete, notes


def check_pairs(
    tables: Mapping[str, Rows], *, held_out: Sequence[str], class_names: Sequence[str] | None
) -> tuple[dict[str, str], list[str], list[str]]:
    """Checks that there are pairs to learn from.

    Args:
        tables: As for `check_classes`.
        held_out: Not needed.
        class_names: Not needed.

    Returns:
        As `check_classes`; there are no classes.
    """
    train = tables["train"]
    if train.pixels is None or train.texts is None:
        missing = "pictures" if train.pixels is None else "texts"
        return {}, [], [f"{train.source}: no {missing}; a pair is of a picture and a text."]
    general = [f"{rows.source}: no rows left." for rows in tables.values() if not len(rows)]
    if not general and len(set(train.texts)) < 2:
        general = [f"{train.source}: one text only; there is nothing to tell apart."]
    return {}, [], general


def number_items(tables: Mapping[str, Rows]) -> None:
    """Makes the number of its item each row's label.

    Rows with the same words in the same order, or with the same picture, are of one item, directly
    or through others: each of its texts is a right answer for each of its pictures.
    """
    keys = [
        (picture, " ".join(split_words(text)))
        for rows in tables.values()
        for picture, text in zip(map(bytes, rows.pixels), rows.texts, strict=True)
    ]
    parents: dict = {}

    def root(node):
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for picture, text in keys:
        parents[root(("picture", picture))] = root(("text", text))
    numbers: dict = {}
    items = [numbers.setdefault(root(("text", text)), len(numbers)) for _, text in keys]
    for rows in tables.values():
        rows.labels, items = items[: len(rows)], items[len(rows) :]
