"""Tables with a fault: a clear error, a note, or the cells that are meant."""

import bz2
import contextlib
import gzip
import io
import lzma
import warnings

import numpy as np
import pandas as pd
import pytest

from mmkd_tf import from_table
from mmkd_tf.edge.tabular import read_cell
from mmkd_tf.files.tables import TableError, check_columns, read_header, read_table
from mmkd_tf.modalities.cells import plain_text
from mmkd_tf.tasks import find_task

COLUMNS = ("text", "label")
GOOD = "text,label\nred cup,cup\nold lamp,lamp\n"
LARGE = "x" * 300_000


def parquet(*change, **options):
    """A Parquet file, with some of its bytes changed for others as long."""
    stream = io.BytesIO()
    frame = pd.DataFrame({"text": ["red cup", "old lamp"], "label": ["cup", "lamp"]})
    frame.to_parquet(stream, **options)
    content = stream.getvalue()
    assert not change or change[0] in content
    return content.replace(*change) if change else content


# What a file holds, and a piece of the error.
REFUSED = {
    "stray quote to the end": ('text,label\n"red cup,cup\nold lamp,lamp\n', "end of the file"),
    "stray quote names its row": ("text,label\na,b\n" + '"red cup,cup\n' * 2, "in row 3"),
    "stray quote before a quoted cell": (
        'text,label\n"red cup,cup\nold,lamp\n"a, b",cup\n',
        "row 2, which begins in line 2, a quotation mark that closes",
    ),
    "text behind a quotation mark": ('text,label\n"red" cup,cup\n', "closes a cell with more text"),
    "open quote in the header": ('"text,label\nred cup,cup\n', "goes on to the end"),
    "open quote in the last cell": ('text,label\nred cup,"cup', "goes on to the end"),
    "nothing": ("", "an empty file"),
    "blank lines": ("\n\r\n \t\n", "an empty file"),
    "byte order mark alone": ("\ufeff", "an empty file"),
    "byte order mark and a line": ("\ufeff\n", "an empty file"),
    "commas": (",,,\n,,,\n", "separators alone"),
    "one comma": (",", "separators alone"),
    "empty quotes": ('""\n""\n', "separators alone"),
    "wide spaces": ("\u3000\n", "separators alone"),
    "header alone": ("text,label", "no rows, only column names"),
    "header and blank lines": ("text,label\n\n\n", "no rows, only column names"),
    "header and commas": ("text,label\n,\n,,\n", "no rows, only column names"),
    "column twice": ("text,label,text\na,b,c\n", "column 'text' is there 2 times"),
    "no such column": ("title,label\na,b\n", "no column 'text'"),
    "other case": ("Text,label\na,b\n", "did you mean 'Text'"),
    "separator of its own": ("text|label\na|b\n", "no column 'text'"),
    "spaces for separators": ("text label\na b\n", "no column 'text'"),
    "no header": ("red cup,cup\nold lamp,lamp\n", "Its columns are 'red cup', 'cup'"),
    "UTF-16": (GOOD.encode("utf-16"), "probably UTF-16"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-be"), "probably UTF-16"),
    "UTF-32": (GOOD.encode("utf-32"), "not UTF-8"),
    "Windows-1252": (GOOD.replace("red", "café").encode("cp1252"), "in line 2"),
    "Shift JIS": (GOOD.replace("red", "茶").encode("shift_jis"), "not UTF-8"),
    "overlong UTF-8": (GOOD.encode() + b"\xc0\xaf,cup\n", "not UTF-8"),
    "half a character at the end": (GOOD.encode() + "茶".encode()[:2], "not UTF-8"),
    "gzip": (gzip.compress(GOOD.encode()), "a compressed file; unpack it first"),
    "bzip2": (bz2.compress(GOOD.encode()), "a compressed file; unpack it first"),
    "xz": (lzma.compress(GOOD.encode()), "a compressed file; unpack it first"),
    "zstandard": (b"\x28\xb5\x2f\xfd...", "a compressed file; unpack it first"),
    "zip": (b"PK\x03\x04...", "a spreadsheet or zip file"),
    "old spreadsheet": (b"\xd0\xcf\x11\xe0...", "an old spreadsheet"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "web page": ("<!DOCTYPE html>\n<html></html>\n", "a web page"),
    "JSON lines": ('{"text": "a", "label": "b"}\n', "JSON; write the table as CSV"),
    "JSON list": ('[{"text": "a"}]', "JSON; write the table as CSV"),
    "pointer of Git LFS": ("version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
    "SQLite": (b"SQLite format 3\0", "a database"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "Feather": (b"ARROW1\0\0", "a Feather file"),
    "picture": (b"\x89PNG\r\n\x1a\n", "a picture"),
    "array": (b"\x93NUMPY\x01\0", "a NumPy array"),
    "Parquet's first bytes": (b"PAR1", "a damaged Parquet file"),
    "Parquet with texts of no UTF-8": (
        parquet(b"red cup", b"red \xfcup", compression=None),
        "a damaged Parquet file",
    ),
    "Parquet cut off": (b"PAR1" + bytes(50) + b"PAR1", "a damaged Parquet file"),
}

# What a file holds, and its columns of texts and labels.
READ = {
    "as it is": (GOOD, [("red cup", "cup"), ("old lamp", "lamp")]),
    "CRLF": (GOOD.replace("\n", "\r\n"), [("red cup", "cup"), ("old lamp", "lamp")]),
    "CR": (GOOD.replace("\n", "\r"), [("red cup", "cup"), ("old lamp", "lamp")]),
    "byte order mark": ("\ufeff" + GOOD, [("red cup", "cup"), ("old lamp", "lamp")]),
    "semicolons": ("text;label\na,b;c\n", [("a,b", "c")]),
    "tabs": ("text\tlabel\na;b,c\td\n", [("a;b,c", "d")]),
    "a comma in a quoted name": ('text;"a,b,c";label\nx;y;z\n', [("x", "z")]),
    "no line feed at the end": ("text,label\na,b", [("a", "b")]),
    "spaces about names": (" text , label \na,b\n", [("a", "b")]),
    "quotes within a cell": ('text,label\n5" disk,a\nb""c,d\n', [('5" disk', "a"), ('b""c', "d")]),
    "doubled quotes": ('text,label\n"a ""b""",c\n', [('a "b"', "c")]),
    "quoted line break": ('text,label\n"a\nb",c\n', [("a\nb", "c")]),
    "quoted CRLF": ('text,label\r\n"a\r\nb",c\r\n', [("a\r\nb", "c")]),
    "blank lines": ("\n\ntext,label\n\na,b\n\n", [("a", "b")]),
    "U+2028 and U+0085": ("text,label\na\u2028b\x85c,d\n", [("a\u2028b\x85c", "d")]),
    "vertical tab, form feed": ("text,label\na\x0bb\x0cc,d\n", [("a\x0bb\x0cc", "d")]),
    "file separators": ("text,label\na\x1cb\x1dc\x1ed,e\n", [("a\x1cb\x1dc\x1ed", "e")]),
    "NUL": (f"text,label\n{'x' * 100}\0y,d\n", [("x" * 100 + "\0y", "d")]),
    "huge cell": (f"text,label\n{LARGE},b\n", [(LARGE, "b")]),
    "huge quoted cell": (f'text,label\n"{LARGE}",b\n', [(LARGE, "b")]),
    "words for nothing": ("text,label\nNA,null\nNone,nan\n", [("NA", "null"), ("None", "nan")]),
    "numbers stay as written": (
        "text,label\n007,1e5\n1_000,0x10\n",
        [("007", "1e5"), ("1_000", "0x10")],
    ),
    "other columns": ("id,text,x,label\n1,a,,b\n", [("a", "b")]),
    "beyond the basic plane": ("text,label\n👍🏽,🂡\n", [("👍🏽", "🂡")]),
}

# Rows, the number of those with a wrong number of cells.
RAGGED = {
    "too few": ("text,label\na\nb,c\n", [0]),
    "too many": ("text,label\na,b,c\nd,e\n", [0]),
    "separator at the end": ("text,label\na,b,\nc,d\n", [0]),
    "header with one more": ("text,label,\na,b\nc,d\n", [0, 1]),
    "space before a quote": ('text,label\na, "b, c"\n', [0]),
}

# What a cell is, and a piece of the reason why it is no text; or the text that it is.
CELLS = {
    "bytes": (b"red cup", "red cup"),
    "bytes beyond ASCII": ("Größe 茶".encode(), "Größe 茶"),
    "bytearray": (bytearray(b"red"), "red"),
    "a number": (5, "5"),
    "a fraction": (2.5, "2.5"),
    "NumPy's text": (np.str_("red"), "red"),
    "nothing": (None, ""),
    "no number": (float("nan"), ""),
    "pandas' nothing": (pd.NA, ""),
    "no time": (pd.NaT, ""),
    "a date": (pd.Timestamp("2024-01-02"), "2024-01-02 00:00:00"),
    "Windows-1252": (b"caf\xe9", ValueError("bytes that are not UTF-8 at byte 3")),
    "a struct": ({"a": 1}, ValueError("a struct, not a text")),
    "a list": (["red", "cup"], ValueError("a list, not a text")),
    "an array": (np.array(["red"]), ValueError("a list, not a text")),
    "a set": ({"red"}, ValueError("a set, not a text")),
    "an object": (object(), ValueError("a object, not a text")),
}


# What stands where a number is expected, of a target and of a cell among several.
NUMBERS = {
    "infinity": "inf",
    "minus infinity": float("-inf"),
    "too large": "1e39",
    "far too large": "1e400",
    "a comma": "1,5",
    "thousands": "1.000.000",
    "underscores": "1_000",
    "hexadecimal": "0x10",
    "a unit": "5 cm",
    "a word": "five",
    "a date": "2024-01-02",
    "a list": [1.0],
    "a struct": {"a": 1},
    "other bytes": b"\xff",
}


@pytest.mark.parametrize("cell", NUMBERS.values(), ids=NUMBERS)
def test_what_is_no_number(cell):
    if not isinstance(cell, dict | bytes):  # which are refused before
        labels, problems = find_task("regression").read_labels(
            [(cell,), ("2.5",)], separator="|", names=["width"]
        )
        assert list(problems) == [0] and problems[0].startswith("width")
        assert labels[1] == (2.5,)
    with pytest.raises(ValueError, match="one value|no number|infinite|in UTF-8"):
        read_cell("numeric", cell)


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_refused(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(TableError, match=message) as error:
        read_table(path, COLUMNS)
    assert str(error.value).startswith(str(path))
    with contextlib.suppress(TableError):  # what is looked at first may know less, but says no else
        check_columns(path, COLUMNS)


@pytest.mark.parametrize(("content", "rows"), READ.values(), ids=READ)
def test_files_that_are_read(tmp_path, content, rows):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    table = read_table(path, COLUMNS)
    assert list(zip(*table.columns.values(), strict=True)) == rows
    assert not table.broken
    assert set(COLUMNS) <= set(read_header(path) or COLUMNS)


@pytest.mark.parametrize(("content", "broken"), RAGGED.values(), ids=RAGGED)
def test_rows_with_another_number_of_cells(tmp_path, content, broken):
    path = tmp_path / "a.csv"
    path.write_text(content)
    assert sorted(read_table(path, COLUMNS).broken) == broken


@pytest.mark.parametrize(("cell", "expected"), CELLS.values(), ids=CELLS)
def test_cells_of_parquet_files_and_frames(cell, expected):
    if isinstance(expected, str):
        assert plain_text(cell) == expected
        return
    with pytest.raises(ValueError, match=str(expected)):
        plain_text(cell)


def test_two_stray_quotation_marks_are_noted_with_their_row(tmp_path):
    lines = [f"a thing {number},{'cup' if number % 2 else 'lamp'}" for number in range(60)]
    lines[10], lines[16] = '"' + lines[10], 'a thing 16",cup'
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *lines, '"a note\nof two lines",cup', ""]))
    table = read_table(path, COLUMNS)
    assert len(table) == 55
    (note,) = table.notes
    assert note == (
        "a.csv: 2 rows have cells with line breaks: rows 12, 56. The lines of row 12 look like "
        "rows of their own: look there for a quotation mark that is not closed."
    )


def test_a_folder_a_device_and_a_pipe_are_no_tables(tmp_path):
    (tmp_path / "items.csv").mkdir()
    with pytest.raises(TableError, match="a folder, not a file"):
        read_table(tmp_path / "items.csv", COLUMNS)
    with pytest.raises(TableError, match="a device or a pipe, not a file"):
        read_table("/dev/zero", COLUMNS)
    with pytest.raises(TableError, match="a device or a pipe, not a file"):
        check_columns("/dev/zero", COLUMNS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"text": ["a"], "label": ["b", "c"]}, "an entry for each example, 2"),
        ({"text": [], "label": []}, "no rows, only names of arrays"),
        ({"text": "a", "label": ["b"]}, "an entry for each example, 1"),
        ({"text": ["a"]}, "no column 'label'"),
    ],
)
def test_archives_that_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / "a.npz", COLUMNS)


