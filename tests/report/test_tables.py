import pytest

from mmkd_tf.report.tables import (
    Table,
    capitalized,
    escape_markdown,
    figure,
    points_interval,
    wrapped,
)

TABLE = Table(("name", "size", ""), [("a|b<", "1.25", "why"), ("c", "10.50", "")])


def test_a_row_has_as_many_cells_as_there_are_columns():
    with pytest.raises(ValueError, match=r"2 cells in each.*Received: \[\('a', '1', '2'\)\]"):
        Table(("name", "size"), [("a", "1", "2")])


def test_columns_of_words_come_first_or_have_no_title():
    assert [TABLE.holds_words(place) for place in range(3)] == [True, False, True]
    assert TABLE.without("name").columns == ("size", "")
    assert TABLE.without("name", "").rows == [("1.25",), ("10.50",)]
    assert not TABLE.without("name").holds_words(0)


def test_markdown_is_escaped_and_aligned():
    assert TABLE.to_markdown().splitlines() == [
        "| name | size |  |",
        "| --- | ---: | --- |",
        "| a\\|b&lt; | 1.25 | why |",
        "| c | 10.50 |  |",
    ]
    titled = Table(("a",), [("b\nc",)], "A title")
    assert titled.to_markdown() == "A title:\n\n| a |\n| --- |\n| b c |"
    assert escape_markdown("a\\") == "a\\\\"


def test_text_has_figures_on_the_right():
    assert TABLE.to_text(80).splitlines() == [
        "name   size",
        "a|b<   1.25  why",
        "c     10.50",
    ]
    assert Table(("a",), [], "Nothing").to_text(80) == "Nothing:\na"


def test_titles_take_lines_before_words_and_words_before_figures():
    table = Table(("name", "95 % over seeds"), [("one long name", "-1.0 to +2.0")])
    assert table.to_text(27).splitlines() == [
        "                  95 % over",
        "name                  seeds",
        "one long name  -1.0 to +2.0",
    ]
    assert table.to_text(20).splitlines()[-3:] == ["one     -1.0 to +2.0", "long", "name"]


@pytest.mark.parametrize("width", [8, 15, 30, 80])
def test_nothing_is_lost_however_narrow(width):
    table = Table(("file", "KiB"), [("student_small.tflite", "1,234.5"), ("[b]x[/b] :smile:", "1")])
    lines = table.to_text(width).splitlines()
    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert all(sign in shown for sign in "student_small.tflite[b]x[/b]:smile:1,234.5")
    if width >= 30:
        assert "student_small.tflite" in shown and "[b]x[/b] :smile:" in table.to_text(width)


def test_names_are_broken_behind_their_signs():
    rows = [("student_image_small.tflite", "a-long/name", "1.25"), ("鍋" * 8, "b", "-10.50")]
    lines = Table(("file", "of", "KiB"), rows, num_words=2).to_text(32).splitlines()
    assert lines[1:4] == [
        "student_image_    a-long/   1.25",
        "small.tflite      name",
        "鍋鍋鍋鍋鍋鍋鍋鍋  b       -10.50",
    ]
    name = Table(("file",), [("student_small.tflite",)])
    assert name.to_text(14) == "file\nstudent_small\n.tflite"
    wide = Table(("file", "of", "KiB"), rows, num_words=2).to_text(80)
    assert "student_image_small.tflite  a-long/name    1.25" in wide


def test_wide_letters_take_two_columns():
    first, second = Table(("", "n"), [("鍋", "1"), ("ab", "2")]).to_text(80).splitlines()[1:]
    assert first == "鍋  1" and second == "ab  2"


def test_prose_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "About the interval of the mean (95 % over seeds), which is wide."
    assert all(len(line) <= 40 for line in wrapped(text).splitlines())
    assert "95 %" in wrapped(text) and wrapped(text).replace("\n", " ") == text


def test_figures_in_words():
    assert figure(None, ".3f") == "-" and figure(3, "") == "3" and figure(0.25, ".1f") == "0.2"
    assert points_interval((-0.012, 0.003)) == "-1.2 to +0.3" and points_interval(None) == "-"
    assert capitalized("mean F1") == "Mean F1" and capitalized("") == ""
