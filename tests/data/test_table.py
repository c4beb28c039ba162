import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmkd_tf.commands.errors import for_command_line
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError
from mmkd_tf.data.table import from_table
from mmkd_tf.edge.tokenizer import Tokenizer
from mmkd_tf.files.tables import TableError
from mmkd_tf.modalities import KINDS

SMALL = DatasetOptions(image_size=8)
SKIP = DatasetOptions(image_size=8, skip_bad_rows=True)


@pytest.fixture
def folder(tmp_path):
    """A folder with 60 different pictures."""
    random = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(random.integers(1, 256, (8, 8, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    return tmp_path


def good_rows(count=30, first=0, num_classes=2):
    return [
        (f"{number}.png", f"cup number {number}", f"class{number % num_classes}")
        for number in range(first, first + count)
    ]


def write(folder, rows, name="items.csv"):
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "text", "label"), *rows])
    return folder / name


def messages(caught):
    return [str(warning.message) for warning in caught]


def test_values_of_a_table_with_files_for_every_split(folder):
    train = write(folder, [("0.png", "Red cup", "b"), ("1.png", "blue CUP", "a")], "train.csv")
    validation = write(folder, [("2.png", "red tea", "a")], "val.csv")
    test = write(folder, [("", "cup", "b"), ("3.png", "", "a")], "test.csv")
    with pytest.warns(UserWarning, match="validation has no rows of 1 class: b"):
        dataset = from_table(train, validation=validation, test=str(test), options=SMALL)
    assert dataset.name == folder.name
    assert dataset.sizes == {"train": 2, "validation": 1, "test": 2}
    assert dataset.class_names == ["a", "b"]
    assert dataset.splits["train"].labels.tolist() == [1, 0]
    assert dataset.splits["test"].raw["text"] == ["cup", ""]
    # Words of the training split alone, the frequent one first: "tea" is unknown.
    vocabulary = ["<pad>", "<unk>", "cup", "blue", "red"]
    assert dataset.modalities["text"].vocabulary == vocabulary
    tokenizer = Tokenizer(vocabulary, 2)
    np.testing.assert_array_equal(
        dataset.splits["train"].inputs["text"], [tokenizer("Red cup"), tokenizer("blue CUP")]
    )
    np.testing.assert_array_equal(dataset.splits["validation"].inputs["text"], [[4, 1]])
    np.testing.assert_array_equal(dataset.splits["test"].inputs["text"], [[2, 0], [0, 0]])
    images = dataset.splits["test"].inputs["image"]
    np.testing.assert_array_equal(images[0], np.zeros((8, 8, 3)))
    np.testing.assert_array_equal(images[1], np.asarray(Image.open(folder / "3.png")))


def test_fractions_are_seeded_and_disjoint(folder):
    path = write(folder, good_rows(40))
    datasets = [
        from_table(path, validation=0.1, test=0.25, options=DatasetOptions(image_size=8, seed=seed))
        for seed in (0, 0, 1)
    ]
    texts = [
        [dataset.splits[split].raw["text"] for split in dataset.splits] for dataset in datasets
    ]
    assert texts[0] == texts[1] != texts[2]
    assert datasets[0].sizes == {"train": 26, "validation": 4, "test": 10}
    assert sorted(sum(texts[0], [])) == sorted(text for _, text, _ in good_rows(40))
    assert datasets[0].name == "items"
    assert datasets[0].notes == []


def test_a_fraction_beside_a_file(folder):
    test = write(folder, good_rows(10, first=30), "test.csv")
    dataset = from_table(write(folder, good_rows()), validation=0.2, test=test, options=SMALL)
    assert dataset.sizes == {"train": 24, "validation": 6, "test": 10}


@pytest.mark.parametrize("column", ["image", "text"])
def test_a_table_without_a_modality(folder, column):
    dataset = from_table(write(folder, good_rows()), **{column: None}, options=SMALL)
    assert list(dataset.modalities) == ["text" if column == "image" else "image"]
    assert list(dataset.splits["train"].inputs) == list(dataset.modalities)


def test_options_reach_the_modalities(folder):
    options = DatasetOptions(image_size=16, text_length=5, vocabulary_size=4)
    dataset = from_table(write(folder, good_rows()), options=options)
    assert dataset.splits["train"].inputs["image"].shape[1:] == (16, 16, 3)
    assert dataset.splits["train"].inputs["text"].shape[1:] == (5,)
    assert len(dataset.modalities["text"].vocabulary) == 4


