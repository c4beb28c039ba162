"""Texts with a fault, or of an awkward form: each word is read once, or what is cut is known."""

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.edge.remarks import cut_words
from mmkd_tf.edge.tokenizer import TextReader, Tokenizer, first_words, split_words, text_bytes
from mmkd_tf.export.text_bytes import (
    as_bytes,
    default_num_bytes,
    needed_num_bytes,
    share_cut,
    text_reader,
)
from mmkd_tf.modalities.text import Text, TextOptions
from mmkd_tf.report.tables import Table, escape_markdown
from mmkd_tf.terminal import plain

VOCABULARY = ["<pad>", "<unk>", "red", "cup", "old", "lamp", "x", "größe", "茶"]
LENGTH, NUM_BYTES = 6, 32
ADDRESS = "https://example.org/a/b?c=d&e=f#g"

# Texts, and the words that are read of them in 32 bytes; all that they have where None.
TEXTS = {
    "short": ("red cup", None),
    "white space in front": (" " * 100 + "red cup", None),
    "white space between": ("red" + "\n\t " * 50 + "cup", None),
    "white space behind": ("red cup" + " " * 100, None),
    "wide spaces": ("red" + "\u3000" * 40 + "cup", None),
    "dashes": ("red" + " -" * 60 + " cup", None),
    "zeros": ("red" + "\0" * 40 + "cup", None),
    "invisible signs": ("red" + "\u200b" * 40 + "cup", None),
    "halves of pairs": ("red" + "\ud800" * 40 + "cup", None),
    "quotes of a table": ('"""red""",""cup""' + '"' * 40, None),
    "mixed": ("  RED,\r\n  old -- cup!!!  " + "." * 30, None),
    "signs of their own": ("茶" * 6 + " " * 60, None),
    "white space alone": (" \t\n" * 40, []),
    "nothing": ("", []),
    "an address in front": (f"{ADDRESS} red cup", split_words(ADDRESS)),
    "a long word in front": ("y" * 40 + " red", ["y" * 32]),
    "a long word behind": ("red cup " + "y" * 40, ["red", "cup"]),
    "cut within a word": ("red cup old lamp red cup redlamp", None),
    "cut within a longer word": (
        "red cup old lamp red cups redlamps",
        "red cup old lamp red cups".split(),
    ),
    "cut within a sign": (
        "red cup old lamp red cup red xyz茶茶",
        "red cup old lamp red cup red xyz".split(),
    ),
    "long letters": ("größe " * 8, ["größe"] * 4),
    "ends with the bytes": ("red " * 8, None),
}

# What a label or text may hold, and what the terminal shows.
SHOWN = {
    "colour": ("\x1b[31mred", "\\u001b[31mred"),
    "title of the window": ("\x1b]0;x\x07", "\\u001b]0;x\\u0007"),
    "control of one byte": ("\x9b31m", "\\u009b31m"),
    "to the line's begin": ("right\rwrong", "right\\u000dwrong"),
    "back": ("a\x08b", "a\\u0008b"),
    "delete": ("a\x7f", "a\\u007f"),
    "NUL": ("a\0b", "a\\u0000b"),
    "the other direction": ("a\u202eb", "a\\u202eb"),
    "isolated direction": ("a\u2066b", "a\\u2066b"),
    "another line": ("a\u2028b", "a\\u2028b"),
    "half a pair": ("a\udcff", "a\\udcff"),
    "line feed and tab": ("a\n\tb", "a\n\tb"),
    "letters": ("Größe 茶 👍🏽", "Größe 茶 👍🏽"),
    "joined signs": ("👩‍🔬", "👩‍🔬"),
}

# What a label may hold, and its Markdown.
MARKDOWN = {
    "bold": ("**cup**", "\\*\\*cup\\*\\*"),
    "underscores": ("__cup__", "\\_\\_cup\\_\\_"),
    "underscores within": ("student_alone", "student_alone"),
    "a link": ("[cup](http://x)", "\\[cup\\](http://x)"),
    "a picture": ("![cup](x)", "!\\[cup\\](x)"),
    "code": ("`cup`", "\\`cup\\`"),
    "a cell's end": ("a|b", "a\\|b"),
    "a tag": ("<script>", "&lt;script>"),
    "an entity": ("&lt;b", "&amp;lt;b"),
    "a heading": ("# cup", "\\# cup"),
    "a list": ("- cup", "\\- cup"),
    "a quotation": ("> cup", "\\> cup"),
    "a number": ("1. cup", "1\\. cup"),
    "a backslash": ("a\\b", "a\\\\b"),
    "struck out": ("~~cup~~", "\\~\\~cup\\~\\~"),
    "a formula": ("$x$", "\\$x\\$"),
    "lines": ("a\n\n# b", "a # b"),
    "colour": ("\x1b[31m", "\\\\u001b\\[31m"),
    "words": ("a red cup, 3.5 (new)", "a red cup, 3.5 (new)"),
}


