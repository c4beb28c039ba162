"""Targets: what the label cells of a table mean for each task, and the arrays they become."""

from collections.abc import Sequence

import numpy as np

from mmkd_tf.data.cells import cell_text, quote
from mmkd_tf.data.labels import NUMBER, label_text
from mmkd_tf.data.options import DEFAULT_SEPARATOR, DatasetOptions

MISSING = ""  # a row's label where it has none, or none that can be read

_LARGEST = float(np.finfo(np.float32).max)


def choose_task(cells: Sequence, options: DatasetOptions) -> tuple[str, list[str]]:
    """Gives the task that the options name, or sees it from the label cells.

    A column is of several labels if one cell is a list, or holds two different labels with the
    separator between them. Numbers are never taken for targets unasked: 1 to 5 stars can be
    classes as well.

    Args:
        cells: The label cells of the training rows.
        options: `task` and `label_separator` count.

    Returns:
        One of `mmkd_tf.tasks.TASKS`, and notes for people on how it was found.

    Raises:
        ValueError: If a separator is given that no cell holds.
    """
    if options.task != "auto":
        return options.task, []
    separator = options.label_separator
    several = next((cell for cell in cells if _holds_several(cell, separator)), None)
    if several is not None:
        return "multi_label", [
            f"a label cell holds several, such as {quote(several)}, so an example may have any "
            "number of labels (task multi_label); with task=single_label each cell is one class."
        ]
    if separator != DEFAULT_SEPARATOR:
        raise ValueError(
            "`label_separator`: what stands between the labels of a cell. Received: "
            f"label_separator={separator!r}, which no label cell has. Leave it out if each row "
            "has one label."
        )
    return "single_label", []


def target_names(label, task: str) -> list[str]:
    """Names of the label columns: several only for regression, in a list or between commas.

    Raises:
        ValueError: If a name is empty or comes twice.
    """
    if task == "retrieval":  # the pairs themselves say what belongs together
        return []
    if not isinstance(label, str):
        names = [str(name) for name in label]
    else:
        names = [name.strip() for name in label.split(",")] if task == "regression" else [label]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(f"`label`: names of columns, each once. Received: label={label!r}.")
    return names


def read_labels(
    cells: Sequence, *, task: str, separator: str, names: Sequence[str] = ("label",)
) -> tuple[list, dict[int, str]]:
    """Reads label cells.

    Args:
        cells: Of regression, tuples of a cell for each target; else a cell for each row.
        task: `"single_label"`, `"multi_label"` or `"regression"`.
        separator: What stands between labels. A cell of separators alone says that the example
            has none of the labels, as an empty list does; an empty cell may be an oversight.
        names: What the targets are called, for messages.

    Returns:
        For each row a text, a tuple of texts or a tuple of numbers, by task, `MISSING` where there
        is none; and by index of a row, what is wrong with its label.
    """
    labels, problems = [], {}
    for index, cell in enumerate(cells):
        try:
            if task == "single_label":
                label = _class(cell)
            elif task == "multi_label":
                label = _label_set(cell, separator)
            elif task == "regression":
                label = tuple(map(_number, cell, names))
            else:  # pairs have none
                label = ()
        except ValueError as error:
            label, problems[index] = MISSING, str(error)
        labels.append(label)
    return labels, problems


def label_array(labels: Sequence, *, task: str, class_names: Sequence[str]) -> np.ndarray:
    """Makes the array of labels that are all there and known; `Examples.labels` says how."""
    if task == "retrieval":
        return np.array(labels, np.int32)
    if task == "regression":
        return np.array(labels, np.float32).reshape(len(labels), len(class_names))
    index_of = {name: index for index, name in enumerate(class_names)}
    if task == "single_label":
        return np.array([index_of[label] for label in labels], np.int32)
    array = np.zeros([len(labels), len(class_names)], np.float32)
    for row, names in enumerate(labels):
        array[row, [index_of[name] for name in names]] = 1
    return array


def _holds_several(cell, separator: str) -> bool:
    return _is_list(cell) or (len(_parts(label_text(cell), separator)) > 1)


def _is_list(cell) -> bool:
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def _parts(text: str, separator: str) -> tuple[str, ...]:
    """The different labels of a text, in their order."""
    # Spaces about a separator are for the eye: ", " also divides "red,blue".
    parts = (part.strip() for part in text.split(separator.strip() or separator))
    return tuple(dict.fromkeys(part for part in parts if part))


def _class(cell) -> str:
    if _is_list(cell):
        raise ValueError(f"label {quote(cell)}: a list; one class, or task='multi_label'")
    if not (text := label_text(cell)):
        raise ValueError("label: missing")
    return _one_line(text)


def _label_set(cell, separator: str) -> tuple[str, ...]:
    if _is_list(cell):
        parts = tuple(dict.fromkeys(map(cell_text, cell)))
        if "" in parts:
            raise ValueError(f"label {quote(cell)}: one of the list is missing")
    else:
        text = label_text(cell)
        if not text:
            raise ValueError(f"label: missing; write {separator!r} for none of the labels")
        parts = _parts(text, separator)
    return tuple(map(_one_line, parts))


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError(f"label {quote(text)}: holds a line break; is a quotation mark unclosed?")
    return text


def _number(cell, name: str) -> float:
    if not (text := label_text(cell)):
        raise ValueError(f"{name}: missing")
    if not NUMBER.fullmatch(text):
        raise ValueError(
            f"{name} {quote(text)}: not a number; write it with a decimal point, and without a "
            "unit or a separator of thousands"
        )
    if abs(value := float(text)) > _LARGEST:
        raise ValueError(f"{name} {quote(text)}: too large for float32; take its logarithm")
    return value