def test_numeric_labels_of_any_spelling_are_one_class(folder):
    labels = ["10", "9", "10.0", "9.0"]
    rows = [(image, text, labels[n % 4]) for n, (image, text, _) in enumerate(good_rows())]
    dataset = from_table(write(folder, rows), options=SMALL)
    assert dataset.class_names == ["9", "10"]


def test_data_frames_and_parquet_files_agree_with_csv(folder):
    path = write(folder, good_rows())
    frame = pd.read_csv(path)
    frame.to_parquet(folder / "items.parquet")
    options = DatasetOptions(image_size=8, folder=folder)
    datasets = [from_table(source, options=options) for source in (path, frame)]
    datasets.append(from_table(folder / "items.parquet", options=SMALL))
    for dataset in datasets[1:]:
        for split in dataset.splits:
            expected, actual = datasets[0].splits[split], dataset.splits[split]
            np.testing.assert_array_equal(actual.inputs["image"], expected.inputs["image"])
            np.testing.assert_array_equal(actual.inputs["text"], expected.inputs["text"])
    assert [dataset.name for dataset in datasets] == ["items", "table", "items"]


def test_pictures_in_a_parquet_file(folder):
    rows = good_rows()
    content = [{"bytes": (folder / image).read_bytes(), "path": image} for image, _, _ in rows]
    frame = pd.DataFrame({"image": content, "text": "cup", "label": [row[2] for row in rows]})
    frame.to_parquet(folder / "pictures.parquet")
    dataset = from_table(folder / "pictures.parquet", options=SMALL)
    assert all(examples.inputs["image"].all() for examples in dataset.splits.values())


def test_all_problems_are_in_one_error_with_their_row_numbers(folder):
    (folder / "empty.png").touch()
    bad = [
        ("empty.png", "t", "class0"),
        ("nowhere.png", "t", ""),
        ("../outside.png", "t", "class1"),
        ("", " ... ", "class1"),
        ("31.png", "x" * 100_001, "class1"),
        ("32.png", "t", "rare"),
        ("33.png", "t"),
    ]
    path = write(folder, good_rows() + bad)
    test = write(folder, [("34.png", "t", "unheard"), ("35.png", "t", "class0")], "test.csv")
    with pytest.raises(DataError) as caught:
        from_table(path, test=test, options=SMALL)
    lines = str(caught.value).splitlines()
    assert caught.value.num_problems == 9
    expected = [
        "items: expected data that a model can learn from. Received: 9 problems:",
        f"  {path} (row 1 is the header):",
        "    row 32: picture 'empty.png': it is empty (0 bytes)",
        "    row 33: picture 'nowhere.png': there is no such file in '",
        "    row 33: label: missing",
        "    row 34: picture '../outside.png': it leads out of the folder '",
        "    row 35: neither a picture nor a text with words",
        "    row 36: text: 100,001 characters, more than 100,000",
        "    row 37: label 'rare': the only row of its class, which can't be in train and in "
        "validation too",
        "    row 38: 2 of 3 cells",
        f"  {test} (row 1 is the header):",
        "    row 2: label 'unheard': no training row has it",
        "Correct the 8 rows, or go on without them: skip_bad_rows=True",
        "Rows without a label can serve to teach the student: unlabelled_rows=True",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)
    with pytest.warns(UserWarning) as warned:
        dataset = from_table(path, test=test, options=SKIP)
    assert dataset.sizes == {"train": 26, "validation": 4, "test": 1}
    assert dataset.notes[:2] == [
        f"7 bad rows of {path.name} left out; 30 remain.",
        f"1 bad row of {test.name} left out; 1 remain.",
    ]
    assert messages(warned) == [f"items: {note}" for note in dataset.notes]
    assert "Note: 7 bad rows" in repr(dataset)


def test_the_first_twenty_problems_are_listed(folder):
    rows = good_rows() + [("", "", "class0")] * 25
    with pytest.raises(
        DataError, match=r"25 problems(?s:.*)row 51: (?s:.*)  and 5 more\."
    ) as caught:
        from_table(write(folder, rows), options=SMALL)
    assert "row 52" not in str(caught.value)


def test_a_class_that_loses_its_rows_is_left_out_with_them(folder):
    rows = good_rows() + [("40.png", "t", "rare"), ("nowhere.png", "t", "rare")]
    validation = write(folder, [("41.png", "t", "rare"), *good_rows(9, first=42)], "val.csv")
    with pytest.warns(UserWarning) as warned:
        dataset = from_table(write(folder, rows), validation=validation, options=SKIP)
    assert [message.split(" of ")[0] for message in messages(warned)] == [
        "items: 2 bad rows",
        "items: 1 bad row",
    ]
    assert dataset.class_names == ["class0", "class1"]
    assert dataset.sizes["validation"] == 9


