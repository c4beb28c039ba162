"""Reads rows of a table's cells, numbers, categories and dates, as the numbers that models take."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches

import numpy as np

COLUMNS_FILE = "columns.json"
NUMERIC, CATEGORICAL, DATE = KINDS_OF_COLUMNS = "numeric", "categorical", "date"
FIRST_YEAR = 1900
# What people write into cells of numbers and dates that they leave open.
NO_VALUE = ("", "na", "n/a", "nan", "nat", "none", "null", "?", "-")

_LARGEST = 1e38  # of float32, so that differences are finite too
_COMMAS = re.compile(r"[-+]?\d+(,\d+)+(\.\d+)?")
_WHOLE = re.compile(r"(-?\d+)\.0")
_TIME = r"(?:[T ]+(\d\d?:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[-+]\d\d:?\d\d)?)?"
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)" + _TIME)
_YEAR_LAST = re.compile(r"(\d\d?)([./-])(\d\d?)\2(\d{4})" + _TIME)
_EPOCH = datetime(1970, 1, 1)
_QUOTED = 40  # characters


def is_missing(cell) -> bool:
    """Whether a cell is None, empty, NaN or another of pandas' signs for a missing value."""
    if isinstance(cell, str):
        return not cell.strip()
    return (
        cell is None
        or type(cell).__name__ in ("NAType", "NaTType")
        or cell is np.ma.masked
        or (isinstance(cell, (float, np.floating)) and bool(np.isnan(cell)))
    )


def read_number(cell) -> float | None:
    """Reads a cell as a finite number; None where it is missing. A ValueError says why it can't."""
    if is_missing(cell):
        return None
    if isinstance(cell, (bool, np.bool_, int, float, np.integer, np.floating)):
        number = float(cell)
    else:
        text = _text(cell)
        if text.lower() in NO_VALUE:
            return None
        try:
            number = float(text)
        except ValueError:
            raise ValueError(_no_number(text)) from None
    if not abs(number) <= _LARGEST:
        raise ValueError("an infinite number, or one above 1e38; leave the cell empty")
    return number


def _no_number(text: str) -> str:
    if _COMMAS.fullmatch(text):
        return "a number with a comma; write 1234.5, with a point before decimals and no other sign"
    return "no number"


def is_like_number(cell) -> bool:
    """Whether a cell is a number, or is meant as one and written in another way."""
    try:
        return not isinstance(cell, (bool, np.bool_)) and read_number(cell) is not None
    except ValueError as error:
        return "number with a comma" in str(error) or "infinite" in str(error)


def read_date(cell, *, day_first: bool | None = None, first_year: int = FIRST_YEAR) -> float | None:
    """Reads a cell as days since 1970-01-01, with the time of day as a fraction.

    Args:
        cell: A date or datetime (of another time zone, turned into UTC), or a text: `2023-01-31`,
            `2023/1/31`, `20230131` or `31.1.2023`, with a time behind it or none.
        day_first: What `3/4/2023` is: the third of April, or the fourth of March; None refuses it.
        first_year: The first year that is no mistake.

    Returns:
        None where the cell is missing.

    Raises:
        ValueError: With the reason why it is no date.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, np.datetime64):
        if np.isnat(cell):
            return None
        cell = cell.astype("datetime64[us]").item()
    if isinstance(cell, datetime):
        moment = cell
    elif isinstance(cell, date):
        moment = datetime(cell.year, cell.month, cell.day)
    else:
        text = _text(cell)
        if text.lower() in NO_VALUE:
            return None
        moment = _moment(text, day_first)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if moment.year < first_year:
        raise ValueError(f"a date before {first_year}; where that is meant, set `first_year`")
    return (moment - _EPOCH) / timedelta(days=1)


def _moment(text: str, day_first: bool | None) -> datetime:
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, time, zone = found.groups()
    elif found := _YEAR_LAST.fullmatch(text):
        day, sign, month, year, time, zone = found.groups()
        if sign != "." and day_first is None:
            raise ValueError(
                "a date whose day and month can't be told apart; write 2023-01-31, or set "
                "`day_first` to true or false"
            )
        if sign != "." and not day_first:
            day, month = month, day
    else:
        raise ValueError("no date; write 2023-01-31, or 2023-01-31 14:30")
    zone = (zone or "").replace("Z", "+00:00")
    clock = f"T{(time or '0:00').zfill(5)}" if not time or time.index(":") == 2 else f"T0{time}"
    try:
        return datetime.fromisoformat(f"{year}-{int(month):02}-{int(day):02}{clock}{zone}")
    except ValueError as error:
        raise ValueError(f"an impossible date ({error})") from None


def is_like_date(cell) -> bool:
    """Whether a cell is a date, or is meant as one and is impossible or out of range."""
    if isinstance(cell, (date, np.datetime64)):
        return True
    return isinstance(cell, str) and any(
        form.fullmatch(cell.strip()) and not cell.strip().isdigit()
        for form in (_YEAR_FIRST, _YEAR_LAST)
    )


def read_category(cell) -> str | None:
    """Reads a cell as a category's name, 3.0 being that of 3; None where it is missing."""
    if is_missing(cell):
        return None
    text = _text(cell if not isinstance(cell, (np.bool_, np.generic)) else cell.item())
    return _WHOLE.sub(r"\1", text) if _WHOLE.fullmatch(text) else text


