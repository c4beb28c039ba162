import numpy as np
import pytest

from mmkd_tf.evaluate.by_task import agreement, measure
from mmkd_tf.evaluate.regression import regression_metrics

LABELS = np.array([[1.0, 100], [2, 200], [3, 300]])
VALUES = np.array([[1.0, 110], [2, 190], [5, 300]])


def test_by_hand():
    metrics = regression_metrics(labels=LABELS, values=VALUES, target_names=["a", "b"])
    first, second = metrics.per_target
    assert first.mean_absolute_error == pytest.approx(2 / 3)
    assert first.root_mean_squared_error == pytest.approx((4 / 3) ** 0.5)
    assert first.r2 == pytest.approx(1 - 4 / 2)
    assert first.standard_deviation == pytest.approx((2 / 3) ** 0.5)
    assert second.r2 == pytest.approx(1 - 200 / 20_000)
    assert metrics.r2 == pytest.approx((first.r2 + second.r2) / 2)
    assert metrics.mean_absolute_error == pytest.approx((2 / 3 + 20 / 3) / 2)


def test_the_mean_is_worth_nothing():
    means = np.broadcast_to(LABELS.mean(axis=0), LABELS.shape)
    metrics = regression_metrics(labels=LABELS, values=means, target_names=["a", "b"])
    assert metrics.r2 == pytest.approx(0, abs=1e-12)
    for target in metrics.per_target:
        assert target.root_mean_squared_error == pytest.approx(target.standard_deviation)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="`values`: shape"):
        regression_metrics(labels=LABELS[:, 0], values=VALUES, target_names=["a", "b"])


def test_by_task():
    names = ["a", "b"]
    assert measure("regression", labels=LABELS, outputs=VALUES, class_names=names)["r2"] < 1
    sets = {"labels": np.eye(2), "outputs": np.eye(2), "class_names": names}
    assert measure("multi_label", **sets)["average_precision"] == 1
    classes = {"labels": np.arange(2), "outputs": np.eye(2), "class_names": names}
    assert measure("single_label", **classes)["accuracy"] == 1
    same = {"teacher_outputs": VALUES, "student_outputs": VALUES}
    for task in ("single_label", "multi_label", "regression"):
        assert agreement(task, **same) == 1
    other = {"teacher_outputs": VALUES, "student_outputs": VALUES + [0, 50]}
    assert agreement("regression", **other) < 1
