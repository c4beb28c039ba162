"""Reads a CSV file, a Parquet file, a NumPy archive or a DataFrame as columns of cells.

Neither TensorFlow nor pandas is imported before there is need of it, so that the command line says
what is wrong with a table at once.
"""

import contextlib
import csv
import functools
import io
import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmkd_tf.files.csv_tables import (
    LONGEST_QUOTE,
    TableError,
    decode,
    delimiter_of,
    quote,
    read_records,
)
from mmkd_tf.files.shards import Shards, is_shards

__all__ = ["LONGEST_QUOTE", "TableError", "decode", "quote"]

PARQUET = b"PAR1"
NPZ_SUFFIX = ".npz"
_LONGEST_HEADER = 2**20  # bytes
_PACKED = "a compressed file; unpack it first"
# What other files begin with.
MAGIC_OF_OTHERS = {
    b"PK\x03\x04": "a spreadsheet or zip file; save it as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as 'CSV UTF-8'",
    b"\x1f\x8b": _PACKED,
    **{b"BZh%d1AY&SY" % level: _PACKED for level in range(1, 10)},
    b"\xfd7zXZ\x00": _PACKED,
    b"\x28\xb5\x2f\xfd": _PACKED,
    b"7z\xbc\xaf": _PACKED,
    b"%PDF-": "a PDF document; take the table out of it",
    b"<!DOCTYPE": "a web page; download the file that it shows",
    b"<!doctype": "a web page; download the file that it shows",
    b"<html": "a web page; download the file that it shows",
    b"version https://git-lfs": "a pointer of Git LFS; run: git lfs pull",
    b"SQLite format 3": "a database; write the table as 'CSV UTF-8'",
    b"\x89HDF": "an HDF5 file; write the table as Parquet",
    b"ARROW1": "a Feather file; write the table as Parquet",
    b"\x93NUMPY": "a NumPy array; save columns by name with numpy.savez",
    b'{"': "JSON; write the table as CSV or Parquet",
    b"[{": "JSON; write the table as CSV or Parquet",
    b"\x89PNG": "a picture; give the table that names it",
    b"\xff\xd8\xff": "a picture; give the table that names it",
}

BUILT_IN = ("emoji", "catalog")  # sources of data that are no paths
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".npz")
# How those of a table that is to be learned from are named.
NAME_COLUMNS = (
    "Name yours with --image, --text and --label, or under `inputs` in the settings; --image none "
    "if the data has no pictures. (In Python: image=, text=, label=, or inputs=; image=None.)"
)


@dataclass
class Table:
    """A table as columns of cells."""

    source: str  # path of the file, or "the DataFrame"
    folder: Path  # that picture paths are relative to
    counting: str  # how `numbers` count, for messages
    numbers: Sequence[int]  # of each row as people count
    columns: dict[str, Any]  # cells by name, lists or what is read in parts
    broken: dict[int, str] = field(default_factory=dict)  # by index, what is wrong as a whole
    header: Sequence[str] = ()  # names of all columns
    notes: Sequence[str] = ()  # what people should know of how it was read
    sizes: Mapping[str, int] = field(default_factory=dict)  # pixels of decoded pictures, by column

    def __len__(self) -> int:
        return len(self.numbers)


def read_table(
    table,
    columns: Sequence[str],
    *,
    folder: str | Path | None = None,
    some: bool = False,
    unnamed: Collection[str] = (),
) -> Table:
    """Reads some columns of a table; see `from_table` for what it may be.

    With `some` it may lack columns, but not all of them. Of `columns`, those in `unnamed` are names
    of inputs of several columns, which nobody has named: the error says so.

    Raises:
        TableError: A `ValueError`, if the table can't be read, is empty or lacks a column.
        TypeError: If `table` is something else.
    """
    find = functools.partial(_find_columns, columns, some=some, unnamed=unnamed)
    if isinstance(table, Table):
        names = list(find(list(table.header), table.source))
        return replace(table, columns={name: table.columns[name] for name in names})
    if not isinstance(table, (str, os.PathLike)):
        if is_frame(table):
            return _from_frame(table, find, "the DataFrame", Path(folder or "."))
        raise TypeError(
            "the path of a CSV, Parquet or NumPy file, or a pandas DataFrame. "
            f"Received: {type(table).__name__}."
        )
    path = Path(table)
    if is_shards(path):
        return _from_shards(path, find)
    if not os.path.isfile(path):  # which fails on no name, however long
        raise TableError(f"{path}: {why_no_file(path)}")
    folder = Path(folder or path.parent)
    if path.suffix.lower() == NPZ_SUFFIX:
        return _from_npz(path, find, folder)
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    _check_form(start, path)
    if start.startswith(PARQUET):
        return _from_parquet(path, find, folder)
    return _from_csv(path, find, folder)