def test_an_archive_of_objects_or_something_else_executes_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", text=np.array([object()]), label=["b"], allow_pickle=True)
    (tmp_path / "b.npz").write_text(GOOD)
    np.savez(tmp_path / "c.npz", text=np.array(["a"]), label=["b"])
    newer = (
        (tmp_path / "c.npz").read_bytes().replace(b"PK\x01\x02\x2d\x03\x2d", b"PK\x01\x02\x2d\x03T")
    )
    (tmp_path / "c.npz").write_bytes(newer)
    for name in ("a.npz", "b.npz", "c.npz"):
        with pytest.raises(TableError, match="a damaged NumPy archive, or one with Python objects"):
            read_table(tmp_path / name, COLUMNS)


def items(**changes):
    """24 rows of two classes as a DataFrame, cells changed by column and row."""
    rows = [(f"{kind} {number}", kind) for kind in ("cup", "lamp") for number in range(12)]
    frame = pd.DataFrame(rows, columns=[*COLUMNS]).astype(object)
    for column, cells in changes.items():
        for row, cell in cells.items():
            frame.at[row, column] = cell
    return frame


# Cells by column and row, further arguments, and a piece of the error.
DATA = {
    "a struct for a text": ({"text": {3: {"a": 1}}}, {}, "row 3: text: a struct, not a text"),
    "a list for a text": ({"text": {3: ["a"]}}, {}, "row 3: text: a list, not a text"),
    "bytes that are no UTF-8": ({"text": {3: b"caf\xe9"}}, {}, "row 3: text: bytes that are not"),
    "half a pair in a text": ({"text": {3: "a\ud800"}}, {}, "row 3: text .*: not valid Unicode"),
    "a text of a book": ({"text": {3: "x " * 60_000}}, {}, "row 3: text: 120,000 characters"),
    "a struct for a label": ({"label": {3: {"a": 1}}}, {}, "row 3: label: a struct, not a text"),
    "broken bytes for a label": ({"label": {3: b"\xff"}}, {}, "row 3: label: bytes that are not"),
    "U+2028 in a label": ({"label": {3: "cup\u2028x"}}, {}, r"row 3: label 'cup\\u2028x': holds"),
    "U+0085 in a label": ({"label": {3: "cup\x85x"}}, {}, r"row 3: label 'cup\\x85x': holds"),
    "vertical tab in a label": ({"label": {3: "cup\x0bx"}}, {}, r"row 3: label .*: holds a line"),
    "line feed in a label": ({"label": {3: "cup\nx"}}, {}, r"row 3: label 'cup\\nx': holds a"),
    "NUL in a label": ({"label": {3: "cup\0x"}}, {}, r"row 3: label 'cup\\x00x': holds"),
    "half a pair in a label": ({"label": {3: "cup\ud800"}}, {}, r"row 3: label .*: holds"),
    "no label": ({"label": {3: None}}, {}, "row 3: label: missing"),
    "no text": ({"text": {3: ""}}, {}, "row 3: it lacks a text with words"),
    "the label as a text": ({}, {"text": "label"}, "which is the label. Leave it out"),
    "the label as an input": (
        {},
        {"inputs": {"note": {"kind": "text", "column": "label"}}},
        "which is the label. Leave it out",
    ),
    "one class": ({"label": dict.fromkeys(range(24), "cup")}, {}, "one class only, 'cup'"),
    "a class of one row": ({"label": {3: "pan"}}, {}, "row 3: label 'pan': the only row"),
    "a class nearly another": ({"label": {3: "Cup "}}, {}, "only row of its .*it is nearly 'cup'"),
    "no labels": ({"label": dict.fromkeys(range(24))}, {}, "no labels"),
    "no such column": ({}, {"label": "kind"}, "no column 'kind'"),
    "no share left": ({}, {"validation": 0.5, "test": 0.5}, "fractions that leave rows"),
    "a share of nothing": ({}, {"test": 0.0}, "a fraction above 0 and below 1"),
    "a share that is none": ({}, {"test": float("nan")}, "a fraction above 0 and below 1"),
}


