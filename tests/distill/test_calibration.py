"""A teacher is made as sure as it is right."""

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill.calibration import best_temperature, calibrate
from mmkd_tf.distill.cross_fitting import with_folds
from mmkd_tf.models.cross_fitted import cross_fitted_teacher, heads_of, temperatures_of
from mmkd_tf.models.seeding import seeded
from mmkd_tf.tasks import TASKS


def drawn_labels(logits, rng):
    """Classes drawn by the probabilities that logits stand for."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1).astype(np.int32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=[4000, 5])
    given = {"labels": drawn_labels(logits, rng), "loss": TASKS["single_label"].loss()}
    found, loss = best_temperature(logits=temperature * logits, **given)
    assert found == pytest.approx(temperature, rel=0.06)
    assert loss < float(given["loss"](given["labels"], 1.3 * logits.astype(np.float32)))
    several = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    given = {"labels": several, "loss": TASKS["multi_label"].loss()}
    found, _ = best_temperature(logits=temperature * logits, **given)
    assert found == pytest.approx(temperature, rel=0.06)


def test_a_few_right_examples_ask_for_no_boundless_certainty():
    logits = 3 * np.eye(3)[[0, 1, 2]]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found, _ = best_temperature(labels=np.arange(3), logits=logits, loss=loss)
    assert 0.3 < found < 1


def data_of(labels_of, task):
    rng = np.random.default_rng(1)
    features = rng.normal(size=[300, 4]).astype(np.float32) / 8
    examples = Examples({"teacher/text": features}, labels_of(features, rng))
    return with_folds(
        Dataset(
            name="numbers",
            splits={
                split: Examples(dict(examples.inputs), examples.labels)
                for split in ("train", "validation", "test")
            },
            class_names=["x", "y"],
            modalities={"teacher/text": FeatureVector("text", 4, "numbers")},
            task=task,
        ),
        2,
        seed=0,
    ).seen_by(teacher=True)


def test_single_heads_and_all_together_get_temperatures_of_their_own(tmp_path):
    data = data_of(lambda x, rng: drawn_labels(16 * x[:, :2], rng), "single_label")
    teacher = seeded(cross_fitted_teacher(data, folds=2), seed=0)
    kernel = np.zeros([4, 2], np.float32)
    kernel[[0, 1], [0, 1]] = 1
    # Single heads are four times too sure, or err; their mean is a half of the one head's.
    for head, size in zip(heads_of(teacher), (4.0, 4.0), strict=True):
        head.get_layer("logits").set_weights([size * kernel, np.zeros(2)])
    assert temperatures_of(teacher) == {"single": 1, "joint": 1}
    before = teacher.predict(dict(data.splits["test"].inputs), verbose=0)
    calibrate(teacher, data)
    found = temperatures_of(teacher)
    assert 2.5 < found["single"] < 6 and found["joint"] == pytest.approx(found["single"], rel=1e-3)
    after = teacher.predict(dict(data.splits["test"].inputs), verbose=0)
    np.testing.assert_allclose(after * found["joint"], before, rtol=1e-4)
    # One head that says the opposite of the other: together they say nothing, alone they do.
    heads_of(teacher)[1].get_layer("logits").set_weights([-2 * kernel, np.zeros(2)])
    calibrate(teacher, data)
    found = temperatures_of(teacher)
    assert found["joint"] == pytest.approx(1, abs=0.3) and found["single"] > 4
    teacher.save(tmp_path / "teacher.keras")
    back = keras.saving.load_model(tmp_path / "teacher.keras", compile=False)
    assert temperatures_of(back) == found


def test_numbers_have_no_temperature():
    data = data_of(lambda x, rng: x[:, :2], "regression")
    teacher = seeded(cross_fitted_teacher(data, folds=2), seed=0)
    calibrate(teacher, data)
    assert temperatures_of(teacher) == {"single": 1, "joint": 1}
    assert temperatures_of(heads_of(teacher)[0]) is None
