"""Reads a series of a sensor, however it is stored, as the float32 array that models take."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from mmkd_tf.table_files import DELIMITERS, quote, read_header, read_table

MAX_STEPS = 2_000_000  # of one series as it is stored
# A step is known if a measured one is nearer than this share of the usual distance of two.
_NEAR = 0.9


class SeriesReader:
    """Reads series for one input of a model, see `mmkd_tf.edge.examples.Reader`."""

    items = "paths of series"
    reads_files = True
    absent = "A series that holds no number counts as absent."

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        description: Mapping,
        files: Mapping[str, str],
    ):
        if len(shape) != 2 or shape[1] < 2 or dtype.name != "float32":
            raise ValueError("series are float32 [batch, steps, channels + 1]")
        self._name, self._length, self._width = name, shape[0], shape[1]
        names, self._time = description.get("channels"), description.get("time")
        self._channels = names if isinstance(names, list) else None
        self._table, self._tables = description.get("table"), dict[Path, LongTable]()
        self.trial = np.ones(shape, np.float32)

    def __call__(self, value) -> np.ndarray:
        """Gives float32 `[length, channels + 1]` of what `read_series` takes.

        Of a model whose training read a long table, a path may end with an id of that table, which
        lies in the folder in front of it.
        """
        try:
            series = self._read(value)
        except (ValueError, TypeError, OSError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            what = f" {quote(value)}" if isinstance(value, (str, os.PathLike)) else ""
            raise kind(
                f"`{self._name}`: a series. Received:{what} {type(value).__name__}: {error}."
            ) from error
        if series.any() and series.shape[1] != self._width:
            raise ValueError(
                f"`{self._name}`: a series of {self._width - 1} channels, steps x channels. "
                f"Received: {len(series):,} x {series.shape[1] - 1}."
            )
        return resized(series, self._length) if series.any() else np.zeros_like(self.trial)

    def _read(self, value) -> np.ndarray:
        is_id = isinstance(value, (str, os.PathLike)) and not is_json(Path(value).name)
        if self._table and is_id and not Path(value).is_file():
            path = Path(value).parent / self._table["file"]
            if path not in self._tables:
                self._tables[path] = LongTable(
                    path, self._table["id"], channels=self._channels, time=self._time
                )
            return self._tables[path].series(Path(value).name)
        return read_series(value, channels=self._channels, time=self._time)


def is_json(text: str) -> bool:
    """Whether a text holds lists of numbers rather than a path."""
    return text.strip().startswith("[") and text.strip().endswith("]")


def read_series(
    source, *, channels: Sequence[str] | None = None, time: str | None = None
) -> np.ndarray:
    """Reads a series as it is stored: evenly spaced steps, each marked as known or not.

    Args:
        source: An array or nested lists `[steps, channels]` or, of one channel, `[steps]`, None or
            NaN where nothing was measured; a dict of columns by name; the path or the bytes of a
            `.npy` file; the path of a CSV file with a column for each channel; or such lists as
            JSON text.
        channels: Names of the columns to take, in order; by default all but `time`.
        time: Name of the column of times, numbers or ISO dates, of a dict or a file; the steps
            lie evenly without one.

    Returns:
        float32 `[steps, channels + 1]`. The last channel is 1 where a step is known, elsewhere all
        of it is 0; all zeros is a series without a number. What one channel lacks of a known step
        lies on a line between its neighbours.

    Raises:
        ValueError: If it can't be read, has no steps, an infinite number, a channel without any
            number beside others that have some, or times that go back.
        TypeError: If `source` is none of the above.
    """
    if isinstance(source, (str, os.PathLike)):
        if not is_json(name := Path(source).name):
            return _from_file(Path(source), channels, time)
        source = name.encode()
    if isinstance(source, Mapping):
        return _from_columns(source, channels, time)
    if isinstance(source, bytes):
        is_npy = source.startswith(b"\x93NUMPY")
        try:
            source = np.load(io.BytesIO(source)) if is_npy else json.loads(source)
        except (ValueError, EOFError) as error:
            raise ValueError(f"neither a .npy file nor lists as JSON ({error})") from None
    if not np.ndim(values := _numbers(source)):
        raise TypeError("one number, where a series is `[steps, channels]`")
    values = values[:, np.newaxis] if values.ndim == 1 else values
    if values.ndim > 2:
        raise ValueError(f"its shape is {list(values.shape)}, not [steps, channels]")
    if channels is not None and values.size and values.shape[1] != len(channels):
        raise ValueError(f"{values.shape[1]} channels, not the {len(channels)} of `channels`")
    return _regular(values)


def _from_file(path: Path, channels, time) -> np.ndarray:
    if not path.is_file():
        raise ValueError("it is not a file" if path.exists() else "there is no such file")
    if path.suffix.lower() == ".npy":
        return read_series(path.read_bytes(), channels=channels)
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ValueError("its name ends with none of .npy, .csv, .tsv")
    header = read_header(path)
    if header and all(map(_is_number, header)):
        delimiter = max(DELIMITERS, key=path.read_text().splitlines()[0].count)
        return read_series(np.genfromtxt(path, delimiter=delimiter), channels=channels)
    return _from_columns(_columns(path, header or [time or "time"]), channels, time)


def _columns(path: Path, names: Sequence[str]) -> dict[str, list]:
    table = read_table(path, names)
    for row, reason in table.broken.items():
        raise ValueError(f"{path.name}, row {table.numbers[row]}: {reason}")
    return table.columns


def _from_columns(columns: Mapping[str, Sequence], channels, time: str | None) -> np.ndarray:
    names = [name for name in columns if name != time] if channels is None else channels
    if missing := {*names, *([time] if time else [])} - set(columns):
        raise ValueError(f"no column {', '.join(missing)} among {', '.join(columns)}")
    values = {name: _numbers(columns[name], f" in {quote(name)}") for name in names}
    if len(sizes := {len(one) for one in values.values()}) > 1:
        raise ValueError(f"columns of {' and '.join(map(str, sizes))} steps")
    times = _times(columns[time]) if time else None
    return _regular(np.stack(list(values.values()), axis=1), times)


class LongTable:
    """Series that lie one below the other in a table, with an id in each row.

    Args:
        path: A CSV or Parquet file or a NumPy archive.
        identifier: Its column of ids.
        channels: Its columns of numbers; by default all but the id and the time.
        time: Its column of times, if any; rows of one id must be in their order.

    Raises:
        TableError: A `ValueError`, if the table can't be read or lacks a column.
    """

    def __init__(
        self, path: Path, identifier: str, *, channels: Sequence[str] | None, time: str | None
    ):
        self.file, self.time = path.name, time
        of_rows = [identifier, *([time] if time else [])]
        if channels is None:
            channels = [one for one in read_header(path) or [] if one not in of_rows]
        self.channels = list(channels)
        self.columns = _columns(path, [*of_rows, *channels])
        self.rows: dict[str, list[int]] = {}
        for row, cell in enumerate(self.columns.pop(identifier)):
            self.rows.setdefault(id_text(cell), []).append(row)

    def series(self, identifier: str) -> np.ndarray:
        """The series of an id, as `read_series` gives it."""
        if identifier not in self.rows:
            close = get_close_matches(identifier, self.rows, n=1)
            hint = f"; did you mean {quote(close[0])}?" if close else ""
            raise ValueError(f"id {quote(identifier)}: no rows with it in {self.file}{hint}")
        rows = self.rows[identifier]
        found = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        try:
            return _from_columns(found, self.channels, self.time)
        except ValueError as error:
            raise ValueError(f"id {quote(identifier)}: {error}") from None


def id_text(cell) -> str:
    """An id as text: 7.0, as a column with gaps has it, is 7."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()


