"""Label cells of a table: as text, as names of classes, and what all tasks check about rows."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from mmkd_tf.modalities.cells import cell_text, quote
from mmkd_tf.tasks.task import MISSING

DEFAULT_SEPARATOR = "|"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def label_text(cell) -> str:
    """Gives a label cell as text; empty if there is none, which the word "nan" says too."""
    text = cell_text(cell)
    return "" if text.lower() == "nan" else text


def is_list(cell) -> bool:
    """Whether a cell is a list of labels."""
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def split_labels(text: str, separator: str) -> tuple[str, ...]:
    """The different labels of a text, in their order."""
    # Spaces about a separator are for the eye: ", " also divides "red,blue".
    parts = (part.strip() for part in text.split(separator.strip() or separator))
    return tuple(dict.fromkeys(part for part in parts if part))


def holds_several(cell, separator: str) -> bool:
    """Whether a cell is a list, or holds two different labels with the separator between them."""
    return is_list(cell) or len(split_labels(label_text(cell), separator)) > 1


def one_line(text: str) -> str:
    """Gives a label back; refuses what files of names could not hold, such as line breaks."""
    if not is_name(text):
        raise ValueError(
            f"label {quote(text)}: holds a line break or another sign that a list of names can't; "
            "is a quotation mark unclosed?"
        )
    return text


def is_name(text) -> bool:
    """Whether a file of names, one a line, can hold a text: of one line in any reader's eyes.

    Some readers take vertical tabs, U+0085 and U+2028 for line breaks, others U+0000 for the end;
    halves of surrogate pairs have no UTF-8.
    """
    if not isinstance(text, str) or text.splitlines() != [text] or "\0" in text:
        return False
    return text.encode(errors="ignore").decode() == text


def unfit_names(names: Sequence[str]) -> list[str]:
    """Says which names of outputs the files of a run and of a phone can't hold."""
    wrong = [name for name in names if not is_name(name)]
    if wrong or len(set(names)) != len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        shown = ", ".join(map(quote, (wrong + twice)[:20]))
        return [
            "`class_names`: distinct texts of one line each, without U+0000, as labels.txt holds "
            f"one a line. Received: {shown}. Rename them in the data."
        ]
    return []


def read_each(cells: Sequence[tuple], read: Callable) -> tuple[list, dict[int, str]]:
    """`Task.read_labels` by a function of a row's cells, whose ValueErrors are the problems."""
    labels, problems = [], {}
    for index, row in enumerate(cells):
        try:
            label = read(*row)
        except ValueError as error:
            label, problems[index] = MISSING, str(error)
        labels.append(label)
    return labels, problems


def name_classes(
    labels: Iterable[str], names: Sequence[str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """The class name of each label that isn't empty, and the class names in order.

    If all labels are numbers, 3 and 3.0 are the same class and the order is theirs; otherwise the
    order is alphabetical. Names that are known beforehand stay as they are.
    """
    if names is not None:
        return {name: name for name in names}, list(names)
    distinct = set(labels) - {""}
    if not all(NUMBER.fullmatch(label) for label in distinct):
        return {label: label for label in distinct}, sorted(distinct)
    numbers = {label: _number(label) for label in distinct}
    order = [str(number) for number in sorted(set(numbers.values()))]
    return {label: str(number) for label, number in numbers.items()}, order


def look_like_no_classes(class_names: list[str], num_rows: int) -> str:
    """Says why a column of so many rows and classes can't hold classes; empty if it can."""
    if len(class_names) <= 20:
        return ""
    found = f"{len(class_names):,} different values in {num_rows:,} rows"
    numbers = all(NUMBER.fullmatch(name) for name in class_names)
    fractions = numbers and any(isinstance(_number(name), float) for name in class_names)
    if numbers and len(class_names) > num_rows / (10 if fractions else 2):
        return (
            f"{found}, such as {class_names[0]}: measurements, not classes; learn them as numbers "
            "with task='regression' (on the command line --task regression), or sort them into a "
            "few classes"
        )
    if len(class_names) > num_rows / 2:
        return f"{found}, such as '{class_names[0]}': too many for classes; name the right column"
    return ""


def _number(text: str) -> int | float:
    number = float(text)
    return (
        int(text) if text.lstrip("+-").isdigit() else int(number) if number.is_integer() else number
    )


def check_rows_left(tables: Mapping) -> list[str]:
    """Says which tables have no rows."""
    return [f"{rows.source}: no rows left." for rows in tables.values() if not len(rows)]


def check_inputs(train) -> list[str]:
    """Says which input all training rows lack, unless problems with its cells say more."""
    reasons = [reason for of_row in train.problems.values() for reason in of_row]
    return [
        f"{train.source}: no row has {kind.missing()}; name the right column, or leave out the "
        f"input '{name}'."
        for name, kind in train.kinds.items()
        if kind.absent(train.inputs[name]).all()
        and not any(reason.startswith(kind.noun) for reason in reasons)
    ]
