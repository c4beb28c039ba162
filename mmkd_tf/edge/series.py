"""Reads a series of a sensor, however it is stored, as the float32 array that models take."""

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmkd_tf.files.tables import quote, read_header, read_table

_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")
# Lists, or numbers with commas between them.
_NUMBERS = re.compile(r"\[.*\]|[-+.\d][-+.\deE]*\s*,[-+.,\s\deE]*")
_AROUND = 12  # characters shown on each side of a mistake


class SeriesReader:
    """Reads series for one input of a model, see `mmkd_tf.edge.examples.Reader`."""

    items = "paths of series"
    reads_files = True
    absent = "A series that holds no number counts as absent."

    def __init__(self, name: str, shape: tuple, dtype: np.dtype, description: Mapping, files):
        if len(shape) != 2 or shape[1] < 2 or dtype.name != "float32":
            raise ValueError("series are float32 [batch, steps, channels + 1]")
        names, self._time = description.get("channels"), description.get("time")
        self._name, self._channels = name, names if isinstance(names, list) else None
        self.trial = np.ones(shape, np.float32)

    def __call__(self, value) -> np.ndarray:
        """Gives float32 `[length, channels + 1]` of what `read_series` takes."""
        try:
            series = read_series(value, channels=self._channels, time=self._time)
            return resized(series, *self.trial.shape)
        except (ValueError, TypeError, OSError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"`{self._name}`: a series. Received: {quote(value)}: {error}.") from error


def is_json(text: str) -> bool:
    """Whether a text holds lists of numbers, maybe damaged ones, rather than a path."""
    text = text.strip()
    return bool((text.startswith("[") and not _SUFFIX.search(text)) or (_NUMBERS.fullmatch(text)))


