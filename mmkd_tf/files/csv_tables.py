"""Reads a CSV file as records, strictly: what quotation marks swallow is an error.

Neither TensorFlow nor pandas is needed here.
"""

import csv
import io
import itertools
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", ";", "\t")
LONGEST_QUOTE = 80
_LISTED_ROWS = 10
_NO_HEADER = "{}: a row with names of columns. Received: separators alone."
_NO_ROWS = "{}: no rows, only column names."
_MOST_KNOWN = 4096
_QUOTED = re.compile(r'"[^"\r\n]*"')
_LINES = re.compile(r"\r\n|\r|\n")


class TableError(ValueError):
    """A table that can't be read, or lacks a column."""


def quote(cell) -> str:
    """Gives a cell for a message: in quotes, on one line, shortened if it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")


@dataclass
class Records:
    """What a CSV file holds.

    Attributes:
        header: Names of the columns.
        top: Number of the header's row.
        cells: By name of a column that was chosen, its cell in each row that is not empty.
        numbers: Of each of these rows as spreadsheets count, which count empty rows too.
        broken: By index among them, of rows of more or fewer cells, how many there are.
        notes: What people should know, such as which rows hold line breaks.
    """

    header: list[str]
    top: int
    cells: dict[str, list[str]]
    numbers: Sequence[int]
    broken: dict[int, int]
    notes: list[str]


def read_records(path: Path, choose: Callable[[list[str]], Mapping[str, int]]) -> Records:
    """Reads a CSV file row by row; of these only the cells of chosen columns are held.

    Args:
        path: The file, in UTF-8.
        choose: Gives of the header, by name, the positions of the columns that are wanted.

    Raises:
        TableError: If it has no names of columns, no rows, or a quotation mark that opens a cell
            and does not close it; what `choose` raises, if the rows are as they should be.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            start = file.read(2**20)
            file.seek(0)
            if "\0" in start[:100]:
                decode(path.read_bytes(), path)
            return _read(file, path, choose, delimiter_of(start))
    except UnicodeDecodeError:
        decode(path.read_bytes(), path)  # says where and what to do
        raise


@dataclass(frozen=True)
class Part:
    """Some rows of a CSV file that follow one another.

    Attributes:
        header: First byte of the row with the names of the columns, and the byte behind it.
        begin: First byte of the rows.
        end: The byte behind them.
        number: Of the first of them as spreadsheets count.
        rows: How many are not empty.
    """

    header: tuple[int, int]
    begin: int
    end: int
    number: int
    rows: int