@pytest.mark.parametrize(
    "rows, message",
    [
        ([(*row[:2], "a") for row in good_rows()], "one class only, 'a'; a classifier needs two"),
        ([(*row[:2], "") for row in good_rows()], "items.csv: no labels"),
        (
            [("", *row[1:]) for row in good_rows()],
            "no row has a picture; .* or leave out the input 'image'",
        ),
        (
            [(row[0], "", row[2]) for row in good_rows()],
            "no row has a text with words; .* or leave out the input 'text'",
        ),
        (
            [(*row[:2], f"{n}.25") for n, row in enumerate(good_rows())],
            "such as 0.25: measurements",
        ),
        ([(*row[:2], f"s{n}") for n, row in enumerate(good_rows())], "too many for classes"),
        (good_rows(4), "4 rows in .* leave none for validation: .* Add rows, or give validation"),
        ([("0.png", "t", "a\nb"), *good_rows()], r"row 2: label 'a\\nb': holds a line break"),
    ],
)
def test_tables_that_nothing_can_be_learnt_from(folder, rows, message):
    with pytest.raises(DataError, match=message):
        from_table(write(folder, rows), options=SMALL)


def test_one_row_is_enough_for_a_class_whose_splits_are_files(folder):
    train = write(folder, [*good_rows(), ("40.png", "t", "rare")])
    other = write(folder, [*good_rows(3, first=50), ("41.png", "t", "rare")], "other.csv")
    with pytest.warns(UserWarning, match="4 of 4 test rows are in validation too"):
        dataset = from_table(train, validation=other, test=other, options=SMALL)
    assert dataset.class_names == ["class0", "class1", "rare"]


def test_skipping_every_row_is_an_error(folder):
    rows = [("nowhere.png", "t", "a"), ("nowhere.png", "t", "b")]
    with pytest.raises(DataError, match="items.csv: no rows left"):
        from_table(write(folder, rows), options=SKIP)


def test_broken_unicode_in_a_data_frame_is_a_problem(folder):
    frame = pd.DataFrame(good_rows(), columns=["image", "text", "label"]).astype(object)
    frame.loc[3, "text"] = "half \ud83d a pair"
    with pytest.raises(DataError, match=r"row 3: text .* not valid Unicode"):
        from_table(frame, options=DatasetOptions(image_size=8, folder=folder))


def test_repeated_rows_stay_on_one_side(folder):
    rows = [row for row in good_rows() for _ in range(3)]
    said = r"60 rows repeat others of their split \(same picture and text, same label\): 36"
    with pytest.warns(UserWarning, match=said):
        dataset = from_table(write(folder, rows), options=SMALL)
    sides = [set(examples.raw["text"]) for examples in dataset.splits.values()]
    assert sum(map(len, sides)) == 30
    assert len(dataset.notes) == 1


def test_rows_that_contradict_each_other_stay_together_and_are_noted(folder):
    rows = [*good_rows(), ("0.png", "cup number 0", "class1"), ("3.png", "cup number 3", "class0")]
    said = r"4 rows contradict each other \(same picture and text, another label\): rows "
    with pytest.warns(UserWarning, match=said) as warned:
        dataset = from_table(write(folder, rows), options=SMALL)
    assert "rows 2 ('class0'), 32 ('class1')" in str(warned[0].message)
    sides = [set(examples.raw["text"]) for examples in dataset.splits.values()]
    assert sum(map(len, sides)) == 30 and len(dataset.notes) == 1


def test_a_class_of_contradictions_alone_is_in_every_split(folder):
    rows = [*good_rows(), *((*row[:2], "other") for row in good_rows(3))]
    with pytest.warns(UserWarning, match="6 rows contradict each other"):
        dataset = from_table(write(folder, rows), options=SMALL)
    assert all(2 in examples.labels for examples in dataset.splits.values())
    assert len(dataset.notes) == 1  # none of them makes results look better