def _text(cell) -> str:
    """A cell as text; a ValueError if it holds several values."""
    if isinstance(cell, bytes):
        return cell.decode(errors="replace").strip()
    if not isinstance(cell, str) and (isinstance(cell, Mapping) or hasattr(cell, "__len__")):
        raise ValueError(f"one value. It holds a {type(cell).__name__}; give each its column")
    return str(cell).strip()


def quoted(cell) -> str:
    """A cell in a message."""
    text = str(cell)
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 3] + "...")


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
        self._columns = json.loads(files[COLUMNS_FILE])
        self._names = [column["name"] for column in self._columns]
        if shape != (1 + 2 * len(self._names),) or dtype != np.float32:
            raise ValueError(f"rows of {len(self._names)} cells are float32 [batch, 1 + 2 * cells]")
        self._name = name
        self._ids = [
            {category: place for place, category in enumerate(column.get("categories", ()), 1)}
            for column in self._columns
        ]
        self.trial = np.ones(shape, np.float32)
        self.trial[1 : 1 + len(self._ids)] = [len(ids) for ids in self._ids]

    def __call__(self, value) -> np.ndarray:
        """Gives the numbers of a row.

        Args:
            value: A dict by name of a column, a sequence in the order of the columns, or a text: a
                JSON object or list, or `price=3,colour=red`; of one column its cell alone.
        """
        read = [
            self._read(column, ids, cell)
            for column, ids, cell in zip(self._columns, self._ids, self._cells(value), strict=True)
        ]
        wrong = [one for one in read if isinstance(one, str)]
        if wrong:
            raise ValueError(f"`{self._name}`: cells as in training. Received: {'; '.join(wrong)}.")
        row = np.zeros_like(self.trial)
        there = [one is not None for one in read]
        row[1:] = [*(one or 0 for one in read), *there]
        row[0] = any(there)
        return row

    def words(self, value) -> list[tuple[str, bool]]:
        """Gives the categories of a row, each with whether the model knows it."""
        found = zip(self._columns, self._ids, self._cells(value), strict=True)
        named = [(read_category(c), ids) for of, ids, c in found if of["kind"] == CATEGORICAL]
        return [(one, one in ids) for one, ids in named if one is not None]

    def _read(self, column: Mapping, ids: Mapping, cell) -> float | str | None:
        """The number of a cell; a text says what is wrong with it."""
        try:
            if column["kind"] == CATEGORICAL:
                category = read_category(cell)
                return None if category is None else ids.get(category, 0)
            if column["kind"] == DATE:
                more = {key: column[key] for key in ("day_first", "first_year") if key in column}
                return read_date(cell, **more)
            return read_number(cell)
        except ValueError as error:
            return f"column '{column['name']}' {quoted(cell)}, {error}"

    def _cells(self, value) -> list:
        """Cells in the order of the columns, None where one is missing."""
        if isinstance(value, str):
            value = self._parsed(value)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, Mapping):
            if unknown := [str(key) for key in value if key not in self._names]:
                near = get_close_matches(unknown[0], self._names, n=1)
                meant = f" Did you mean '{near[0]}'?" if near else ""
                raise ValueError(
                    f"`{self._name}`: cells of the columns {', '.join(self._names)}. Received: "
                    f"{', '.join(unknown)}.{meant}"
                )
            return [value.get(name) for name in self._names]
        if len(self._names) == 1 and not isinstance(value, (list, tuple)):
            return [value]
        if not isinstance(value, Sequence) or isinstance(value, bytes):
            raise TypeError(
                f"`{self._name}`: a dict of {', '.join(self._names)}, a list in this order, or a "
                f"text such as '{self._names[0]}=...'. Received: {type(value).__name__}."
            )
        if len(value) != len(self._names):
            raise ValueError(
                f"`{self._name}`: {len(self._names)} cells, of {', '.join(self._names)}. "
                f"Received: {len(value)}."
            )
        return list(value)

    def _parsed(self, text: str):
        """What a text holds: a dict or a list of cells, or the text itself as the only cell."""
        if not text.strip():
            return {}
        if text.lstrip()[0] in "{[":
            try:
                return json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"`{self._name}`: a JSON object of cells by column. Received: {quoted(text)} "
                    f"({error})."
                ) from None
        pairs = [pair.partition("=") for pair in next(csv.reader([text], skipinitialspace=True))]
        if all(sign for _, sign, _ in pairs):
            return {name.strip(): cell for name, _, cell in pairs}
        if len(self._names) == 1:
            return [text]
        raise ValueError(
            f"`{self._name}`: cells by column, such as {self._names[0]}=...,{self._names[-1]}=... "
            f"Received: {quoted(text)}."
        )
