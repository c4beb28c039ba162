import csv

import pandas as pd
import pytest

from mmkd_tf.files.tables import TableError, read_table

COLUMNS = ("image", "text", "label")


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def test_words_for_nothing_are_kept_and_row_numbers_are_a_spreadsheets(tmp_path):
    path = write(tmp_path / "a.csv", "image,text,label\r\na,None,NA\r\n\r\n,,\r\nb,nan,null\r\n")
    table = read_table(path, COLUMNS)
    assert table.columns == {"image": ["a", "b"], "text": ["None", "nan"], "label": ["NA", "null"]}
    assert list(table.numbers) == [2, 5]
    assert table.counting == "row 1 is the header"
    assert table.folder == tmp_path


def test_a_cell_with_line_breaks_is_one_row(tmp_path):
    path = write(tmp_path / "a.csv", 'image,text,label\na,"two\nlines, ""quoted""",x\nb,t,y\n')
    table = read_table(str(path), COLUMNS)
    assert table.columns["text"] == ['two\nlines, "quoted"', "t"]
    assert list(table.numbers) == [2, 3]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_and_byte_order_marks(tmp_path, separator, encoding):
    lines = ["image,text,label,other", "a,größer | 茶,x,1"]
    path = write(tmp_path / "a.csv", "\n".join(lines).replace(",", separator), encoding)
    assert read_table(path, COLUMNS).columns["text"] == ["größer | 茶"]


def test_parquet_files_and_data_frames(tmp_path):
    frame = pd.DataFrame({"image": [b"x", None], "text": ["a", None], "label": [1, 2], "other": 0})
    frame.index = [7, 8]
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (tmp_path / "a.parquet", frame):
        table = read_table(source, ("label", "image"))
        assert table.columns == {"label": [1, 2], "image": [b"x", None]}
        assert list(table.numbers) == [0, 1]
        assert "counted from 0" in table.counting


def test_rows_with_another_number_of_cells_are_named(tmp_path):
    path = write(tmp_path / "a.csv", "image,text,label\na,b\nc,d,e\nf,g,h,i\n")
    table = read_table(path, COLUMNS)
    assert sorted(table.broken) == [0, 2]
    assert table.broken[2].startswith("4 of 3 cells")
    assert table.columns["label"] == ["", "e", "h"]


def test_long_cells_are_read_and_the_csv_module_is_left_as_it_was(tmp_path):
    path = write(tmp_path / "a.csv", "image,text,label\na," + "x" * 1_000_000 + ",y\n")
    limit = csv.field_size_limit()
    assert len(read_table(path, COLUMNS).columns["text"][0]) == 1_000_000
    assert csv.field_size_limit() == limit


def test_missing_columns_are_listed_with_those_there_are(tmp_path):
    path = write(tmp_path / "a.csv", "Images,title,label,label\na,b,c,d\n")
    with pytest.raises(
        TableError,
        match=r"no column 'image' \(did you mean 'Images'\?\); no column 'text'; column 'label' "
        r"is there 2 times. Its columns are 'Images', 'title', 'label', 'label'",
    ):
        read_table(path, COLUMNS)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"image,text,label\n\n", "no rows, only column names"),
        (b"PK\x03\x04...", "this is a spreadsheet or zip file; save it as 'CSV UTF-8'"),
        (b"PAR1 and no more", "a damaged Parquet file"),
        (
            "image,text,label\na,b,c\nd,un café noir,e\n".encode("cp1252"),
            r"not UTF-8 at byte 31, in line 3, near '.*un café noir.*'. "
            r"The encoding is probably Windows-1252: save .*"
            r"iconv -f WINDOWS-1252 -t UTF-8 'a\.csv'",
        ),
        ("image,text,label\na,b,c\n".encode("utf-16"), "probably UTF-16"),
        ("image,text,label\na,b,c\n".encode("utf-16-le"), "probably UTF-16"),
    ],
)
def test_files_that_are_no_table(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / "a.csv", COLUMNS)


def test_missing_files(tmp_path):
    write(tmp_path / "items.csv", "x")
    with pytest.raises(TableError, match=r"no such file\. Did you mean '.*items\.csv'\?"):
        read_table(tmp_path / "item.csv", COLUMNS)
    with pytest.raises(TableError, match="the folder '.*nowhere' does not exist either"):
        read_table(tmp_path / "nowhere" / "items.csv", COLUMNS)
    with pytest.raises(TableError, match="a folder, not a file"):
        read_table(tmp_path, COLUMNS)
    with pytest.raises(TypeError, match="Received: int"):
        read_table(5, COLUMNS)
    with pytest.raises(TableError, match="the DataFrame: no rows"):
        read_table(pd.DataFrame({"label": []}), ["label"])