def resized(series: np.ndarray, length: int) -> np.ndarray:
    """Gives a series in another number of steps, float32 `[length, channels + 1]`.

    Fewer steps are means of what they cover, more lie on lines; unknown steps count for nothing,
    and one that is half unknown is unknown, unless none would be left.
    """
    steps, known = len(series), series[:, -1]
    if steps == length:
        return series
    if not known.any():
        return np.zeros([length, series.shape[1]], np.float32)
    values = np.concatenate([series[:, :-1] * known[:, np.newaxis], known[:, np.newaxis]], axis=1)
    if steps < length:
        places = np.linspace(0, steps - 1, length)
        columns = [np.interp(places, np.arange(steps), one) for one in values.T]
    else:
        edges = np.linspace(0, steps, length + 1)
        sums = np.cumsum(values, axis=0, dtype=np.float64)
        columns = [np.diff(np.interp(edges, np.arange(steps + 1), [0, *one])) for one in sums.T]
    made = np.stack(columns, axis=1)
    share = made[:, -1] / max(steps / length, 1)
    there = share >= min(0.5, share.max())
    made[there, :-1] /= made[there, -1:]
    made[:, -1] = 1
    return np.where(there[:, np.newaxis], made, 0).astype(np.float32)


def _regular(values: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Checks a series `[steps, channels]`, NaN where nothing is known, and spaces it evenly."""
    steps, num_channels = values.shape
    if not steps or not num_channels:
        raise ValueError("it has no steps" if not steps else "it has no channels")
    if steps > MAX_STEPS:
        raise ValueError(f"{steps:,} steps, more than {MAX_STEPS:,}; cut it into windows")
    known = ~np.isnan(values)
    with np.errstate(over="ignore"):
        wrong = np.argwhere(np.isinf(values.astype(np.float32)))
    if len(wrong):
        step, channel = wrong[0]
        raise ValueError(f"an infinite number at step {step}, channel {channel} (from 0)")
    if not known.any():
        return np.zeros([steps, num_channels + 1], np.float32)
    if not known.any(axis=0).all():
        empty = int(np.argmin(known.any(axis=0)))
        raise ValueError(
            f"no number in its channel {empty} (from 0); make channels that may be missing an "
            "input of their own"
        )
    places = np.arange(steps, dtype=np.float64) if times is None else times
    if not np.isfinite(places).all():
        raise ValueError(f"no time at step {int(np.argmin(np.isfinite(places)))} (from 0)")
    if (np.diff(places) < 0).any():
        step = int(np.argmax(np.diff(places) < 0))
        raise ValueError(
            f"its time goes back after step {step} (from 0), from {places[step]:g} to "
            f"{places[step + 1]:g}; sort its rows, or give each window an id"
        )
    even = np.linspace(places[0], places[-1], steps)
    if steps > 1 and even[0] == even[-1]:
        raise ValueError("all of its steps are of one time")
    columns = [np.interp(even, places[k], one[k]) for one, k in zip(values.T, known.T, strict=True)]
    measured = places[known.any(axis=1)]
    after = np.minimum(np.searchsorted(measured, even), len(measured) - 1)
    distances = [np.abs(even - measured[at]) for at in (after, np.maximum(after - 1, 0))]
    near = np.minimum(*distances) <= _NEAR * (even[-1] - even[0]) / max(steps - 1, 1)
    if not near.any():
        near[np.argmin(np.minimum(*distances))] = True
    made = np.stack([*columns, near], axis=1)
    return np.where(near[:, np.newaxis], made, 0).astype(np.float32)


def _numbers(cells, place: str = "") -> np.ndarray:
    """Numbers of lists of any depth, or of texts; NaN where there is none."""
    try:
        return np.asarray(cells, np.float64)
    except (ValueError, TypeError):
        pass  # empty texts, arrays within arrays, or no numbers
    if isinstance(cells, str) or not hasattr(cells, "__len__"):
        if not _is_number(cells):
            raise ValueError(f"{quote(cells)}{place} is no number")
        return np.asarray(float("nan"))
    rows = [_numbers(cell, place) for cell in cells]
    if len(sizes := {np.size(row) for row in rows}) > 1:
        raise ValueError(f"its steps have {' and '.join(map(str, sorted(sizes)))} numbers")
    return np.stack(rows)


def _times(cells: Sequence) -> np.ndarray:
    """Times in seconds, or in what they are written in."""
    if all(map(_is_number, cells[:1])):
        return _numbers(cells, " as a time")
    return np.array([datetime.fromisoformat(str(cell).strip()).timestamp() for cell in cells])


def _is_number(cell) -> bool:
    """Whether a cell is a number, or says that there is none."""
    try:
        float("nan" if cell is None or not str(cell).strip() else cell)
        return True
    except (ValueError, TypeError):
        return False
