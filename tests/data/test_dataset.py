import re

import numpy as np
import pandas as pd
import pytest

from mmkd_tf.data.batches import training_batches
from mmkd_tf.data.dataset import Dataset, Examples, for_student
from mmkd_tf.data.table import from_table
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.tasks import find_task

WORDS = ["red", "cup", "blue", "lamp", "old", "chair"]


def pictures(rng, count):
    """Smooth pictures, of which a smaller one shows the same; the first is absent."""
    shade = rng.integers(40, 200, [count, 1, 1, 3])
    ramp = np.linspace(0, 50, 16).reshape(1, 1, 16, 1)
    made = (shade + ramp).astype(np.uint8).repeat(16, axis=1)
    made[0] = 0
    return made


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)

    def examples(count):
        texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(count)]
        inputs = {"image": pictures(rng, count), "text": text.to_tensor(texts).numpy()}
        return Examples(inputs, np.arange(count, dtype="int32"), {"text": texts})

    text = Text(vocabulary=["<pad>", "<unk>", *WORDS], length=4)
    return Dataset(
        name="things",
        splits={"train": examples(20), "validation": examples(3), "test": examples(4)},
        class_names=list(map(str, range(20))),
        modalities={"image": Image(height=16), "text": text},
    )


@pytest.fixture
def two_pictures():
    rng = np.random.default_rng(0)

    def examples(count):
        inputs = {"front": pictures(rng, count), "back": pictures(rng, count)}
        return Examples(inputs, np.arange(count, dtype="int32") % 2)

    return Dataset(
        name="coins",
        splits={"train": examples(20), "validation": examples(3), "test": examples(3)},
        class_names=["old", "new"],
        modalities={name: Image(name, height=16) for name in ("front", "back")},
    )


def test_single_examples_can_be_batched_by_keras_users(dataset):
    x, y = next(iter(dataset.train.batch(10)))
    assert x["image"].shape == (10, 16, 16, 3) and x["image"].dtype == "uint8"
    assert x["text"].shape == (10, 4) and y.shape == (10,)
    assert len(dataset.validation) == 3


def test_repr_tells_what_is_in_it(dataset):
    text = repr(dataset)
    assert "things: 20 train, 3 validation, 4 test" in text
    assert "20 classes" in text and "16 x 16 pixels; absent in 3" in text and "8 words" in text
    assert dataset.class_counts["test"]["3"] == 1 and dataset.class_counts["test"]["4"] == 0
    assert dataset.sizes == {"train": 20, "validation": 3, "test": 4}


def test_a_task_may_be_named_or_given(dataset):
    arguments = {"name": "x", "splits": dataset.splits, "class_names": [], "modalities": {}}
    assert Dataset(**arguments).task is find_task("single_label")
    assert Dataset(task="retrieval", **arguments).task is find_task("retrieval")
    assert Dataset(task=find_task("regression"), **arguments).task is find_task("regression")
    with pytest.raises(ValueError, match="`task`: one of single_label, .* Received: task='x'"):
        Dataset(task="x", **arguments)


def test_refuses_missing_splits(dataset):
    splits = {"train": dataset.splits["train"]}
    with pytest.raises(ValueError, match="`splits`: one entry for each of train, validation, test"):
        Dataset(name="x", splits=splits, class_names=["a"], modalities={})


def test_the_fingerprint_is_of_everything_that_a_model_sees(dataset, two_pictures):
    found = {dataset.fingerprint(), dataset.only(["text"]).fingerprint()}
    found |= {dataset.without(name).fingerprint() for name in ("image", "text")}
    arguments = {"name": "x", "class_names": dataset.class_names, "splits": dataset.splits}
    words = Text(vocabulary=["<pad>", "<unk>", *WORDS[::-1]], length=4)
    for modalities in (dataset.modalities, {**dataset.modalities, "text": words}):
        found |= {
            Dataset(modalities=modalities, task=task, **arguments).fingerprint()
            for task in ("single_label", "multi_label")
        }
    assert len(found) == 7  # one of the last four is the first
    assert two_pictures.without("front").fingerprint() != two_pictures.without("back").fingerprint()


