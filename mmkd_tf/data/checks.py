"""Finds what is wrong with rows before anything is trained on them."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.data.cells import quote
from mmkd_tf.data.labels import look_like_no_classes, name_classes
from mmkd_tf.data.rows import Rows
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.modality import is_absent

LONGEST_TEXT = 100_000


def check_rows(
    rows: Rows, picture_problems: Mapping[int, str], label_problems: Mapping[int, str]
) -> None:
    """Finds the problems that a row has by itself, and adds them to `rows.problems`.

    Args:
        rows: The rows.
        picture_problems: By index, what is wrong with a row's picture; see `read_pictures`.
        label_problems: By index, what is wrong with a row's label; see `read_labels`.
    """
    for problems in (picture_problems, label_problems):
        for index, reason in problems.items():
            rows.add_problem(index, reason)
    empty = np.ones(len(rows), bool) if rows.pixels is None else is_absent(rows.pixels)
    for index in range(len(rows)):
        text = "" if rows.texts is None else rows.texts[index]
        if len(text) > LONGEST_TEXT:
            rows.add_problem(
                index, f"text: {len(text):,} characters, more than {LONGEST_TEXT:,}; shorten it"
            )
        elif not text.isascii() and text.encode(errors="ignore").decode() != text:
            rows.add_problem(index, f"text {quote(text)}: not valid Unicode")
        elif empty[index] and index not in picture_problems and not split_words(text):
            rows.add_problem(index, _nothing(rows))


def _nothing(rows: Rows) -> str:
    if rows.texts is None:
        return "picture: missing, and there is no other input"
    if rows.pixels is None:
        return "text: no words, and there is no other input"
    return "neither a picture nor a text with words"


def check_classes(
    tables: Mapping[str, Rows], *, held_out: Sequence[str], class_names: Sequence[str] | None
) -> tuple[dict[str, str], list[str], list[str]]:
    """Checks the labels of all tables together, and adds to the problems of their rows.

    Args:
        tables: Rows of `train` and of those other splits that have a table of their own.
        held_out: Names of the splits that are taken out of `train`.
        class_names: The classes if they are known beforehand.

    Returns:
        The class name of each label; the class names in order; what is wrong with the data as a
        whole.
    """
    labels = [label for rows in tables.values() for label in rows.labels]
    if class_names is None:
        class_of, class_names = name_classes(labels)
    else:
        class_of = {name: name for name in class_names}
    train = tables["train"]
    counts = Counter(class_of[label] for label in train.labels if label)
    general = [
        f"{rows.source}: no rows left." for rows in tables.values() if not len(rows)
    ] or _check_train(train, counts)
    if general:
        return class_of, list(class_names), general
    single = {name for name, count in counts.items() if count == 1 and held_out}
    for rows in tables.values():
        for index, label in enumerate(rows.labels):
            if not label:
                continue
            if class_of[label] not in counts:
                rows.add_problem(index, f"label {quote(label)}: no training row has it")
            elif rows is train and class_of[label] in single:
                rows.add_problem(
                    index,
                    f"label {quote(label)}: the only row of its class, which can't be in train "
                    f"and in {' and '.join(held_out)} too; add rows or merge classes",
                )
    return class_of, list(class_names), general


def _check_train(train: Rows, counts: Mapping[str, int]) -> list[str]:
    """Says what is wrong with the training rows as a whole."""
    general = []
    if reason := look_like_no_classes(list(counts), counts.total()):
        general.append(f"{train.source}: the label column has {reason}.")
    if len(counts) < 2:
        classes = f"one class only, {quote(*counts)}" if counts else "no labels"
        general.append(f"{train.source}: {classes}; a classifier needs two or more.")
    return general + check_inputs(train)


def check_inputs(train: Rows) -> list[str]:
    """Says which input all training rows lack."""
    general = []
    if train.pixels is not None and is_absent(train.pixels).all() and not train.problems:
        general.append(
            f"{train.source}: no row has a picture; name the right column, or image=None."
        )
    if train.texts is not None and not any(split_words(text) for text in train.texts):
        general.append(f"{train.source}: no row has a text; name the right column, or text=None.")
    return general