@pytest.mark.parametrize(("changes", "arguments", "message"), DATA.values(), ids=DATA)
def test_data_that_are_refused(changes, arguments, message):
    arguments = {"image": None, **({} if "inputs" in arguments else {"text": "text"}), **arguments}
    if "inputs" in arguments:
        del arguments["image"]
    with pytest.raises(ValueError, match=message):
        from_table(items(**changes), **arguments)


def test_names_of_targets_that_no_file_can_hold_come_before_training():
    frame = pd.DataFrame({"text": [f"a {n}" for n in range(20)], "width\u2028cm": np.arange(20.0)})
    with pytest.raises(ValueError, match=r"`class_names`: .* Received: 'width\\u2028cm'"):
        from_table(frame, image=None, label=["width\u2028cm"], options=_options(task="regression"))


def test_bytes_are_texts_and_labels_like_others():
    changes = {"text": {3: b"cup 3"}, "label": {3: b"cup", 20: b"lamp"}}
    given, expected = (from_table(frame, image=None) for frame in (items(**changes), items()))
    assert given.class_names == ["cup", "lamp"]
    assert given.fingerprint() == expected.fingerprint()


def test_rows_with_line_breaks_are_noted_with_the_data(tmp_path):
    frame = items(text={3: "cup\n3"})
    frame.to_csv(tmp_path / "a.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = from_table(tmp_path / "a.csv", image=None)
    assert "a.csv: 1 row has a cell with line breaks: row 5." in dataset.notes


def test_structs_of_parquet_files_are_refused_as_pictures_too(tmp_path):
    frame = pd.DataFrame({"image": [{"content": b"x"}] * 4, "label": ["a", "b"] * 2})
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    (tmp_path / "a.parquet").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="a struct of content, without `bytes` or `path`"):
        from_table(tmp_path / "a.parquet", text=None)


def test_a_text_file_has_a_text_a_line(tmp_path):
    (tmp_path / "more.txt").write_bytes("\ufeffold\u2028cup\r\n\nred\x85lamp\rx\n".encode())
    options = _options(unlabelled=tmp_path / "more.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = from_table(items(), image=None, options=options)
    assert dataset.splits["transfer"].raw["text"] == ["old\u2028cup", "red\x85lamp", "x"]


def _options(**changes):
    from mmkd_tf import DatasetOptions

    return DatasetOptions(**changes)


def test_a_name_too_long_for_any_file():
    for read in (read_header, lambda path: from_table(path, image=None)):
        with pytest.raises(ValueError, match="no such file"):
            read("x" * 5000 + ".csv")
