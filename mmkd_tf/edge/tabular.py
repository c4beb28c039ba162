"""Reads rows of a table's cells, numbers, categories and dates, as the numbers that models take."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from mmkd_tf.files.tables import quote

COLUMNS_FILE = "columns.json"
# What people and pandas write into cells of numbers and dates that are left open.
NO_VALUE = ("", "na", "<na>", "n/a", "nan", "nat", "none", "null", "?", "-")

_LARGEST = 1e38  # of float32, so that differences are finite too
_FIRST_YEAR = 1900  # dates before are mistakes of programs more often than meant


def read_cell(kind: str, cell) -> float | str | datetime | None:
    """Reads a cell of a column, `numeric`, `categorical` or `date`.

    Gives a finite number; the name of a category, 3.0 being that of 3; a date of Python, NumPy or
    pandas, or its text in ISO 8601, in UTC without a time zone; None of a missing cell. A
    ValueError says why it can't be read.
    """
    if isinstance(cell, bytes):
        try:
            cell = cell.decode()
        except UnicodeDecodeError:
            raise ValueError("a text in UTF-8. It holds other bytes") from None
    if hasattr(cell, "__len__") and not isinstance(cell, str):
        raise ValueError(f"one value. It holds a {type(cell).__name__}; give each its column")
    text = str(cell).strip()
    is_name = kind == "categorical" and isinstance(cell, str)  # which may be "None"
    if not text or (text.lower() in NO_VALUE and not is_name):
        return None
    if kind == "categorical":
        whole = text.removesuffix(".0")
        return whole if whole.removeprefix("-").isdigit() else text
    if kind == "numeric":
        try:
            # Python's own underscores are no part of a number elsewhere.
            plain = "" if "_" in text else text
            number = float({"true": "1", "false": "0"}.get(text.lower(), plain))
        except ValueError:
            raise ValueError("no number such as 1234.5, with a point and no comma") from None
        if not abs(number) <= _LARGEST:
            raise ValueError("an infinite number, or one above 1e38; leave the cell empty")
        return number
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise ValueError("no date such as 2023-01-31 or 2023-01-31 14:30") from None
    if moment.year < _FIRST_YEAR:
        raise ValueError(f"a date before {_FIRST_YEAR}; leave the cell empty")
    return moment


def days(moment: datetime) -> float:
    """Days since 1970-01-01, with the time of day as a fraction."""
    return (moment - datetime(1970, 1, 1)) / timedelta(days=1)


def read_row(columns: Iterable[Mapping], cells: Iterable) -> tuple[tuple, list[str]]:
    """Reads a cell of each column, a dict with `name` and `kind`; gives problems besides."""
    values, problems = [], []
    for column, cell in zip(columns, cells, strict=True):
        value = None
        try:
            value = read_cell(column["kind"], cell)
        except ValueError as error:
            problems.append(f"column '{column['name']}' {quote(cell)}, {error}")
        values.append(value)
    return tuple(values), problems


class TabularReader:
    """Reads rows of cells for one input of a model, see `mmkd_tf.edge.examples.Reader`.

    The model takes float32 `[1 + 2 * columns]`: a one; of each column its number, a date's days
    since 1970-01-01, or the place of its category among those in `columns.json`, from 1; then of
    each a one if the cell is there. Zeros stand for what is missing or not among the categories.
    """

    items = "rows of cells"
    absent = "A row none of whose cells is filled counts as absent."

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        description: Mapping,
        files: Mapping[str, str],
    ):
        if COLUMNS_FILE not in files:
            raise ValueError(f"rows of cells need the text {COLUMNS_FILE}")
        self._name, self._columns = name, json.loads(files[COLUMNS_FILE])
        self._names = [column["name"] for column in self._columns]
        if shape != (1 + 2 * len(self._names),) or dtype != np.float32:
            raise ValueError(f"rows of {len(self._names)} cells are float32 [batch, 1 + 2 * cells]")
        self._ids = [
            {category: place for place, category in enumerate(column.get("categories", ()), 1)}
            for column in self._columns
        ]
        self.trial = np.ones(shape, np.float32)
        self.trial[1 : 1 + len(self._ids)] = [len(ids) for ids in self._ids]

    def __call__(self, value) -> np.ndarray:
        """Gives the numbers of a row.

        Args:
            value: A dict by name of a column, a list in the order of the columns, or a text,
                `price=3,colour=red`; of one column its cell alone.
        """
        values, wrong = read_row(self._columns, self._cells(value))
        if wrong:
            raise ValueError(f"`{self._name}`: cells as in training. Received: {'; '.join(wrong)}.")
        row = np.zeros_like(self.trial)
        for at, one in enumerate(values):
            if one is not None:
                number = days(one) if isinstance(one, datetime) else one
                number = self._ids[at].get(one, 0) if isinstance(one, str) else number
                row[[0, 1 + at, 1 + len(values) + at]] = 1, number, 1
        return row

    def words(self, value) -> list[tuple[str, bool]]:
        """Gives the categories of a row, each with whether the model knows it."""
        values = zip(read_row(self._columns, self._cells(value))[0], self._ids, strict=True)
        return [(one, one in ids) for one, ids in values if isinstance(one, str)]

    def _cells(self, value) -> Sequence:
        """Cells in the order of the columns, None where one is missing."""
        names, named = self._names, ",".join(f"{name}=..." for name in self._names)
        wanted = (
            f"`{self._name}`: cells of {', '.join(names)}, as a dict, as a list in this order, or "
            f"as a text '{named}'. Received: "
        )
        if isinstance(value, str) and (len(names) > 1 or value.startswith(f"{names[0]}=")):
            line = " ".join(value.splitlines())
            pairs = [one.partition("=") for one in next(csv.reader([line], skipinitialspace=True))]
            if not all(sign for _, sign, _ in pairs):
                raise ValueError(f"{wanted}{quote(value)}.")
            value = {name.strip(): cell for name, _, cell in pairs}
        if isinstance(value, Mapping):
            if unknown := [str(name) for name in value if name not in names]:
                raise ValueError(f"{wanted}{', '.join(unknown)}.")
            return [value.get(name) for name in names]
        if not isinstance(value, (list, tuple, np.ndarray)):
            if len(names) > 1:
                raise TypeError(f"{wanted}{type(value).__name__}.")
            value = [value]
        if len(value) != len(names):
            raise ValueError(f"{wanted}{len(value)} cells.")
        return list(value)