def check_columns(
    path: str | Path, columns: Sequence[str], *, unnamed: Collection[str] = ()
) -> None:
    """Compares the names of a table's columns with those that it needs; rows are not read.

    `unnamed` as for `read_table`.

    Raises:
        TableError: As `read_table`, in what can be seen of a file without reading its rows.
    """
    names = read_header(path)
    if names is not None:
        _find_columns(columns, names, str(path), some=False, unnamed=unnamed)


def read_header(path: str | Path) -> list[str] | None:
    """Reads the names of a table's columns; None where only whoever reads the rows can say.

    Raises:
        TableError: If there is no such file, or it is of another kind.
    """
    path = Path(path)
    if is_shards(path):
        return Shards.open(path).header
    if not os.path.isfile(path):
        raise TableError(f"{path}: {why_no_file(path)}")
    if path.suffix.lower() == NPZ_SUFFIX:
        with _opened_npz(path) as arrays:
            return list(arrays)
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    _check_form(start, path)
    if start.startswith(PARQUET):
        import pyarrow.parquet

        try:
            names = pyarrow.parquet.read_schema(path).names
        except Exception:  # as below
            return None
    else:
        text = start.decode("utf-8-sig", errors="replace").lstrip("\r\n")
        if "\0" in text or "\n" not in text.rstrip():
            return None
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
        try:
            names = next(rows, [])
        except csv.Error:
            return None
    return [str(name).strip() for name in names] if any(names) else None


def is_table(source: str | Path) -> bool:
    """Whether a source of data is a table's path by its suffix, or as a file that is there.

    So is a folder of shards, see `mmkd_tf.files.shards`.
    """
    path = Path(source)
    is_file = path.suffix.lower() in TABLE_SUFFIXES or os.path.isfile(path)
    return is_file or (str(source) not in BUILT_IN and is_shards(path))


def is_folder(source: str | Path) -> bool:
    """Whether a source is a folder of files; one called as built-in data does not hide that."""
    return str(source) not in BUILT_IN and os.path.isdir(source) and not is_shards(source)


def is_frame(table) -> bool:
    """Whether it is a pandas DataFrame; pandas is imported by now if so."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def _check_form(content: bytes, path: Path) -> None:
    """Refuses what begins as another kind of file does."""
    for magic, kind in MAGIC_OF_OTHERS.items():
        if content.startswith(magic):
            raise TableError(f"{path}: expected a CSV or Parquet file, but this is {kind}.")
    if not content.removeprefix(BOM_UTF8).strip():
        raise TableError(f"{path}: an empty file.")


def _from_parquet(path: Path, find: Callable, folder: Path) -> Table:
    """Reads the columns that are wanted, where they can be told by name."""
    import pandas as pd
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            header = pyarrow.parquet.read_schema(file).empty_table().to_pandas().columns.tolist()
            chosen = None
            if all(isinstance(name, str) and "." not in name for name in header):
                positions = find([name.strip() for name in header], str(path))
                chosen = [header[at] for at in positions.values()]
            file.seek(0)
            frame = pd.read_parquet(file, columns=chosen)
        table = _from_frame(frame, find, str(path), folder)  # here texts are first looked at
    except TableError:
        raise
    except Exception as error:  # pandas and pyarrow have errors of any kind for damaged files
        raise TableError(
            f"{path}: a damaged Parquet file, or one of a form that pandas can't read "
            f"({error}); save or copy it again."
        ) from error
    return replace(table, header=[str(name).strip() for name in header])


def _from_frame(frame, find: Callable, source: str, folder: Path) -> Table:
    names = [str(name).strip() for name in frame.columns]
    positions = find(names, source)
    if not len(frame):
        raise TableError(f"{source}: no rows, only column names.")
    cells = {name: frame.iloc[:, at].tolist() for name, at in positions.items()}
    counting = "rows counted from 0, as .iloc does"
    return Table(source, folder, counting, range(len(frame)), cells, header=names)


@contextlib.contextmanager
def _opened_npz(path: Path) -> Iterator:
    """The arrays of a NumPy archive by name, read when asked for; nothing in it is executed."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except TableError:
        raise
    except Exception as error:  # zipfile and NumPy have errors of any kind for damaged files
        raise TableError(
            f"{path}: a damaged NumPy archive, or one with Python objects, which are not read "
            f"({error}). Write arrays of numbers and texts with numpy.savez."
        ) from error