def read_series(
    source, *, channels: Sequence[str] | None = None, time: str | None = None
) -> np.ndarray:
    """Reads a series as it is stored: evenly spaced steps, each marked as known or not.

    Args:
        source: An array or nested lists `[steps, channels]` or, of one channel, `[steps]`, None or
            NaN where nothing was measured; such lists as JSON text; the path or the bytes of a
            `.npy` file; or the path of a CSV file with a column for each channel.
        channels: Names of the columns to take of a file, in order; by default all but `time`.
        time: Name of a file's column of times, numbers; the steps lie evenly without one.

    Returns:
        float32 `[steps, channels + 1]`. The last channel is 1 where a step is known, elsewhere all
        of it is 0; all zeros is a series without a number. What one channel lacks of a known step
        lies on a line between its neighbours. What can't be read is a ValueError or a TypeError.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if is_json(path.name):  # behind a folder where it comes from a table
            source = path.name.encode()
        elif path.suffix.lower() == ".npy":
            source = path.read_bytes()
        else:
            return from_columns(read_columns(path, channels, time), time)
    if isinstance(source, bytes):
        source = _from_npy(source) if source[:1] == b"\x93" else _from_json(source)
    if isinstance(source, np.ndarray) and source.dtype == object:  # of arrays, as in Parquet
        source = list(source)
    if isinstance(source, Mapping):
        raise TypeError("no numbers [steps, channels] but dict")
    if isinstance(source, np.ndarray) and source.dtype.kind in "cmMV":  # NumPy converts some
        raise TypeError(f"no numbers [steps, channels] but {source.dtype.name}")
    if isinstance(source, np.ma.MaskedArray):  # what is masked was not measured
        source = np.ma.filled(source.astype(np.float64), np.nan)
    try:
        values = np.asarray(source, np.float64)
    except OverflowError:
        raise ValueError("a number that is too large") from None
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError("its steps have unequal numbers of channels") from None
    return _evenly_spaced(values[:, np.newaxis] if values.ndim == 1 else values)


def _from_npy(content: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError) as error:
        raise ValueError(
            f"a damaged .npy file, or one of objects ({error}); save or copy it again"
        ) from None


def _from_json(content: bytes):
    try:
        text = content.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"neither lists of numbers nor a .npy file ({error})") from None
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists of lists without end, not [steps, channels]") from None
    except json.JSONDecodeError as error:
        near = quote(text[max(0, error.pos - _AROUND) : error.pos + _AROUND])
        where = f"at its end, {near}" if error.pos >= len(text) else f"near {near}"
        raise ValueError(
            "no lists of numbers as JSON has them, such as [[0.1, 2], [0.3, 4]] or [1, 2]; the "
            f"mistake is {where} ({error.msg})"
        ) from None


def read_columns(path: Path, channels: Sequence[str] | None, *others: str | None) -> dict:
    """Reads columns of a table: `others`, unless None, and `channels`, by default all the rest."""
    header = read_header(path) or []
    if header and all(re.fullmatch(r"[-+.]*\d[-+.\de]*", name) for name in header):
        raise ValueError(f"{path.name}: its first row holds numbers; write the channels' names")
    wanted = dict.fromkeys([*filter(None, others), *(channels or header)])
    if header and (missing := [name for name in wanted if name not in header]):
        raise ValueError(f"{path.name}: no column {', '.join(missing)} among {', '.join(header)}")
    table = read_table(path, list(wanted))
    for row, reason in table.broken.items():
        raise ValueError(f"{path.name}, row {table.numbers[row]}: {reason}")
    return table.columns


def from_columns(columns: Mapping[str, Sequence], time: str | None) -> np.ndarray:
    """Makes the series, as `read_series`, of columns of numbers or texts, one of them `time`."""
    numbers = {}
    for name, cells in columns.items():
        cells = [(cell.strip() or "nan") if isinstance(cell, str) else cell for cell in cells]
        try:
            numbers[name] = np.asarray(cells, np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"no numbers in {quote(name)} ({error})") from None
    times = numbers.pop(time) if time else None
    return _evenly_spaced(np.array(list(numbers.values())).T, times)


def resized(series: np.ndarray, length: int, width: int) -> np.ndarray:
    """Gives a series in a model's number of steps, float32 `[length, width]`; absent ones as zeros.

    Fewer steps are means of what they cover, more lie on lines; unknown steps count for nothing,
    and one that is half unknown is unknown, unless none would be left. A series of another number
    of channels than `width - 1` is a ValueError.
    """
    steps = len(series)
    if not series.any():
        return np.zeros([length, width], np.float32)
    if series.shape[1] != width:
        raise ValueError(f"{series.shape[1] - 1} channels, where the model reads {width - 1}")
    if steps == length:
        return series
    if steps < length:
        places = np.linspace(0, steps - 1, length)
        columns = [np.interp(places, np.arange(steps), one) for one in series.T]
    else:
        edges = np.linspace(0, steps, length + 1)
        sums = np.cumsum(series, axis=0, dtype=np.float64)
        columns = [np.diff(np.interp(edges, np.arange(steps + 1), [0, *one])) for one in sums.T]
    made = np.stack(columns, axis=1)
    share = made[:, -1] / max(steps / length, 1)
    there = share >= min(0.5, share.max())
    made[there, :-1] /= made[there, -1:]
    made[:, -1] = 1
    return np.where(there[:, np.newaxis], made, 0).astype(np.float32)


def _evenly_spaced(values: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Checks a series `[steps, channels]`, NaN where nothing is known, and spaces it evenly."""
    if values.ndim != 2 or not values.size:
        raise ValueError(f"its shape is {list(values.shape)}, not [steps, channels], 1 or more")
    steps, known = len(values), ~np.isnan(values)
    infinite = np.argwhere(np.abs(values) > np.finfo(np.float32).max)
    if len(infinite):
        raise ValueError("an infinite number at step {}, channel {} (from 0)".format(*infinite[0]))
    if not known.any():
        return np.zeros([steps, values.shape[1] + 1], np.float32)
    if not known.any(axis=0).all():
        channel = np.argmin(known.any(axis=0))
        raise ValueError(f"no number in channel {channel} (from 0), where others have some")
    places = np.arange(steps, dtype=np.float64) if times is None else times
    goes_on = np.isfinite(places) & (np.diff(places, prepend=places[0]) >= 0)
    goes_on[-1] &= steps == 1 or places[0] < places[-1]
    if not goes_on.all():
        step = np.argmin(goes_on)
        raise ValueError(f"its time goes back, stands still or is missing at step {step} (from 0)")
    even = np.linspace(places[0], places[-1], steps)
    columns = [np.interp(even, places[k], one[k]) for one, k in zip(values.T, known.T, strict=True)]
    measured = places[known.any(axis=1)]
    after = np.minimum(np.searchsorted(measured, even), len(measured) - 1)
    distances = [np.abs(even - measured[at]) for at in (after, np.maximum(after - 1, 0))]
    # A step is known if a measured one is nearer than .9 of the usual distance of two.
    near = np.minimum(*distances) <= 0.9 * (even[-1] - even[0]) / max(steps - 1, 1)
    made = np.stack([*columns, near], axis=1)
    return np.where(near[:, np.newaxis], made, 0).astype(np.float32)
