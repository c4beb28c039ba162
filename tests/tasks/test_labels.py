import numpy as np
import pandas as pd
import pytest

from mmkd_tf.tasks.labels import (
    label_text,
    look_like_no_classes,
    name_classes,
    notes_on_classes,
)


@pytest.mark.parametrize("cell", [None, np.nan, pd.NA, pd.NaT, "", "  ", "nan", "NaN"])
def test_missing_labels_are_empty(cell):
    assert label_text(cell) == ""


@pytest.mark.parametrize(
    "cell, text",
    [(" cup ", "cup"), ("None", "None"), ("NA", "NA"), (3, "3"), (True, "True")]
    + [("cafe\u0301", "caf\u00e9"), ("\ufeffcup\u200b", "cup"), ("\u200b", "")]
    + [("\U0001f468\u200d\U0001f467", "\U0001f468\u200d\U0001f467")],  # a family
)
def test_other_labels_are_text(cell, text):
    assert label_text(cell) == text


def test_numbers_are_classes_by_value_in_their_order():
    class_of, names = name_classes(["10", "9", "9.0", "2.5", "-1", ""])
    assert names == ["-1", "2.5", "9", "10"]
    assert class_of == {"10": "10", "9": "9", "9.0": "9", "2.5": "2.5", "-1": "-1"}


def test_codes_stay_apart():
    codes = ["01", "1", "100000", "1E5", "3.1", "3.10", "+7", "7"]
    assert name_classes(codes)[1] == ["01", "1", "3.1", "3.10", "+7", "7", "100000", "1E5"]


def test_names_that_are_known_are_found_in_any_unicode_form():
    class_of, names = name_classes(["caf\u00e9"], ["cafe\u0301", "tea"])
    assert class_of["caf\u00e9"] == names[0] == "cafe\u0301"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Food", "drink", "food"], "'Food' and 'food'"),
        (["ice cream", "ice  cream", "Ice-Cream"], "'ice cream' and 'ice  cream' and 'Ice-Cream'"),
        (["a\u00a0b", "a b"], r"'a\xa0b' and 'a b'"),
        (["01", "1"], "'01' and '1'"),
        (["\u2764", "\u2764\ufe0f"], "'\u2764' and '\u2764\ufe0f'"),
        (["3.25", "4", "4.5"], "numbers with fractions (3.25, 4.5)"),
        (["-1", "1", "1-2", "12", "C", "C++", "a1", "a-1"], ""),
        (["3.25", "tea"], ""),
    ],
)
def test_names_that_people_should_look_at_are_noted(names, said):
    notes = notes_on_classes(names, one_class=True)
    assert len(notes) == bool(said) and said in "".join(notes), notes
    if "fractions" in said:
        assert "--task regression" in notes[0] and not notes_on_classes(names, one_class=False)


def test_long_numbers_keep_their_digits():
    assert name_classes(["12345678901234567890", "12345678901234567891"])[1] == [
        "12345678901234567890",
        "12345678901234567891",
    ]


def test_one_word_makes_all_labels_words():
    assert name_classes(["10", "9", "9.0", "tea"])[1] == ["10", "9", "9.0", "tea"]
    assert name_classes(["1_0", "2"])[1] == ["1_0", "2"]


def test_what_can_not_be_classes():
    prices = [f"{number}.5" for number in range(30)]
    assert "30 different values in 299 rows, such as 0.5: measurements" in look_like_no_classes(
        prices, 299
    )
    assert look_like_no_classes(prices, 300) == ""
    names = [f"sku{number}" for number in range(30)]
    assert "such as 'sku0': too many for classes" in look_like_no_classes(names, 59)
    assert look_like_no_classes(names, 60) == ""
    assert look_like_no_classes(names[:20], 20) == ""


def test_whole_numbers_that_hardly_repeat_are_numbers_too():
    prices = [str(100 * price) for price in range(30)]
    assert "learn them as numbers" in look_like_no_classes(prices, 40)
    assert look_like_no_classes(prices, 60) == ""  # as many classes of two rows each