def _from_npz(path: Path, find: Callable, folder: Path) -> Table:
    """Columns are arrays with examples along the first axis, as long as most arrays are."""
    with _opened_npz(path) as arrays:
        names = list(arrays)
        chosen = list(find(names, str(path)))
        cells = {name: arrays[name] for name in chosen}
    lengths = {name: len(values) if values.ndim else 0 for name, values in cells.items()}
    number = max(lengths.values())
    if wrong := {name: length for name, length in lengths.items() if length != number}:
        raise TableError(
            f"{path}: arrays with an entry for each example, {number:,}. Received: {wrong}."
        )
    if not number:
        raise TableError(f"{path}: no rows, only names of arrays.")
    # Entries of one number become Python's, of whole arrays stay arrays.
    columns = {
        name: values.tolist() if values.ndim == 1 else list(values)
        for name, values in cells.items()
    }
    counting = "examples counted from 0"
    return Table(str(path), folder, counting, range(number), columns, header=names)


def _from_shards(path: Path, find: Callable) -> Table:
    shards = Shards.open(path)
    cells = {name: shards.cells(name) for name in find(shards.header, str(path))}
    numbers = range(shards.manifest["rows"])
    sizes = {name: size for name, size in shards.sizes.items() if name in cells}
    counting = "rows of the shards counted from 0"
    return Table(str(path), path, counting, numbers, cells, header=shards.header, sizes=sizes)


def _from_csv(path: Path, find: Callable, folder: Path) -> Table:
    records = read_records(path, lambda header: find(header, str(path)))
    broken = {
        index: f"{number} of {len(records.header)} cells; put quotation marks around a text that "
        "holds the separator, and close each of them"
        for index, number in records.broken.items()
    }
    counting = f"row {records.top} is the header"
    notes = [f"{path.name}: {note}" for note in records.notes]
    numbers, header = records.numbers, records.header
    return Table(str(path), folder, counting, numbers, records.cells, broken, header, notes)


def _find_columns(
    columns: Sequence[str],
    header: Sequence[str],
    source: str,
    *,
    some: bool,
    unnamed: Collection[str] = (),
) -> dict[str, int]:
    """Gives the position of each column, or of those that are there."""
    lower = {name.lower(): name for name in header}
    wrong = []
    if some and set(columns) & set(header):
        columns = [column for column in columns if column in header]
    open_ones = [name for name in unnamed if name in columns and name not in header]
    for column in columns:
        if column in open_ones:
            wrong.append(f"the input '{column}' of kind tabular names no `columns`")
        elif header.count(column) > 1:
            wrong.append(f"column '{column}' is there {header.count(column)} times")
        elif column not in header:
            close = get_close_matches(column.lower(), lower, n=1)
            hint = f" (did you mean '{lower[close[0]]}'?)" if close else ""
            if "," in column:
                hint = "; several are for task='regression'"
            wrong.append(f"no column '{column}'{hint}")
    if wrong:
        there = ", ".join(quote(name) for name in header)
        if some:
            raise TableError(
                f"{source}: {'; '.join(wrong)}. It needs one of them at least. Its columns are "
                f"{there}."
            )
        if open_ones:
            others = [name for name in header if name not in columns][:2] or header[:2]
            raise TableError(
                f"{source}: {'; '.join(wrong)}. Its columns are {there}. Name those that are read "
                f"together, such as --set inputs.{open_ones[0]}.columns='[{', '.join(others)}]'. "
                f"(In Python: inputs={{'{open_ones[0]}': {{'kind': 'tabular', 'columns': "
                f"{others}}}}}.)"
            )
        raise TableError(f"{source}: {'; '.join(wrong)}. Its columns are {there}. {NAME_COLUMNS}")
    return {column: header.index(column) for column in columns}


def why_no_file(path: Path) -> str:
    """Says why there is no such file, and which one may be meant."""
    if os.path.isdir(path):
        return "a folder, not a file. Name the table in it."
    if os.path.exists(path):
        return "a device or a pipe, not a file."
    folder = path.parent
    if not os.path.isdir(folder):
        return f"no such file; the folder '{folder}' does not exist either."
    close = get_close_matches(path.name, os.listdir(folder), n=1)
    return "no such file." + (f" Did you mean '{folder / close[0]}'?" if close else "")
