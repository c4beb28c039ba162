"""Reads the text of a CSV file as records, strictly: what quotation marks swallow is an error.

Neither TensorFlow nor pandas is needed here.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", ";", "\t")
LONGEST_QUOTE = 80
_LISTED_ROWS = 10
_QUOTED = re.compile(r'"[^"\r\n]*"')
_LINES = re.compile(r"\r\n|\r|\n")


class TableError(ValueError):
    """A table that can't be read, or lacks a column."""


def quote(cell) -> str:
    """Gives a cell for a message: in quotes, on one line, shortened if it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")


@dataclass(frozen=True)
class Records:
    """What a CSV file holds.

    Attributes:
        header: Names of the columns.
        rows: Cells of each row that is not empty.
        numbers: Of each of them as spreadsheets count, which count empty rows too.
        top: Number of the header's row.
        notes: What people should know, such as which rows hold line breaks.
    """

    header: list[str]
    rows: list[list[str]]
    numbers: list[int]
    top: int
    notes: list[str]


def read_records(text: str, path: Path) -> Records:
    """Reads a whole CSV file.

    Raises:
        TableError: If it has no names of columns, no rows, or a quotation mark that opens a cell
            and does not close it.
    """
    limit = csv.field_size_limit(2**31 - 1)  # else one long text would hide all other problems
    delimiter = delimiter_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    ends = [0]  # by record, the number of lines that have been read with it
    try:
        for record in reader:
            records.append(record)
            ends.append(reader.line_num)
    except csv.Error as error:
        raise TableError(
            f"{path}: a CSV file whose quotation marks are closed. Received: in row "
            f"{len(records) + 1:,}, which begins in line {ends[-1] + 1:,}, {_in_words(error)}. "
            'Take the quotation mark out, or write it twice ("") in a cell within quotation marks.'
        ) from error
    finally:
        csv.field_size_limit(limit)
    top = next((at for at, record in enumerate(records) if any(map(str.strip, record))), None)
    if top is None:
        raise TableError(f"{path}: a row with names of columns. Received: separators alone.")
    header = [name.strip() for name in records[top]]
    numbers = [at + 1 for at, record in enumerate(records) if at > top and any(record)]
    if not numbers:
        raise TableError(f"{path}: no rows, only column names.")
    rows = [records[number - 1] for number in numbers]
    notes = _line_breaks(text, ends, numbers, header, delimiter)
    return Records(header, rows, numbers, top + 1, notes)


def _in_words(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a cell that is opened by a quotation mark and goes on to the end of the file"
    return "a quotation mark that closes a cell with more text behind it"


def _line_breaks(
    text: str, ends: Sequence[int], numbers: Sequence[int], header: Sequence[str], delimiter: str
) -> list[str]:
    """Notes the rows whose cells hold line breaks: two stray quotation marks make one of many."""
    found = [number for number in numbers if ends[number] - ends[number - 1] > 1]
    if not found:
        return []
    lines, swallowed = _LINES.split(text), []
    for number in found:
        of_row = lines[ends[number - 1] : ends[number]]
        if all(line.count(delimiter) == len(header) - 1 for line in of_row) and len(header) > 1:
            swallowed.append(number)
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
