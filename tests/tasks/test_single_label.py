import numpy as np
import pytest

from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.single_label import expected_calibration_error

TASK = find_task("single_label")
NAMES = ["cup", "pot", "pan"]


def one_hot(predictions, scale=10.0):
    return scale * np.eye(3)[predictions]


def test_values_by_hand():
    # cup: 2 of 3 found, named 2 times. pot: 1 of 1, named 2 times. pan: none of 0, never named.
    metrics = TASK.measure(
        labels=np.array([0, 0, 0, 1]), outputs=one_hot([0, 0, 1, 1]), names=NAMES
    )
    assert metrics["accuracy"] == 0.75
    assert metrics["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert metrics["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    cup, pot, pan = metrics["per_class"]
    assert (cup["precision"], cup["recall"], cup["support"]) == (1.0, pytest.approx(2 / 3), 3)
    assert (pot["precision"], pot["recall"], pot["support"]) == (0.5, 1.0, 1)
    assert (pan["precision"], pan["recall"], pan["f1"], pan["support"]) == (0.0, 0.0, 0.0, 0)


def test_a_class_named_without_cause_lowers_macro_f1():
    metrics = TASK.measure(labels=np.array([0, 1]), outputs=one_hot([0, 2]), names=NAMES)
    assert metrics["macro_recall"] == 0.5
    assert metrics["macro_f1"] == pytest.approx(1 / 3)


def test_calibration_error_by_hand():
    # Four examples at confidence .75, of which half are right: the gap is .25.
    logits = np.log(np.array([[0.75, 0.25]] * 4))
    labels = np.array([0, 0, 1, 1])
    assert expected_calibration_error(labels=labels, logits=logits) == pytest.approx(0.25)


def test_calibration_error_of_certain_and_right_answers_is_zero():
    error = expected_calibration_error(labels=np.array([0, 1]), logits=one_hot([0, 1], 1000.0))
    assert error == pytest.approx(0, abs=1e-12)


def test_agreement():
    teacher, student = one_hot([0, 1, 2, 2]), one_hot([0, 1, 1, 2])
    assert TASK.agreement(teacher_outputs=teacher, student_outputs=student) == 0.75


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for 2 labels and 3 class names"):
        TASK.measure(labels=np.array([0, 1]), outputs=np.zeros([2, 2]), names=NAMES)
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 2 rows"):
        TASK.measure(
            labels=np.array([0, 1]), outputs=np.array([[0, 0, np.nan], [0, 1, 0]]), names=NAMES
        )
    with pytest.raises(ValueError, match="at least one example"):
        TASK.measure(labels=np.array([]), outputs=np.zeros([0, 3]), names=NAMES)
