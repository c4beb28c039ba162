import numpy as np
import pandas as pd
import pytest

from mmkd_tf.data.batches import training_batches
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError, Rows
from mmkd_tf.data.table import from_table
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import is_absent
from mmkd_tf.tasks import find_task

TASK = find_task("retrieval")


def rows(texts, colours, **problems):
    pixels = np.zeros([len(texts), 8, 8, 3], np.uint8)
    pixels[:] = np.array(colours)[:, None, None, None]
    inputs = {"photo": pixels, "title": list(texts)}
    kinds = {"photo": KINDS["image"], "title": KINDS["text"]}
    made = Rows("a table", "counted from 0", range(len(texts)), [()] * len(texts), inputs, kinds)
    made.problems = {int(index[1:]): [reason] for index, reason in problems.items()}
    return made


def test_rows_without_both_are_left_out_with_a_note_and_problems_stay():
    train = rows(["a cup", "", " ... ", "a lamp", "a pot"], [1, 2, 3, 0, 0], i4="picture: gone")
    tables, notes = TASK.complete({"train": train, "test": rows(["a cup"], [5])})
    assert tables["train"].inputs["title"] == ["a cup", "a pot"]
    assert tables["train"].problems == {1: ["picture: gone"]}
    assert notes == ["3 rows of a table without both photo and title left out."]
    assert len(tables["test"]) == 1


def test_rows_of_one_text_or_one_picture_are_one_item_across_tables():
    tables = {
        "train": rows(["Red cup!", "a lamp", "red  CUP", "a pot"], [1, 2, 3, 4]),
        "test": rows(["lamp of mine", "a pan"], [2, 9]),
    }
    TASK.number(tables)
    assert tables["train"].labels == [0, 1, 0, 2]
    assert tables["test"].labels == [1, 3]


def test_items_join_through_others():
    train = rows(["x", "y", "y", "z"], [1, 1, 2, 2])
    TASK.number({"train": train})
    assert train.labels == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["photo", "title"])
def test_half_a_pair_is_no_pair(name):
    train = rows(["a", "b"], [1, 2])
    del train.inputs[name]
    train.kinds = {other: kind for other, kind in train.kinds.items() if other != name}
    general = TASK.check({"train": train}, held_out=[], names=None)[2]
    assert len(general) == 1 and "a pair is of two inputs" in general[0]
    assert TASK.complete({"train": train}) == ({"train": train}, [])


def test_two_pictures_are_a_pair():
    train = rows(["", "", "", ""], [1, 2, 3, 4])
    train.inputs["title"] = train.inputs["photo"][[1, 1, 0, 3]]
    train.kinds = dict.fromkeys(("photo", "title"), KINDS["image"])
    train.inputs["title"][3] = 0
    tables, notes = TASK.complete({"train": train})
    assert len(tables["train"]) == 3 and len(notes) == 1
    TASK.number(tables)
    assert tables["train"].labels == [0, 0, 1]


def pictures(count):
    import io

    from PIL import Image

    contents = []
    for number in range(count):
        stream = io.BytesIO()
        Image.new("RGB", [8, 8], (number + 1, 50, 3 * number)).save(stream, "png")
        contents.append(stream.getvalue())
    return contents


def read(table, **options):
    return from_table(table, options=DatasetOptions(image_size=8, task="retrieval", **options))


def test_a_table_without_labels_becomes_pairs_and_no_item_is_in_two_splits():
    table = pd.DataFrame({"image": pictures(60), "text": [f"thing {n // 2}" for n in range(60)]})
    with pytest.warns(UserWarning, match="1 row of the DataFrame|without both"):
        dataset = read(pd.concat([table, pd.DataFrame({"image": [None], "text": ["none"]})]))
    assert dataset.task.name == "retrieval" and dataset.class_names == []
    assert "30 items" in repr(dataset) and sum(dataset.sizes.values()) == 60
    labels = [set(dataset.splits[s].labels.tolist()) for s in ("train", "validation", "test")]
    assert sum(map(len, labels)) == 30 and min(map(len, labels)) >= 3
    train = dataset.splits["train"]
    for label, text in zip(train.labels, train.raw["text"], strict=True):
        assert set(train.labels[np.array(train.raw["text"]) == text]) == {label}
    assert dataset.fingerprint() == read(table).fingerprint()


def test_both_modalities_are_in_every_training_batch():
    dataset = read(pd.DataFrame({"image": pictures(60), "text": [f"thing {n}" for n in range(60)]}))
    for batch, _ in training_batches(dataset, epochs=4, batch_size=16):
        for values in batch.values():
            assert not is_absent(values.numpy()).any()


def test_one_text_has_nothing_to_be_told_from():
    with pytest.raises(DataError, match="one text only"):
        read(pd.DataFrame({"image": pictures(12), "text": ["thing"] * 12}))
    with pytest.raises(DataError, match="left for training: one item only"):
        read(pd.DataFrame({"image": pictures(3), "text": ["a", "b", "c"]}))