def test_an_input_is_taken_away_in_tensors_and_raw_values(dataset):
    without = dataset.without("text").splits["test"]
    assert not without.inputs["text"].any() and without.inputs["image"].any()
    assert list(without.raw["text"]) == [""] * 4
    assert dataset.without("image").splits["test"].raw == dataset.splits["test"].raw
    with pytest.raises(ValueError, match="'sound'"):
        dataset.without("sound")


def test_one_of_two_pictures_is_taken_away(two_pictures):
    examples = two_pictures.without("back").splits["train"].inputs
    assert examples["front"].any() and not examples["back"].any()
    assert list(two_pictures.only(["back"]).modalities) == ["back"]


def test_the_student_has_its_forms_and_teachers_keep_theirs(dataset):
    both = for_student(dataset, image={"size": 8}, text={"length": 2, "vocabulary_size": 4})
    train = both.splits["train"].inputs
    assert {name: x.shape[1:] for name, x in train.items()} == {
        "image": (8, 8, 3),
        "text": (2,),
        "teacher/image": (16, 16, 3),
        "teacher/text": (4,),
    }
    np.testing.assert_array_equal(train["teacher/image"], dataset.splits["train"].inputs["image"])
    assert train["text"].max() <= 3 and len(both.modalities["text"].vocabulary) == 4
    assert not train["image"][0].any()  # an absent picture stays absent
    np.testing.assert_allclose(train["image"][1].mean(), train["teacher/image"][1].mean(), atol=1)


def test_one_of_two_pictures_is_smaller_for_the_student(two_pictures):
    both = for_student(two_pictures, back={"size": 8})
    assert list(both.modalities) == ["front", "back", "teacher/back"]
    train = both.splits["train"].inputs
    assert train["back"].shape[1:] == (8, 8, 3) and train["front"].shape[1:] == (16, 16, 3)
    assert both.modalities["back"].name == "back"
    assert both.seen_by(teacher=True).fingerprint() == two_pictures.fingerprint()


def test_each_side_sees_its_own(dataset):
    both = for_student(dataset, image={"size": 8})
    student, teacher = both.seen_by(teacher=False), both.seen_by(teacher=True)
    assert student.modalities["image"].height == 8 and teacher.modalities["image"].height == 16
    assert list(student.splits["test"].inputs) == ["image", "text"]
    assert teacher.fingerprint() == dataset.fingerprint()
    assert student.fingerprint() != dataset.fingerprint()


def test_an_augmented_picture_is_the_same_view_in_both_forms(dataset):
    both = for_student(dataset, image={"size": 8})
    x, _ = next(iter(training_batches(both, epochs=1, batch_size=20, seed=3)))
    small = Image(height=8).to_tensor(x["teacher/image"]).numpy().astype(float)
    difference = np.abs(small - x["image"].numpy())
    assert difference.mean() < 2  # where views differ it is about 30
    np.testing.assert_array_equal(x["text"], x["text"])


def test_a_modality_is_taken_from_both_sides(dataset):
    both = for_student(dataset, image={"size": 8})
    without = both.without("image").splits["validation"].inputs
    assert not without["image"].any() and not without["teacher/image"].any()
    assert without["text"].any()


def test_what_is_not_asked_for_stays(dataset):
    assert for_student(dataset).fingerprint() == dataset.fingerprint()
    assert for_student(dataset, image={}, text=None).fingerprint() == dataset.fingerprint()
    same = for_student(dataset, image={"size": 16}, text={"length": 4})
    assert list(same.modalities) == ["image", "text"]


def test_all_problems_are_listed_at_once(dataset):
    with pytest.raises(ValueError) as error:
        for_student(dataset, image={"size": 32}, text={"length": 0, "vocabulary_size": 2.5})
    for words in ("`image.student.size`: at most `size`, 16", "length`: .*: 0", "_size`: .*: 2.5"):
        assert re.search(words, str(error.value))
    with pytest.raises(ValueError, match="`image.student.colour`: Extra inputs are not"):
        for_student(dataset, image={"colour": "red"})
    small = for_student(dataset, image={"size": 8})
    with pytest.raises(ValueError, match="forms for a student already"):
        for_student(small, image={"size": 8})
    rows = pd.DataFrame([(f"{a} {b}", a) for a in "xyz" for b in range(9)], columns=["t", "label"])
    texts = from_table(rows, image=None, text="t")
    with pytest.raises(ValueError, match=r"`image`: one of the data's inputs, \['text'\]"):
        for_student(texts, image={"size": 8})
