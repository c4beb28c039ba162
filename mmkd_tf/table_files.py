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
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

PARQUET = b"PAR1"
NPZ_SUFFIX = ".npz"
_LONGEST_HEADER = 2**20  # bytes
DELIMITERS = (",", ";", "\t")
MAGIC_OF_OTHERS = {
    b"PK\x03\x04": "a spreadsheet or zip file; save it as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as 'CSV UTF-8'",
    b"\x1f\x8b": "a compressed file; unpack it first",
}


LONGEST_QUOTE = 80
BUILT_IN = ("emoji", "catalog")  # sources of data that are no paths
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".npz")


def quote(cell) -> str:
    """Gives a cell for a message: in quotes, on one line, shortened if it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")


class TableError(ValueError):
    """A table that can't be read, or lacks a column."""


@dataclass
class Table:
    """A table as columns of cells."""

    source: str  # path of the file, or "the DataFrame"
    folder: Path  # that picture paths are relative to
    counting: str  # how `numbers` count, for messages
    numbers: Sequence[int]  # of each row as people count
    columns: dict[str, list]  # cells by name
    broken: dict[int, str] = field(default_factory=dict)  # by index, what is wrong as a whole
    header: Sequence[str] = ()  # names of all columns

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
    if not path.is_file():
        raise TableError(f"{path}: {why_no_file(path)}")
    folder = Path(folder or path.parent)
    if path.suffix.lower() == NPZ_SUFFIX:
        return _from_npz(path, find, folder)
    content = path.read_bytes()
    _check_form(content, path)
    if content.startswith(PARQUET):
        import pandas as pd

        try:
            frame = pd.read_parquet(io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise TableError(
                f"{path}: a damaged Parquet file ({error}); save or copy it again."
            ) from error
        return _from_frame(frame, find, str(path), folder)
    return _from_csv(decode(content, path), find, path, folder)


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
    if not path.is_file():
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
        except (OSError, ValueError):
            return None
    else:
        text = start.decode("utf-8-sig", errors="replace").lstrip("\r\n")
        if "\0" in text or "\n" not in text.rstrip():
            return None
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        try:
            names = next(rows)
        except csv.Error:
            return None
    return [str(name).strip() for name in names] if any(names) else None


def is_table(source: str | Path) -> bool:
    """Whether a source of data is a table's path by its suffix, or as a file that is there."""
    path = Path(source)
    return path.suffix.lower() in TABLE_SUFFIXES or path.is_file()


def is_folder(source: str | Path) -> bool:
    """Whether a source of data is a folder; one called as built-in data does not hide that."""
    return str(source) not in BUILT_IN and Path(source).is_dir()


def is_frame(table) -> bool:
    """Whether it is a pandas DataFrame; pandas is imported by now if so."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def _check_form(content: bytes, path: Path) -> None:
    """Refuses what begins as another kind of file does."""
    for magic, kind in MAGIC_OF_OTHERS.items():
        if content.startswith(magic):
            raise TableError(f"{path}: expected a CSV or Parquet file, but this is {kind}.")
    if not content.strip():
        raise TableError(f"{path}: an empty file.")


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
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
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


def _from_csv(text: str, find: Callable, path: Path, folder: Path) -> Table:
    limit = csv.field_size_limit(2**31 - 1)  # else one long text would hide all other problems
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise TableError(f"{path}: not a CSV file ({error}).") from error
    finally:
        csv.field_size_limit(limit)
    top = next(at for at, record in enumerate(records) if any(record))
    header = [name.strip() for name in records[top]]
    positions = find(header, str(path))
    # Numbered as spreadsheets do, which count empty rows too; those are no examples.
    rows = [(at + 1, record) for at, record in enumerate(records) if at > top and any(record)]
    if not rows:
        raise TableError(f"{path}: no rows, only column names.")
    broken = {
        index: f"{len(record)} of {len(header)} cells; put quotation marks around a text that "
        "holds the separator, and close each of them"
        for index, (_, record) in enumerate(rows)
        if len(record) != len(header)
    }
    cells = {
        name: [record[at] if at < len(record) else "" for _, record in rows]
        for name, at in positions.items()
    }
    numbers = [number for number, _ in rows]
    counting = f"row {top + 1} is the header"
    return Table(str(path), folder, counting, numbers, cells, broken, header)


def decode(content: bytes, path: Path) -> str:
    """Decodes UTF-8, or says where it isn't, what it probably is, and what to do."""
    is_utf16 = b"\0" in content[:100]  # every other byte of a Latin letter
    try:
        text = content.decode("utf-8-sig")
        if not is_utf16:
            return text
    except UnicodeDecodeError as error:
        start = error.start
    if is_utf16:
        encoding, there = "UTF-16", "from its first byte on"
    else:
        encoding = "Windows-1252"
        near = content[max(0, start - 15) : start + 15].decode("cp1252", errors="replace")
        line = content.count(b"\n", 0, start) + 1
        there = f"at byte {start:,}, in line {line:,}, near {quote(near)}"
    raise TableError(
        f"{path}: not UTF-8 {there}. The encoding is probably {encoding}: save the table as "
        f"'CSV UTF-8', or run: iconv -f {encoding.upper()} -t UTF-8 '{path.name}' > utf8.csv"
    )


def _delimiter(text: str) -> str:
    """Gives the separator that occurs most often in the header, a comma in doubt."""
    header = text.lstrip().splitlines()[0]
    return max(DELIMITERS, key=header.count)


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
        raise TableError(
            f"{source}: {'; '.join(wrong)}. Its columns are {there}. Name yours with --image, "
            "--text and --label, or under `inputs` in the settings; --image none if the data has "
            "no pictures. (In Python: image=, text=, label=, or inputs=; image=None.)"
        )
    return {column: header.index(column) for column in columns}


def why_no_file(path: Path) -> str:
    """Says why there is no such file, and which one may be meant."""
    if path.exists():
        return "not a file."
    folder = path.parent
    if not folder.is_dir():
        return f"no such file; the folder '{folder}' does not exist either."
    close = get_close_matches(path.name, os.listdir(folder), n=1)
    return "no such file." + (f" Did you mean '{folder / close[0]}'?" if close else "")