def test_swapped_columns_are_said_in_place_of_all_rows(folder):
    rows = [(n, f"cup {n}", f"{n}.png", f"class{n % 2}") for n in range(30)]
    table = pd.DataFrame(rows, columns=["id", "title", "photo", "label"])
    table.to_csv(folder / "items.csv", index=False)
    names = {"image": "title", "text": "id"}
    with pytest.raises(TableError) as caught:
        from_table(folder / "items.csv", **names, options=SMALL)
    assert for_command_line(str(caught.value)) == (
        "`--image`: the column of picture files. Received: 'title', of whose 30 values 30 are no "
        f"file in '{folder}', such as 'cup 0'. Is it the column of pictures? Values of 'photo' "
        "look like paths: --image photo."
    )
    # Where they are named as pictures are, it is the folder that is another.
    table["title"] = [f"other/{n}.png" for n in range(30)]
    with pytest.raises(DataError, match="row 0: picture .*so it is with all 30"):
        from_table(table, **names, options=replace(SMALL, folder=folder))


def test_repeated_rows_across_files_are_counted(folder):
    # The same picture under another name is the same picture.
    Image.open(folder / "0.png").save(folder / "copy.png")
    test = [("copy.png", "cup number 0", "class0"), *good_rows(4, first=1), *good_rows(5, first=40)]
    test[2] = (test[2][0], "another text", test[2][2])
    with pytest.warns(UserWarning, match="items: 4 of 10 test rows are in train too") as warned:
        dataset = from_table(
            write(folder, good_rows()),
            validation=write(folder, good_rows(8, first=50), "val.csv"),
            test=write(folder, test, "test.csv"),
            options=SMALL,
        )
    assert len(warned) == len(dataset.notes) == 1
    assert warned[0].filename == __file__


def test_black_pictures_are_not_absent(folder):
    Image.new("RGB", (8, 8)).save(folder / "black.png")
    rows = [*good_rows(), ("black.png", "", "class0")]
    dataset = from_table(write(folder, rows), options=SMALL)
    assert "absent in" not in repr(dataset).splitlines()[1]


def test_problems_of_several_tables_are_in_one_error(folder):
    path = write(folder, good_rows())
    with pytest.raises(
        TableError,
        match=r"(?s)`table`: .*no column 'title'.*`validation`: .*no such file.*`test`: ",
    ):
        from_table(path, text="title", validation=folder / "val.csv", test=folder)
    with pytest.raises(TypeError, match="`test`: a fraction of the rows, the path .* NoneType"):
        from_table(path, test=None)


def test_arguments_without_sense_are_errors(folder):
    path = write(folder, good_rows())
    with pytest.raises(ValueError, match="`image`, `text`: a column for one of them"):
        from_table(path, image=None, text=None)
    with pytest.raises(ValueError, match="`validation`: a fraction above 0"):
        from_table(path, validation=1.5)
    with pytest.raises(ValueError, match=r"(?s)`image_size`: .*image_size=4.*`seed`.*`folder`"):
        DatasetOptions(image_size=4, seed=-1, folder=folder / "nowhere")


def coins(count=30):
    """Two pictures and two texts an item; the columns of one have other names."""
    return pd.DataFrame(
        {
            "photo_front": [f"{number}.png" for number in range(count)],
            "back": [f"{number + 1}.png" for number in range(count)],
            "title": [f"coin number {number}" for number in range(count)],
            "note": [f"found in {1900 + number}" for number in range(count)],
            "label": [f"class{number % 2}" for number in range(count)],
        }
    )


COIN_INPUTS = {
    "front": {"kind": "image", "column": "photo_front", "size": 8},
    "back": {"kind": "image", "size": 16},
    "title": {"kind": "text", "length": 2},
    "note": {"kind": "text", "vocabulary_size": 4},
}


def read_coins(frame, folder, inputs=COIN_INPUTS, **options):
    return from_table(frame, inputs=inputs, options=DatasetOptions(folder=folder, **options))


def test_two_pictures_and_two_texts_of_one_table(folder):
    frame = coins()
    frame.loc[3, ["back", "note"]] = ""
    dataset = read_coins(frame, folder)
    assert list(dataset.modalities) == list(COIN_INPUTS)
    assert [modality.name for modality in dataset.modalities.values()] == list(COIN_INPUTS)
    train = dataset.splits["train"]
    assert {name: values.shape[1:] for name, values in train.inputs.items()} == {
        "front": (8, 8, 3),
        "back": (16, 16, 3),
        "title": (2,),
        "note": (3,),
    }
    assert list(train.raw) == ["title", "note"]
    assert len(dataset.modalities["note"].vocabulary) == 4
    # Each row has its own pictures and texts.
    for examples in dataset.splits.values():
        for row, title in enumerate(examples.raw["title"]):
            number = int(title.split()[-1])
            front = np.asarray(Image.open(folder / f"{number}.png"))
            np.testing.assert_array_equal(examples.inputs["front"][row], front)
            assert examples.labels[row] == number % 2
            lacks = number == 3
            assert examples.inputs["back"][row].any() != lacks
            assert examples.raw["note"][row] == ("" if lacks else f"found in {1900 + number}")
    assert repr(dataset).count("absent in 1") == 2
    assert read_coins(frame, folder).fingerprint() == dataset.fingerprint()


