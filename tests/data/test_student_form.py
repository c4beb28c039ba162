import numpy as np
import pandas as pd
import pytest

from mmkd_tf.data.batches import training_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.student_form import for_student
from mmkd_tf.data.table import from_table
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

WORDS = ["red", "cup", "blue", "lamp", "old", "chair"]


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)

    def examples(count):
        # Smooth pictures, of which a smaller one shows the same.
        shade = rng.integers(40, 200, [count, 1, 1, 3])
        ramp = np.linspace(0, 50, 16).reshape(1, 1, 16, 1)
        pictures = (shade + ramp).astype(np.uint8).repeat(16, axis=1)
        pictures[0] = 0
        texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(count)]
        ids = text.to_tensor(texts).numpy()
        return Examples({"image": pictures, "text": ids}, np.arange(count, dtype="int32"), texts)

    text = Text(["<pad>", "<unk>", *WORDS], length=4)
    return Dataset(
        name="things",
        splits={"train": examples(20), "validation": examples(3), "test": examples(3)},
        class_names=list(map(str, range(20))),
        modalities={"image": Image(16), "text": text},
    )


def test_the_student_has_its_forms_and_teachers_keep_theirs(dataset):
    both = for_student(dataset, image_size=8, text_length=2, vocabulary_size=4)
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


def test_each_side_sees_its_own(dataset):
    both = for_student(dataset, image_size=8)
    student, teacher = both.seen_by(teacher=False), both.seen_by(teacher=True)
    assert student.modalities["image"].height == 8 and teacher.modalities["image"].height == 16
    assert list(student.splits["test"].inputs) == ["image", "text"]
    assert teacher.fingerprint() == dataset.fingerprint()
    assert student.fingerprint() != dataset.fingerprint()


def test_an_augmented_picture_is_the_same_view_in_both_forms(dataset):
    both = for_student(dataset, image_size=8)
    x, _ = next(iter(training_batches(both, epochs=1, batch_size=20, seed=3)))
    small = Image(8).to_tensor(x["teacher/image"]).numpy().astype(float)
    difference = np.abs(small - x["image"].numpy())
    assert difference.mean() < 2  # where views differ it is about 30
    np.testing.assert_array_equal(x["text"], x["text"])


def test_a_modality_is_taken_from_both_sides(dataset):
    without = for_student(dataset, image_size=8).without("image").splits["validation"].inputs
    assert not without["image"].any() and not without["teacher/image"].any()
    assert without["text"].any()


def test_what_is_not_asked_for_stays(dataset):
    assert for_student(dataset).fingerprint() == dataset.fingerprint()
    same = for_student(dataset, image_size=16, text_length=4)
    assert list(same.modalities) == ["image", "text"]


def test_all_problems_are_listed_at_once(dataset):
    with pytest.raises(ValueError) as error:
        for_student(dataset, image_size=32, text_length=0, vocabulary_size=2.5)
    for words in ("at most that of the teachers' pictures, 16", "text_length=0", "=2.5"):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="forms for a student already"):
        for_student(for_student(dataset, image_size=8), image_size=8)
    rows = pd.DataFrame([(f"{a} {b}", a) for a in "xyz" for b in range(9)], columns=["t", "label"])
    texts = from_table(rows, image=None, text="t")
    with pytest.raises(ValueError, match="`image_size`: None, because the data has no image"):
        for_student(texts, image_size=8)
