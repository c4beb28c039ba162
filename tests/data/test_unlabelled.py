"""Rows without labels: read beside a table, checked, and compared with held-out rows."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from mmkd_tf.data import unlabelled as unlabelled_module
from mmkd_tf.data.dataset import TRANSFER, for_student
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError
from mmkd_tf.data.table import from_table
from mmkd_tf.files.tables import TableError
from mmkd_tf.modalities.image import Image as Picture
from mmkd_tf.modalities.text import Text


def draw(number, size=(96, 64)):
    """A picture of a few shapes, different by number."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", size, tuple(map(int, rng.integers(120, 256, 3))))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        box = [int(v) for v in (x, y, x + rng.integers(12, 40), y + rng.integers(12, 40))]
        pen.ellipse(box, fill=tuple(map(int, rng.integers(0, 256, 3))))
    return image


def content(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


PICTURES = [content(draw(number), format="PNG") for number in range(48)]


def frame(start=0, count=24, **columns):
    rows = range(start, start + count)
    made = {
        "image": [PICTURES[row] for row in rows],
        "text": [f"thing number {row}" for row in rows],
        "label": [("a", "b")[row % 2] for row in rows],
    }
    return pd.DataFrame(made | columns)


def read(more=None, table=None, **options):
    made = {"image_size": 32, "unlabelled": more, **options}
    validation, test = frame(24, 6), frame(30, 6)
    return from_table(
        frame() if table is None else table,
        validation=validation,
        test=test,
        options=DatasetOptions(**made),
    )


def transfer(dataset):
    return dataset.splits[TRANSFER]


def test_a_table_of_the_same_columns_and_its_labels_are_not_read():
    with pytest.warns(UserWarning) as caught:
        dataset = read(frame(36, 8))
    said = [str(w.message) for w in caught]
    assert sum("its labels (label) are not read" in line for line in said) == 1
    assert len(transfer(dataset)) == 8 and transfer(dataset).labels.shape == (8, 0)
    assert transfer(dataset).raw["text"][0] == "thing number 36"
    assert dataset.sizes == {"train": 24, "validation": 6, "test": 6}
    assert "8 without labels" in repr(dataset).splitlines()[0]
    counts = {"unlabelled": 8, "repeats_left_out": 0, "repeats_of_training": 0}
    assert dataset.transfer_counts == counts


def test_labelled_rows_are_as_they_are_without():
    alone, beside = read(), read(frame(36, 8).drop(columns="label"))
    assert alone.fingerprint() == beside.labelled.fingerprint() != beside.fingerprint()
    assert alone.labelled is alone and TRANSFER not in beside.labelled.splits
    assert alone.modalities["text"].vocabulary == beside.modalities["text"].vocabulary


def test_inputs_may_be_absent_or_their_column_missing():
    more = pd.DataFrame({"text": ["a new thing", "", "another"], "image": [None, PICTURES[40], ""]})
    rows = transfer(read(more))
    assert rows.inputs["image"].any((1, 2, 3)).tolist() == [False, True, False]
    assert rows.inputs["text"].any(1).tolist() == [True, False, True]
    rows = transfer(read(pd.DataFrame({"text": ["a new thing"]})))
    assert not rows.inputs["image"].any()
    with pytest.raises(TableError) as error:
        read(pd.DataFrame({"Image": ["a"], "label": ["a"]}))
    for part in ("`unlabelled`", "no column 'image' (did you mean 'Image'?)", "'label'", "text"):
        assert part in str(error.value)


def test_a_folder_of_pictures_and_a_file_of_texts(tmp_path):
    (tmp_path / "more" / "deeper").mkdir(parents=True)
    (tmp_path / "more" / "b.png").write_bytes(PICTURES[40])
    (tmp_path / "more" / "deeper" / "a.JPG").write_bytes(content(draw(41), format="JPEG"))
    (tmp_path / "more" / "notes.md").write_text("no picture")
    rows = transfer(read(tmp_path / "more"))
    assert len(rows) == 2 and rows.inputs["image"].any((1, 2, 3)).all()
    assert not rows.inputs["text"].any()
    (tmp_path / "texts.txt").write_text("\nfirst thing\n\nsecond, thing\n", encoding="utf-8")
    rows = transfer(read(str(tmp_path / "texts.txt")))
    assert rows.raw["text"] == ["first thing", "second, thing"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match=r"a folder without pictures \(\.jpg"):
        read(tmp_path / "empty")
    with pytest.raises(TableError, match="no such file"):
        read(tmp_path / "nowhere.csv")


def test_they_are_for_data_with_one_such_input(tmp_path):
    (tmp_path / "texts.txt").write_text("a thing\n")
    inputs = {
        "name": {"kind": "text", "column": "text"},
        "kind": {"kind": "text", "column": "text"},
    }
    with pytest.raises(TableError, match="one input of kind text. Received: name, kind"):
        from_table(
            frame(), inputs=inputs, options=DatasetOptions(unlabelled=tmp_path / "texts.txt")
        )
    with pytest.raises(TableError, match="one input of kind image. Received: none"):
        from_table(frame(), image=None, options=DatasetOptions(unlabelled=tmp_path))


def test_all_bad_rows_are_listed_together():
    table = frame(label=["a", "b"] * 11 + ["a", ""])
    more = pd.DataFrame({"image": [b"no picture", PICTURES[40], ""], "text": ["x", "y", " !"]})
    with pytest.raises(DataError) as error:
        read(more, table)
    listed = str(error.value)
    assert error.value.num_problems == 3
    assert "row 23: label: missing" in listed and "data.unlabelled_rows=true" in listed
    assert "the DataFrame without labels" in listed and "row 0: picture" in listed
    assert "row 2: neither a picture nor a text with words" in listed
    with pytest.warns(UserWarning, match="2 bad rows of the DataFrame without labels left out; 1 "):
        dataset = read(more, table, skip_bad_rows=True)
    assert len(transfer(dataset)) == 1 and dataset.sizes["train"] == 23


def test_rows_of_the_table_with_an_empty_label_on_request():
    table = frame(label=["a", "b"] * 10 + ["", None, " ", "b"])
    dataset = read(table=table, unlabelled_rows=True)
    assert transfer(dataset).raw["text"] == [f"thing number {row}" for row in (20, 21, 22)]
    assert dataset.sizes["train"] == 21 and dataset.transfer_counts["unlabelled_rows"] == 3
    both = read(frame(36, 2).drop(columns="label"), table, unlabelled_rows=True)
    assert {k: both.transfer_counts[k] for k in ("unlabelled", "unlabelled_rows")} == {
        "unlabelled": 2,
        "unlabelled_rows": 3,
    }
    assert transfer(both).raw["text"][1:3] == ["thing number 37", "thing number 20"]
    with pytest.raises(DataError, match="row 3: label: missing"):  # of validation
        from_table(
            table,
            validation=frame(24, 4, label=["a", "b", "a", ""]),
            test=frame(30, 6),
            options=DatasetOptions(image_size=32, unlabelled_rows=True),
        )


def test_rows_that_repeat_held_out_rows_are_left_out():
    small = content(draw(25).resize((80, 60)), format="JPEG", quality=85)
    rows = {
        "exact": (PICTURES[24], "thing number 24", True),
        "near": (small, "Thing  NUMBER, 25!", True),
        "text alone": ("", "thing number 31.", True),
        "picture alone": (PICTURES[32], "", True),
        "another text": (PICTURES[33], "something else", False),
        "of two rows": (PICTURES[33], "thing number 34", False),
        "of training": (PICTURES[3], "thing number 3", False),
        "new": (PICTURES[40], "thing number 40", False),
    }
    images, texts, repeated = zip(*rows.values(), strict=True)
    with pytest.warns(UserWarning) as caught:
        dataset = read(pd.DataFrame({"image": images, "text": texts}))
    kept = [text for text, is_repeat in zip(texts, repeated, strict=True) if not is_repeat]
    assert transfer(dataset).raw["text"] == kept
    counts = {"unlabelled": 4, "repeats_left_out": 4, "repeats_of_training": 1}
    assert dataset.transfer_counts == counts
    said = " ".join(str(w.message) for w in caught)
    assert "4 of 8 rows without labels left out" in said
    assert "4 of 8 rows without labels left out" in " ".join(dataset.notes)
    with pytest.raises(DataError, match="all of them repeat validation or test rows"):
        read(pd.DataFrame({"image": images[:4], "text": texts[:4]}))


def test_copies_of_pictures_and_texts_are_known():
    kinds = ({"format": "JPEG", "quality": 75}, {"format": "PNG"}, {"format": "WEBP"})
    originals, _ = Picture.read(PICTURES, Picture.Options(size=64))
    for kind in kinds:
        cells = [content(draw(n).resize((120, 90)), **kind) for n in range(48)]
        copies, _ = Picture.read(cells, Picture.Options(size=64))
        found = Picture.are_copies(Picture.copy_keys(copies), Picture.copy_keys(originals))
        assert found.shape == (48, 48)
        # Drawn shapes: of 48 copies nearly all, and no two different ones.
        assert found.diagonal().sum() >= 46 and (found & ~np.eye(48, dtype=bool)).sum() == 0
    texts = ["A cup: red", "a  CUP red", "a red cup", "STRASSE", "straße", ""]
    keys = Text.copy_keys(texts)
    assert Text.are_copies(keys, keys).sum() == 6 + 2 + 2
    assert Text.copy_keys([]).shape == (0, 1) and Picture.copy_keys(originals[:0]).shape == (0, 4)


def test_more_than_memory_holds_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(unlabelled_module, "available_memory", lambda: 3 * 7 * 32 * 32 * 3)
    assert len(transfer(read(frame(36, 7)))) == 7
    with pytest.raises(DataError, match=r"8 of .* \(3 copies of 3,072 bytes each") as error:
        read(frame(36, 8, image=[b"no picture"] * 8))
    assert "MiB are free" in str(error.value)


def test_other_tasks():
    more = frame(36, 4).drop(columns="label")
    numbers = frame(label=[str(row / 7) for row in range(24)])
    dataset = from_table(
        numbers, options=DatasetOptions(image_size=32, unlabelled=more, task="regression")
    )
    assert len(transfer(dataset)) == 4
    with pytest.raises(DataError, match="`unlabelled`: nothing for retrieval"):
        from_table(
            frame(), options=DatasetOptions(image_size=32, unlabelled=more, task="retrieval")
        )


def test_forms_of_the_student_have_them_too():
    dataset = for_student(read(frame(36, 5)), image={"size": 16}, text={"length": 2})
    rows = transfer(dataset).inputs
    assert rows["image"].shape == (5, 16, 16, 3) and rows["teacher/image"].shape == (5, 32, 32, 3)
    assert rows["text"].shape == (5, 2)
    assert transfer(dataset.without("text")).raw["text"] == [""] * 5
