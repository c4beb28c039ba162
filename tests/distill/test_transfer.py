"""Rows without labels that a teacher answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.transfer import TransferRows, word_rows
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.cross_fitted import FOLD

ROWS = TransferRows(
    inputs={"text": np.array([[2, 0], [3, 0], [4, 0]], np.int32)},
    logits=np.array([[9, 0], [0, 9], [0, 0]], np.float32),
)


def batches(number=4, size=3):
    x = {
        "image": np.ones([number * size, 2, 2, 3], np.uint8),
        "text": np.full([number * size, 2], 7, np.int32),
        "teacher/logits": np.ones([number * size, 2], np.float32),
    }
    return tf.data.Dataset.from_tensor_slices((x, np.ones(number * size, np.int32))).batch(size)


def added(first_step=0, seed=3):
    given = {"per_batch": 5, "first_step": first_step, "steps": 4, "seed": seed}
    return list(ROWS.beside(batches().skip(first_step), **given))


def test_rows_stand_behind_those_of_the_batch():
    for x, y in added():
        assert len(y) == 8 and all(len(values) == 8 for values in x.values())
        np.testing.assert_array_equal(x["text"][:3], np.full([3, 2], 7))
        np.testing.assert_array_equal(x["image"][3:], np.zeros([5, 2, 2, 3]))
        numbers = x["text"][3:, 0].numpy() - 2
        np.testing.assert_array_equal(x["teacher/logits"][3:], ROWS.logits[numbers])
        np.testing.assert_array_equal(y[3:], np.array([0, 1, 0])[numbers])


def test_the_draw_follows_from_the_seed_and_the_step():
    whole, rest = added(), added(first_step=2)
    for (x, _), (again, _) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(x["text"], again["text"])
    other = added(seed=4)
    assert any(
        (a["text"] != b["text"]).numpy().any() for (a, _), (b, _) in zip(whole, other, strict=True)
    )


def test_what_the_teacher_is_sure_of_is_drawn_more_often():
    rows = list(ROWS.beside(batches(400), per_batch=5, first_step=0, steps=400, seed=0))
    drawn = np.concatenate([x["text"][3:, 0] for x, _ in rows])
    unsure = np.mean(drawn == 4)
    # Probabilities 1, 1 and .5 squared: 1/9 of the draws, 2,000 of them.
    assert unsure == pytest.approx(1 / 9, abs=0.03)


class Encoder:
    """Says of a word how long it is."""

    def features(self, words):
        return np.array([[len(word)] for word in words], np.float32)


def test_words_are_asked_one_at_a_time():
    text = Text(vocabulary=["<pad>", "<unk>", "cup", "table"], length=3)
    examples = Examples({"text": np.zeros([2, 3], np.int32)}, np.array([0, 1], np.int32))
    dataset = Dataset(
        name="words",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=["a", "b"],
        modalities={"text": text},
    )
    inputs = {
        "text": keras.Input([1], name="text"),
        "image": keras.Input([4], name="image"),
        FOLD: keras.Input([2], name=FOLD),
    }
    logits = layers.Concatenate()([inputs["text"], layers.Dot(1)([inputs[FOLD], inputs[FOLD]])])
    plus_image = layers.Dense(2, kernel_initializer="ones")(inputs["image"])
    teacher = keras.Model(inputs, layers.Add()([logits, plus_image]))
    rows = word_rows(teacher, dataset, {"text": Encoder()})
    np.testing.assert_array_equal(rows.inputs["text"], [[2, 0, 0], [3, 0, 0]])
    # The lengths of the words; both heads by half: .5^2 + .5^2.
    np.testing.assert_allclose(rows.logits, [[3, 0.5], [5, 0.5]])
    assert word_rows(teacher, dataset, {}) is None
