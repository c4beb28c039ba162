"""Rows without labels that a teacher answers."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.training import Recipe, distill
from mmkd_tf.distill.transfer import (
    SINGLE_WORDS,
    Draws,
    TransferRows,
    answers,
    ask,
    joined,
    unlabelled_rows,
)
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.cross_fitted import FOLD
from mmkd_tf.tasks import find_task

ROWS = TransferRows(
    values={"text": np.array([[2, 0], [3, 0], [4, 0]], np.int32)},
    index={"text": np.array([0, 1, 2], np.int32)},
    logits=np.array([[9, 0], [0, 9], [0, 0]], np.float32),
    labels=np.array([0, 1, 0], np.int32),
    sources={SINGLE_WORDS: 3},
)


def batches(number=4, size=3, left=0):
    count = number * size + left
    x = {
        "image": np.ones([count, 2, 2, 3], np.uint8),
        "text": np.full([count, 2], 7, np.int32),
        "teacher/logits": np.ones([count, 2], np.float32),
    }
    return tf.data.Dataset.from_tensor_slices((x, np.ones(count, np.int32))).batch(size)


def draws(steps=4, seed=3):
    return Draws(share=5 / 3, batch_size=3, steps=steps, seed=seed)


def added(first_step=0, seed=3, rows=ROWS, **given):
    return list(
        rows.beside(batches().skip(first_step), draws(seed=seed), first_step=first_step, **given)
    )


def test_rows_stand_behind_those_of_the_batch():
    for x, y in added():
        assert len(y) == 8 and all(len(values) == 8 for values in x.values())
        np.testing.assert_array_equal(x["text"][:3], np.full([3, 2], 7))
        np.testing.assert_array_equal(x["image"][3:], np.zeros([5, 2, 2, 3]))
        numbers = x["text"][3:, 0].numpy() - 2
        np.testing.assert_array_equal(x["teacher/logits"][3:], ROWS.logits[numbers])
        np.testing.assert_array_equal(y[3:], np.array([0, 1, 0])[numbers])


def test_a_smaller_batch_gets_fewer():
    shown = ROWS.beside(batches(1, left=1), draws(steps=2))
    assert [len(y) for _, y in shown] == [3 + 5, 1 + 2]  # 5 / 3, rounded


def test_the_draw_follows_from_the_seed_and_the_step():
    whole, rest = added(), added(first_step=2)
    for (x, _), (again, _) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(x["text"], again["text"])
    other = added(seed=4)
    assert any(
        (a["text"] != b["text"]).numpy().any() for (a, _), (b, _) in zip(whole, other, strict=True)
    )


def test_what_the_teacher_is_sure_of_is_drawn_more_often():
    rows = list(ROWS.beside(batches(400), draws(steps=400, seed=0)))
    drawn = np.concatenate([x["text"][3:, 0] for x, _ in rows])
    unsure = np.mean(drawn == 4)
    # Probabilities 1, 1 and .5 squared: 1/9 of the draws, 2,000 of them.
    assert unsure == pytest.approx(1 / 9, abs=0.03)
    assert ROWS.describe() == {"rows": {SINGLE_WORDS: 3}, "sure": 2}


class Counting:
    """An input whose augmentation adds the view, its seed being 0."""

    def augment(self, batch, seeds):
        return batch + seeds[:, 1:] * 10


def test_rows_are_augmented_anew_in_each_step_but_not_single_words():
    rows = replace(ROWS, sources={"unlabelled": 2, SINGLE_WORDS: 1})
    shown = added(rows=rows, seed=0, first_step=1, forms={"text": Counting()})
    for step, (x, _) in enumerate(shown, start=1):
        for words in x["text"][3:].numpy().tolist():
            assert words in ([2 + 10 * step, 10 * step], [3 + 10 * step, 10 * step], [4, 0])


def test_views_that_were_made_before_are_shown_in_turn():
    views = np.concatenate([ROWS.values["text"], ROWS.values["text"] + 100])
    rows = replace(ROWS, values={"text": views}, views={"text": 2})
    for step, (x, _) in enumerate(added(rows=rows, forms={"text": Counting()})):
        assert ((x["text"][3:, 0].numpy() > 100) == bool(step % 2)).all()


def test_several_sources_stand_one_after_the_other():
    pictures = np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1, 1)
    both = TransferRows(
        values={"image": pictures, "text": np.array([[8, 8]], np.int32)},
        index={"image": np.array([3, -1], np.int32), "text": np.array([-1, 0], np.int32)},
        logits=np.array([[1, 2], [3, 4]], np.float32),
        labels=np.array([1, 1], np.int32),
        sources={"unlabelled": 2},
    )
    more = replace(both, values=both.values | {"text": np.array([[9, 9]], np.int32)})
    rows = joined([None, both, ROWS, more])
    assert rows.values["image"] is pictures  # held once
    np.testing.assert_array_equal(rows.index["image"], [3, -1, -1, -1, -1, 3, -1])
    np.testing.assert_array_equal(rows.index["text"], [-1, 0, 1, 2, 3, -1, 4])
    np.testing.assert_array_equal(rows.values["text"][:, 0], [8, 2, 3, 4, 9])
    assert len(rows) == len(rows.labels) == 7
    assert joined([]) is None and joined([ROWS, None]) is ROWS

    seen = joined([both, ROWS]).read_by(["image"])
    assert (list(seen.values), len(seen)) == (["image"], 1)
    assert seen.sources == {"unlabelled": 1, SINGLE_WORDS: 0}
    np.testing.assert_array_equal(seen.changing, [True])


def toy(number, seed):
    """Texts of two words; the first tells the class."""
    labels = np.random.default_rng(seed).integers(0, 2, number).astype(np.int32)
    return Examples(
        {"text": np.stack([labels + 2, np.full(number, 6)], 1).astype(np.int32)}, labels
    )


TEXT = Text(vocabulary=["<pad>", "<unk>", "a", "b", "c", "d", "x"], length=2)


def toy_dataset(task="single_label"):
    # Words of class 0 and 1 that no labelled row has.
    new = np.array([[4, 6], [5, 6]] * 8, np.int32)
    transfer = Examples({"text": new}, np.zeros([16, 0], np.uint8))
    return Dataset(
        name="toy",
        splits={"train": toy(16, 0), "validation": toy(6, 1), "test": toy(6, 2)}
        | {"transfer": transfer},
        class_names=["first", "second"],
        modalities={"text": TEXT},
        transfer_counts={"unlabelled": 16},
        task=task,
    )


def model(seed, weights=None):
    ids = keras.Input([2], dtype="int32", name="text")
    start = keras.initializers.RandomNormal(0.0, 0.05, seed=seed)
    words = layers.Embedding(7, 2, embeddings_initializer=start)(ids)
    logits = layers.Dense(2, kernel_initializer="identity", trainable=False)
    made = keras.Model({"text": ids}, logits(layers.GlobalAveragePooling1D()(words)))
    if weights is not None:
        made.layers[1].set_weights([np.array(weights, np.float32)])
    return made


# It knows the new words c and d.
TEACHER = [[0, 0], [0, 0], [9, 0], [0, 9], [9, 0], [0, 9], [0, 0]]


def test_all_heads_answer_and_what_is_not_given_is_absent():
    inputs = {
        "text": keras.Input([1], name="text"),
        "image": keras.Input([4], name="image"),
        FOLD: keras.Input([2], name=FOLD),
    }
    logits = layers.Concatenate()([inputs["text"], layers.Dot(1)([inputs[FOLD], inputs[FOLD]])])
    plus_image = layers.Dense(2, kernel_initializer="ones")(inputs["image"])
    teacher = keras.Model(inputs, layers.Add()([logits, plus_image]))
    # Both heads by half: .5^2 + .5^2.
    np.testing.assert_allclose(ask(teacher, {"text": np.array([[3], [5]])}), [[3, 0.5], [5, 0.5]])


def test_answers_are_labels_of_the_task():
    logits = np.array([[0, 0], [-50, 50]], np.float32)
    np.testing.assert_array_equal(answers(logits, find_task("single_label")), [0, 1])
    of_labels = answers(logits, find_task("multi_label"))
    np.testing.assert_allclose(of_labels, [[0.5, 0.5], [0, 1]], atol=1e-6)
    np.testing.assert_array_equal(answers(logits, find_task("regression")), logits)


def test_rows_without_one_class_are_drawn_evenly():
    dataset = toy_dataset("multi_label")
    rows = unlabelled_rows(model(0, TEACHER), dataset)
    assert rows.confidence is None and rows.labels.shape == (16, 2)
    assert rows.describe() == {"rows": {"unlabelled": 16}, "sure": None}
    assert unlabelled_rows(model(0), dataset.labelled) is None


def taught(tmp_path, *, share, backup=None, callbacks=()):
    dataset, teacher, student = toy_dataset(), model(0, TEACHER), model(1)
    recipe = Recipe(epochs=6, batch_size=8, learning_rate=0.1, weight_decay=0, seed=3)
    kept = cache_soft_targets(
        teacher=teacher, dataset=dataset.labelled, folder=tmp_path / "soft", views=6, seed=3
    )
    distill(
        student=student,
        teacher=kept,
        dataset=dataset.labelled,
        recipe=recipe,
        transfer=unlabelled_rows(teacher, dataset),
        transfer_share=share,
        backup=backup,
        callbacks=callbacks,
    )
    return student


def test_the_student_learns_what_only_they_show(tmp_path):
    new = toy_dataset().splits["transfer"].inputs
    at_start = model(1).layers[1].get_weights()[0]
    without = taught(tmp_path, share=0)
    np.testing.assert_array_equal(without.layers[1].get_weights()[0][4:6], at_start[4:6])
    learnt = taught(tmp_path, share=0.5).predict(new, verbose=0).argmax(1)
    np.testing.assert_array_equal(learnt, [0, 1] * 8)


class StopAt(keras.callbacks.Callback):
    """Fails as a power cut does, after some epochs."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_training_sees_the_same_rows(tmp_path):
    expected = taught(tmp_path, share=0.5).get_weights()
    backup = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path, share=0.5, backup=backup, callbacks=[StopAt()])
    found = taught(tmp_path, share=0.5, backup=backup).get_weights()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
