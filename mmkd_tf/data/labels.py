"""Reads the cells of a label column as classes."""

import re
from collections.abc import Iterable

from mmkd_tf.data.cells import cell_text

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def label_text(cell) -> str:
    """Gives a label cell as text; empty if there is none, which the word "nan" says too."""
    text = cell_text(cell)
    return "" if text.lower() == "nan" else text


def name_classes(labels: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Finds the classes of a label column.

    Args:
        labels: Labels as `label_text` gives them; empty ones don't count.

    Returns:
        The class name of each label, and the class names in order. If all labels are numbers, 3
        and 3.0 are the same class and the order is theirs; otherwise the order is alphabetical.
    """
    distinct = set(labels) - {""}
    if not all(NUMBER.fullmatch(label) for label in distinct):
        return {label: label for label in distinct}, sorted(distinct)
    numbers = {label: _number(label) for label in distinct}
    order = [str(number) for number in sorted(set(numbers.values()))]
    return {label: str(number) for label, number in numbers.items()}, order


def look_like_no_classes(class_names: list[str], num_rows: int) -> str:
    """Says why a column can't hold classes; empty if it can.

    Args:
        class_names: The different labels.
        num_rows: Number of rows that they come from.
    """
    if len(class_names) <= 20:
        return ""
    found = f"{len(class_names):,} different values in {num_rows:,} rows"
    fractions = all(NUMBER.fullmatch(name) for name in class_names) and any(
        isinstance(_number(name), float) for name in class_names
    )
    if fractions and len(class_names) > num_rows / 10:
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
