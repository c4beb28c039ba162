import keras
import numpy as np
import pytest

from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.regression import ScaledSquaredError, r2_scores

TASK = find_task("regression")
LABELS = np.array([[1.0, 100], [2, 200], [3, 300]])
VALUES = np.array([[1.0, 110], [2, 190], [5, 300]])


def test_by_hand():
    metrics = TASK.measure(labels=LABELS, outputs=VALUES, names=["a", "b"])
    first, second = metrics["per_target"]
    assert first["mean_absolute_error"] == pytest.approx(2 / 3)
    assert first["root_mean_squared_error"] == pytest.approx((4 / 3) ** 0.5)
    assert first["r2"] == pytest.approx(1 - 4 / 2)
    assert first["standard_deviation"] == pytest.approx((2 / 3) ** 0.5)
    assert second["r2"] == pytest.approx(1 - 200 / 20_000)
    assert metrics["r2"] == pytest.approx((first["r2"] + second["r2"]) / 2)
    assert metrics["mean_absolute_error"] == pytest.approx((2 / 3 + 20 / 3) / 2)


def test_the_mean_is_worth_nothing():
    means = np.broadcast_to(LABELS.mean(axis=0), LABELS.shape)
    metrics = TASK.measure(labels=LABELS, outputs=means, names=["a", "b"])
    assert metrics["r2"] == pytest.approx(0, abs=1e-12)
    for target in metrics["per_target"]:
        assert target["root_mean_squared_error"] == pytest.approx(target["standard_deviation"])


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="`values`: shape"):
        TASK.measure(labels=LABELS[:, 0], outputs=VALUES, names=["a", "b"])


def test_r2_by_hand():
    labels = np.array([[1.0, 10], [2, 10], [3, 10], [4, 10]])
    values = np.array([[1.0, 10], [2, 10], [3, 10], [2, 11]])
    # An error of 4 beside a spread of 5; the constant target is missed in one row.
    np.testing.assert_allclose(r2_scores(labels=labels, values=values), [1 - 4 / 5, 0])
    np.testing.assert_allclose(r2_scores(labels=labels, values=labels), [1, 1])
    means = np.broadcast_to(labels.mean(axis=0), labels.shape)
    np.testing.assert_allclose(r2_scores(labels=labels, values=means), [0, 1])


def test_numbers_of_any_unit_count_alike():
    deviation = LABELS.std(axis=0)
    loss = TASK.loss(TASK.target_statistics(LABELS))
    np.testing.assert_allclose(loss.scale, deviation)
    means = np.broadcast_to(LABELS.mean(axis=0), [3, 2])
    # Those who always say the mean lose 1, whatever the units.
    assert float(loss(LABELS, means)) == pytest.approx(1)
    values = means + [[0.5, 20.0]]
    error = np.mean(np.square((LABELS - values) / deviation))
    assert float(loss(LABELS, values)) == pytest.approx(error)
    soft = TASK.soft_targets(loss)
    values_of_soft = soft.loss(teacher_logits=LABELS, student_logits=values, **soft.options)
    assert float(np.mean(values_of_soft)) == pytest.approx(error)


def test_the_scaled_error_is_saved_and_weighted():
    loss = ScaledSquaredError([0.5, 2.0])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.scale == [0.5, 2.0]
    labels, values = np.zeros([2, 2]), np.array([[1.0, 0], [0, 4.0]])
    # (1 / 0.5)**2 / 2 = 2 and (4 / 2)**2 / 2 = 2, of which the second weighs three times.
    assert float(again(labels, values)) == pytest.approx(2)
    weighted = again(labels, values * [[1], [2]], sample_weight=np.array([1.0, 3.0]))
    assert float(weighted) == pytest.approx((2 + 3 * 8) / 2)
    with pytest.raises(ValueError, match="`scale`: numbers above 0"):
        ScaledSquaredError([1.0, 0.0])
