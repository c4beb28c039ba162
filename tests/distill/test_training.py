import dataclasses

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import build_student, build_teacher
from mmkd_tf.models.seeding import seeded


def examples(count, seed):
    """The class is told by the colour of the picture and, once more, by the text's word."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype("int32")
    pictures = rng.integers(0, 120, [count, 16, 16, 3])
    pictures[np.arange(count), :, :, labels] += 100
    texts = np.stack([labels + 2, np.zeros(count)], 1).astype("int32")
    return Examples({"image": pictures.astype(np.uint8), "text": texts}, labels)


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="colours",
        splits={"train": examples(48, 0), "validation": examples(16, 1), "test": examples(16, 2)},
        class_names=["red", "green", "blue"],
        modalities={
            "image": Image(height=16),
            # The form that is traced soonest.
            "text": Text(vocabulary=["<pad>", "<unk>", "r", "g", "b"], length=2, encoder="average"),
        },
    )


TEACHING = Recipe(epochs=6, batch_size=16)
LEARNING = Recipe(epochs=4, batch_size=16, seed=5)


@pytest.fixture(scope="module")
def teacher(dataset):
    return train(seeded(build_teacher(dataset), seed=0), dataset, TEACHING)


def alone(dataset, recipe=LEARNING, **where):
    return train(seeded(build_student(dataset), seed=1), dataset, recipe, **where)


@pytest.fixture(scope="module")
def student_alone(dataset):
    return alone(dataset)


class StopAt(keras.callbacks.Callback):
    """Fails as a power cut does, after some epochs."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def accuracy(model, split):
    logits = model.predict(dict(split.inputs), verbose=0)
    return (logits.argmax(1) == split.labels).mean()


def test_a_teacher_and_a_distilled_student_learn(dataset, teacher):
    student = seeded(build_student(dataset), seed=1)
    recipe = Recipe(epochs=20, batch_size=8, learning_rate=1e-2)
    returned = distill(student=student, teacher=teacher, dataset=dataset, recipe=recipe)
    assert returned is student
    assert accuracy(teacher, dataset.splits["test"]) > 0.9
    assert accuracy(student, dataset.splits["test"]) > 0.9


@pytest.mark.parametrize("distilled", [False, True])
def test_an_interrupted_training_ends_with_the_same_weights(
    dataset, teacher, student_alone, tmp_path, distilled
):
    def fit(**where):
        if not distilled:
            return alone(dataset, **where)
        model = seeded(build_student(dataset), seed=1)
        return distill(student=model, teacher=teacher, dataset=dataset, recipe=LEARNING, **where)

    expected = (fit() if distilled else student_alone).get_weights()
    with pytest.raises(KeyboardInterrupt):
        fit(backup=tmp_path, callbacks=[StopAt(2)])
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000002.npz"]
    for a, b in zip(expected, fit(backup=tmp_path).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_damaged_state_is_named(dataset, tmp_path):
    (tmp_path / "epoch-000001.npz").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match="epoch-000001.npz.*damaged file"):
        train(build_student(dataset), dataset, Recipe(epochs=2), backup=tmp_path)


def test_dropout_goes_on_too(dataset, teacher, tmp_path):
    def fit(**where):
        return train(seeded(build_teacher(dataset), seed=0), dataset, TEACHING, **where)

    with pytest.raises(KeyboardInterrupt):
        fit(backup=tmp_path, callbacks=[StopAt(3)])
    for a, b in zip(teacher.get_weights(), fit(backup=tmp_path).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(dataset, student_alone):
    first, again = student_alone.get_weights(), alone(dataset).get_weights()
    other = alone(dataset, dataclasses.replace(LEARNING, seed=6)).get_weights()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_a_step_is_traced_once(dataset):
    model, traced = build_student(dataset), []
    step = model.train_step
    model.train_step = lambda data: traced.append(data) or step(data)
    train(model, dataset, Recipe(epochs=1, batch_size=16))
    assert len(traced) == 1