@pytest.fixture(scope="module")
def read():
    reader = text_reader(VOCABULARY, length=LENGTH, num_bytes=NUM_BYTES, batch_size=None)
    return tf.function(reader.read, input_signature=[tf.TensorSpec([None, NUM_BYTES], tf.uint8)])


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=TEXTS)
def test_words_that_fit_into_bytes(read, text, words):
    utf8 = text_bytes(text, num_bytes=NUM_BYTES)
    kept = split_words(utf8.tobytes().rstrip(b"\0").decode())
    expected = split_words(text) if words is None else words
    assert kept == expected
    ids = read(utf8[np.newaxis]).numpy()[0].tolist()
    assert ids == Tokenizer(VOCABULARY, LENGTH)(" ".join(expected))


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=TEXTS)
def test_words_that_are_cut_are_named(text, words):
    reader = TextReader("text", (NUM_BYTES,), np.dtype("uint8"), {"most_words": LENGTH}, {})
    cut = reader.cut_words(text)
    expected = split_words(text) if words is None else words
    if words is None or len(expected) >= LENGTH:
        assert cut == []
    elif text.startswith("y"):
        assert cut == ["red"]  # the first word itself is cut and no word that is known
    else:
        assert cut == split_words(text)[:LENGTH][len(expected) :]


def test_what_is_cut_is_told_in_a_sentence():
    assert cut_words({"text": ["lamp"], "title": []}) == [
        "It lacks room for the last words of `text`, and reads it without lamp."
    ]


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("  red  cup lamp", 2, "red  cup"),
        ("red", 5, "red"),
        ("茶杯 red", 2, "茶杯"),
        (" .,", 3, ""),
        ("a-b", 1, "a"),
        ("", 1, ""),
    ],
)
def test_first_words(text, number, expected):
    assert first_words(text, number) == expected
    assert split_words(expected) == split_words(text)[:number]


def test_bytes_have_room_for_the_training_texts_as_they_stand():
    texts = ["red cup", f"  see {ADDRESS} and" + " " * 150 + "red cup", "x " * 500, ""]
    needed = needed_num_bytes(texts, VOCABULARY, 14)
    longest = max(len(first_words(text, 14).encode()) for text in texts)
    assert needed % 32 == 0 and needed >= 1.25 * longest > default_num_bytes(VOCABULARY, 14)
    assert share_cut(texts, 14, needed) == 0
    for text in texts:  # an app's bytes as they are, without a port of the tokenizer
        content = text.lstrip().encode()[:needed].decode(errors="ignore")
        assert split_words(content)[:14] == split_words(text)[:14]


def test_one_endless_text_does_not_make_every_call_slower():
    texts = ["red cup"] * 3 + ["y" * 50_000 + " red"]
    needed = needed_num_bytes(texts, VOCABULARY, LENGTH)
    assert needed == 4096
    assert share_cut(texts, LENGTH, needed) == 0.25


def test_files_are_compared_on_texts_with_white_space_too():
    text = Text(vocabulary=VOCABULARY, length=LENGTH)
    ids = np.array([[2, 3, 0, 0, 0, 0]] * 4 + [[0] * 6] * 2, np.int32)
    again, utf8 = as_bytes(ids, text, num_bytes=NUM_BYTES)
    np.testing.assert_array_equal(again, ids)
    assert utf8[0].tobytes().rstrip(b"\0") == b"red cup"
    assert len(utf8[1].tobytes().rstrip(b"\0")) == NUM_BYTES
    assert utf8[1].tobytes().startswith(b" \t\n") and b"red-" in utf8[1].tobytes()
    assert not utf8[4:].any()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"a": 1}, "a struct, not a text"),
        ([1], "a list, not a text"),
        (b"\xff", "not UTF-8 at byte 0"),
        ("a\ud800", "not valid Unicode"),
        ("x" * 100_001, "100,001 characters"),
    ],
)
def test_cells_that_are_no_texts(cell, reason):
    texts, problems = Text.read(["red", cell], TextOptions())
    assert texts[0] == "red" and len(texts) == 2
    assert list(problems) == [1] and reason in problems[1]


@pytest.mark.parametrize(("value", "message"), [(b"red", "Decode bytes"), (5, "Convert it by str")])
def test_values_that_are_no_texts(value, message):
    reader = TextReader("text", (NUM_BYTES,), np.dtype("uint8"), {}, {})
    for ask in (reader, reader.words, reader.cut_words):
        with pytest.raises(TypeError, match=message):
            ask(value)


@pytest.mark.parametrize(("text", "expected"), SHOWN.values(), ids=SHOWN)
def test_the_terminal_shows_controls_written_out(text, expected):
    assert plain(text) == expected
    assert plain(expected) == expected


@pytest.mark.parametrize(("text", "expected"), MARKDOWN.values(), ids=MARKDOWN)
def test_names_stay_text_in_markdown(text, expected):
    assert escape_markdown(text) == expected
    table = Table(("class", "n"), [(text, "1")]).to_markdown()
    assert table.splitlines()[-1] == f"| {expected} | 1 |"