def divide(path: Path, rows: int) -> list[Part]:
    """Divides a CSV file into parts of so many rows; it is read once, and nothing of it is held.

    Raises:
        TableError: As `read_records`, in what does not depend on the columns that are wanted.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = delimiter_of(file.read(2**20))
        with open(path, "rb") as file:
            begin = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _divided(file, path, delimiter, begin, rows)
    except UnicodeDecodeError:
        decode(path.read_bytes(), path)  # says where and what to do
        raise


def _divided(lines: Iterable[str], path: Path, delimiter: str, at: int, rows: int) -> list[Part]:
    header: tuple[int, int] | None = None
    parts, count, first, begin = list[Part](), 0, 0, at
    for number, record, taken in _rows(lines, path, delimiter):
        behind = at + sum(len(line.encode()) for line in taken)
        if header is None:
            if any(map(str.strip, record)):
                header = at, behind
        elif any(record):
            if count == rows:
                parts.append(Part(header, begin, at, first, count))
                count = 0
            if not count:
                first, begin = number, at
            count += 1
        at = behind
    if header is None:
        raise TableError(_NO_HEADER.format(path))
    if not count:
        raise TableError(_NO_ROWS.format(path))
    return [*parts, Part(header, begin, at, first, count)]


def read_part(path: Path, part: Part, choose: Callable[[list[str]], Mapping[str, int]]) -> Records:
    """Reads a part that `divide` gave, as `read_records` reads the whole; without notes."""
    with open(path, "rb") as file:
        texts = []
        for begin, end in (part.header, (part.begin, part.end)):
            file.seek(begin)
            texts.append(file.read(end - begin).decode())
    lines = itertools.chain.from_iterable(io.StringIO(text, newline="") for text in texts)
    found = _read(lines, path, choose, delimiter_of(texts[0]))
    shift = part.number - found.numbers[0]
    found.numbers, found.notes = [number + shift for number in found.numbers], []
    return found


def _read(lines: Iterable[str], path: Path, choose, delimiter: str) -> Records:
    found: Records | None = None
    columns, refusal = list[tuple[list[str], int, dict[str, str]]](), None
    numbers, breaks, swallowed = array("q"), list[int](), list[int]()
    for number, record, taken in _rows(lines, path, delimiter):
        if found is None:
            if any(map(str.strip, record)):
                found = Records([n.strip() for n in record], number, {}, numbers, {}, [])
                try:
                    positions = choose(found.header)
                except TableError as error:
                    positions, refusal = {}, error
                found.cells = {name: [] for name in positions}
                columns = [(found.cells[name], at, {}) for name, at in positions.items()]
        elif any(record):
            if len(record) != len(found.header):
                found.broken[len(numbers)] = len(record)
            numbers.append(number)
            for cells, at, known in columns:
                cells.append(_shared(record[at] if at < len(record) else "", known))
            if len(taken) > 1:
                breaks.append(number)
                width = len(found.header)
                if width > 1 and all(x.count(delimiter) == width - 1 for x in taken):
                    swallowed.append(number)
    if found is None:
        raise TableError(_NO_HEADER.format(path))
    if not numbers:
        raise TableError(_NO_ROWS.format(path))
    if refusal is not None:
        raise refusal
    found.notes = _line_breaks(breaks, swallowed)
    return found


def _rows(
    lines: Iterable[str], path: Path, delimiter: str
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each row's number, its cells and the lines that it takes, which the next row has no more."""
    limit = csv.field_size_limit(2**31 - 1)  # else one long text would hide all other problems
    taken: list[str] = []

    def told():
        for line in lines:
            taken.append(line)
            yield line

    reader, number, end = csv.reader(told(), delimiter=delimiter, strict=True), 0, 0
    try:
        for number, record in enumerate(reader, start=1):
            yield number, record, taken
            end = reader.line_num
            taken.clear()
    except csv.Error as error:
        raise _unclosed(path, number, end, error) from error
    finally:
        csv.field_size_limit(limit)


def _shared(cell: str, known: dict[str, str]) -> str:
    """One object for equal cells of a column of few different ones, such as labels."""
    return known.setdefault(cell, cell) if len(known) < _MOST_KNOWN else known.get(cell, cell)


def _unclosed(path: Path, number: int, end: int, error: csv.Error) -> TableError:
    return TableError(
        f"{path}: a CSV file whose quotation marks are closed. Received: in row "
        f"{number + 1:,}, which begins in line {end + 1:,}, {_in_words(error)}. "
        'Take the quotation mark out, or write it twice ("") in a cell within quotation marks.'
    )


def _in_words(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a cell that is opened by a quotation mark and goes on to the end of the file"
    return "a quotation mark that closes a cell with more text behind it"


def _line_breaks(found: Sequence[int], swallowed: Sequence[int]) -> list[str]:
    """Notes the rows whose cells hold line breaks: two stray quotation marks make one of many."""
    if not found:
        return []
    count = "1 row has a cell" if len(found) == 1 else f"{len(found):,} rows have cells"
    said = f"{count} with line breaks: {_listed(found)}."
    if swallowed:
        said += (
            f" The lines of {_listed(swallowed)} look like rows of their own: look there for a "
            "quotation mark that is not closed."
        )
    return [said]


def _listed(numbers: Sequence[int]) -> str:
    rows = "row " if len(numbers) == 1 else "rows "
    more = len(numbers) - _LISTED_ROWS
    shown = ", ".join(f"{number:,}" for number in numbers[:_LISTED_ROWS])
    return rows + shown + (f" and {more:,} more" if more > 0 else "")


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


def delimiter_of(text: str) -> str:
    """Gives the separator that occurs most often in the header, a comma in doubt."""
    header = next((line for line in _LINES.split(text[: 2**20]) if line.strip()), "")
    header = _QUOTED.sub("", header)  # a name may hold one
    return max(DELIMITERS, key=header.count)