def test_the_short_form_is_two_inputs_by_name(folder):
    path = write(folder, good_rows())
    by_name = {
        "image": {"kind": "image", "size": 8},
        "text": {"kind": "text", "column": "text", "vocabulary_size": 5},
    }
    short = from_table(path, options=DatasetOptions(image_size=8, vocabulary_size=5))
    assert from_table(path, inputs=by_name).fingerprint() == short.fingerprint()


def test_rows_are_the_same_only_if_all_their_inputs_are(folder):
    frame = pd.concat([coins(20)] * 2, ignore_index=True)
    other_back = frame.assign(back=[f"{number}.png" for number in range(10, 50)])
    numbers = {
        name: [
            [int(title.split()[-1]) for title in examples.raw["title"]]
            for examples in read_coins(table, folder).splits.values()
        ]
        for name, table in (("same", frame), ("other", other_back))
    }
    assert sum(len(set(side)) for side in numbers["same"]) == 20  # repeated rows stay together
    assert sum(len(set(side)) for side in numbers["other"]) > 20


def test_problems_of_inputs_by_name_are_in_one_error(folder):
    frame = coins().astype(object)
    frame.loc[2, "photo_front"] = "nowhere.png"
    frame.loc[2, "back"] = "neither.png"
    frame.loc[4, "note"] = "x" * 100_001
    frame.loc[5, ["photo_front", "back", "title", "note"]] = ""
    with pytest.raises(DataError) as caught:
        read_coins(frame, folder)
    assert caught.value.num_problems == 4
    lines = str(caught.value).splitlines()
    for line, start in zip(
        lines[2:],
        [
            "    row 2: picture 'nowhere.png': there is no such file",
            "    row 2: picture 'neither.png': there is no such file",
            "    row 4: text: 100,001 characters",
            "    row 5: neither a picture nor a text with words",
            "Correct the 3 rows",
        ],
        strict=True,
    ):
        assert line.startswith(start)
    pictures = {name: COIN_INPUTS[name] for name in ("front", "back")}
    frame = coins()
    frame.loc[5, ["photo_front", "back"]] = ""
    with pytest.raises(DataError, match="row 5: it lacks a picture, and there is no other input"):
        read_coins(frame, folder, pictures)
    with pytest.raises(DataError, match="no row has a picture; .* the input 'back'"):
        read_coins(coins().assign(back=""), folder, pictures)


def test_a_pair_may_be_of_two_pictures(folder):
    pictures = {name: COIN_INPUTS[name] for name in ("front", "back")}
    frame = coins()
    frame["back"] = [f"{number + 30}.png" for number in range(30)]
    dataset = read_coins(frame, folder, pictures, task="retrieval")
    assert dataset.task.name == "retrieval" and "30 items" in repr(dataset)


def test_columns_of_inputs_by_name_are_missed(folder):
    with pytest.raises(TableError, match=r"'photo_front'\?\); no column 'titel' \(did you"):
        read_coins(
            coins(),
            folder,
            {"front": {"kind": "image"}, "title": {"kind": "text", "column": "titel"}},
        )


def test_new_tensors_do_not_cost_memory_of_their_own(folder, monkeypatch):
    read = []
    image = KINDS["image"]
    monkeypatch.setattr(
        image, "read", lambda *a, _read=image.read, **b: read.append(_read(*a, **b)) or read[-1]
    )
    table = write(folder, good_rows(20))
    other = write(folder, good_rows(10, first=40), "other.csv")
    dataset = from_table(table, test=other, options=SMALL)
    assert dataset.splits["test"].inputs["image"] is read[1][0]


def test_class_names_to_look_at_are_among_the_notes():
    words = [f"w{number}" for number in range(24)]
    rows = {"text": words, "label": ["Food", "food", "caf\u00e9", "cafe\u0301"] * 6}
    dataset = from_table(pd.DataFrame(rows), image=None)
    assert dataset.class_names == ["Food", "caf\u00e9", "food"]
    assert "'Food' and 'food'" in "".join(dataset.notes)


def test_an_input_of_cells_needs_columns():
    with pytest.raises(TableError, match="'cells' of kind tabular names no `columns`.*'columns':"):
        from_table(pd.DataFrame({"a": [1], "label": ["x"]}), inputs={"cells": {"kind": "tabular"}})
