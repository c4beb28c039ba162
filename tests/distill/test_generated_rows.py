"""Rows without labels that are made of the training rows and of words."""

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill.generated_rows import Generator
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.cross_fitted import FOLD

WORDS = ["apple", "plum", "sea", "lake"]
TEXTS = ["apple plum", "plum", "sea lake", "lake sea sea", "", "apple apple plum"]
LABELS = np.array([0, 0, 1, 1, 0, 0], np.int32)


class Backbone:
    name, dim = "words", 2


class Words:
    """Says of a text how many of its words are fruit, and how many water."""

    backbone, fingerprint = Backbone, "words"

    def __init__(self):
        self.asked = []

    def features(self, texts):
        self.asked += texts
        found = [[sum(w in WORDS[s] for w in split_words(t)) for s in _SIDES] for t in texts]
        return np.array(found, np.float32)


_SIDES = (slice(0, 2), slice(2, 4))


class Pictures:
    """Says how red and how green a picture is."""

    backbone, fingerprint = Backbone, "pictures"

    def features(self, pictures):
        return pictures.mean((1, 2))[:, :2].astype(np.float32)


def teacher():
    """Says what features sum up to."""
    given = {name: keras.Input([2], name=name) for name in ("image", "text", FOLD)}
    whole = layers.Add()([given["image"], given["text"]])
    by_fold = layers.Dense(2, kernel_initializer="zeros")(given[FOLD])
    return keras.Model(given, layers.Add()([whole, by_fold]))


@pytest.fixture(scope="module")
def dataset():
    text = Text(vocabulary=["<pad>", "<unk>", *WORDS], length=3)
    pictures = np.zeros([6, 8, 8, 3], np.uint8)
    pictures[np.arange(6), :, :, LABELS] = np.arange(40, 100, 10)[:, None, None]
    pictures[1] = 0  # absent
    inputs = {
        "image": pictures,
        "text": text.to_tensor(TEXTS).numpy(),
        "teacher/image": Pictures().features(pictures),
        "teacher/text": Words().features(TEXTS),
        f"teacher/{FOLD}": np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]],
    }
    examples = Examples(inputs, LABELS, {"text": TEXTS})
    return Dataset(
        name="things",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=["fruit", "water"],
        modalities={
            "image": Image(height=8),
            "text": text,
            **{f"teacher/{n}": FeatureVector(n, 2, n) for n in ("image", "text", FOLD)},
        },
    )


@pytest.fixture
def generator(dataset):
    return Generator(teacher(), dataset, {"image": [Pictures()], "text": [Words()]}, seed=3)


def texts_of(rows):
    """Words of each row, none where the text is absent."""
    ids = rows.values["text"][rows.index["text"]]
    ids[rows.index["text"] < 0] = 0
    return [[["<pad>", "<unk>", *WORDS][i] for i in row if i] for row in ids]


def pictures_of(rows):
    """Colours of each row's picture."""
    if "image" not in rows.values:
        return np.zeros([len(rows), 2])
    held = rows.values["image"][rows.index["image"]].mean((1, 2))[:, :2]
    return np.where((rows.index["image"] < 0)[:, None], 0, held)


def counts_of(rows):
    return Words().features([" ".join(words) for words in texts_of(rows)])


WAYS = ("word_rows", "recombined_rows", "word_dropout_rows", "neighbour_rows", "mixup_rows")


@pytest.mark.parametrize("way", WAYS)
def test_the_teacher_answers_what_the_student_reads(generator, way):
    rows = getattr(generator, way)(20)
    assert list(rows.sources) == [way] and rows.sources[way] == len(rows) > 0
    text = counts_of(rows) if "text" in rows.values else 0
    # A text may be longer than the student reads; none is here, after changes.
    np.testing.assert_allclose(rows.logits, text + pictures_of(rows), atol=1e-3)
    np.testing.assert_array_equal(rows.labels, rows.logits.argmax(1))


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides(dataset, generator, way):
    first, again = (getattr(generator, way)(2) for _ in range(2))
    np.testing.assert_array_equal(first.logits, again.logits)
    for name, values in first.values.items():
        np.testing.assert_array_equal(values, again.values[name])
        np.testing.assert_array_equal(first.index[name], again.index[name])
    assert len(first) <= 2 * dataset.sizes["train"]
    if way != "word_rows":  # there are four words
        other = Generator(generator.teacher, dataset, generator.encoders, seed=4)
        assert not np.array_equal(getattr(other, way)(2).logits, first.logits)


def test_words_come_alone_and_once(generator):
    rows = generator.word_rows(100)
    assert texts_of(rows) == [[word] for word in WORDS]
    assert len(generator.word_rows(0.5)) == 3
    assert not rows.changing.any()


def test_recombined_inputs_are_of_one_class_but_not_of_one_row(generator):
    rows = generator.recombined_rows(50)
    image, text = rows.index["image"], rows.index["text"]
    assert len(rows) > 100 and (image != text).all()
    assert (image >= 0).all() and (text >= 0).all()
    assert not np.isin(image, 1).any() and not np.isin(text, 4).any()  # which are absent there
    np.testing.assert_array_equal(LABELS[image], LABELS[text])
    np.testing.assert_array_equal(rows.labels, LABELS[image])
    assert rows.values["image"] is generator.dataset.splits["train"].inputs["image"]


def test_texts_lose_words_but_never_all(generator):
    rows = generator.word_dropout_rows(30)
    said = [split_words(text) for text in TEXTS]
    for words in texts_of(rows):
        assert any(0 < len(words) < len(one) and set(words) <= set(one) for one in said)
    there = rows.index["image"] >= 0
    assert not there[::2].any() and there[1::2].any()


def test_words_become_near_ones(generator):
    rows = generator.neighbour_rows(30)
    said = [split_words(text) for text in TEXTS]
    for words in texts_of(rows):
        assert any(
            len(words) == len(one) and 0 < sum(a != b for a, b in zip(words, one, strict=True))
            for one in said
        )


def test_mixed_pictures_lie_between_two(generator):
    rows = generator.mixup_rows(20)
    assert list(rows.values) == ["image"] and len(rows) == 120
    present = generator.dataset.splits["train"].inputs["image"][[0, 2, 3, 4, 5]]
    assert rows.values["image"].max() <= present.max()
    both = (rows.values["image"][:, 0, 0, :2] > 0).all(1)
    assert both.any() and not both.all()


def test_features_are_kept_on_disk(dataset, tmp_path):
    counting = Words()
    for _ in range(2):
        Generator(teacher(), dataset, {"text": [counting]}, 3, tmp_path).word_dropout_rows(2)
        assert len(list(tmp_path.glob("words-*.npz"))) == 1
    assert len(counting.asked) == len(set(counting.asked)) > 0
