import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.multi_label import average_precisions, mean_of_known

TASK = find_task("multi_label")
NAMES = ["a", "b", "c"]
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
LOGITS = np.array([[2.0, -1, -3], [1, -2, -3], [-1, 1, -2], [-2, 3, 1]])


def test_by_hand():
    metrics = TASK.measure(labels=LABELS, outputs=LOGITS, names=NAMES)
    # Of a all is right; of b one of two is found and one is wrong; c is given once, never there.
    first, second, third = metrics["per_label"]
    assert (first["precision"], first["recall"], first["f1"], first["support"]) == (1, 1, 1, 2)
    assert (second["precision"], second["recall"], second["f1"]) == (0.5, 0.5, 0.5)
    assert (third["precision"], third["recall"], third["f1"], third["support"]) == (0, 0, 0, 0)
    # b by score: row 3 has it, row 2 not, row 0 not, row 1 has it.
    assert second["average_precision"] == pytest.approx((1 + 2 / 4) / 2)
    assert third["average_precision"] is None
    assert metrics["average_precision"] == pytest.approx((1 + 0.75) / 2)
    assert metrics["macro_f1"] == pytest.approx((1 + 0.5 + 0) / 3)
    # 3 right of 5 given and 4 there.
    assert metrics["micro_f1"] == pytest.approx(2 * 3 / (5 + 4))
    assert metrics["subset_accuracy"] == 0.25
    # All pairs by score: 3+ 2+ 1(+ and -, - ) ...: thresholds 3, 2, 1, then -2 with one hit.
    assert metrics["micro_average_precision"] == pytest.approx(
        1 / 4 + 1 / 4 + 1 / 4 * 3 / 5 + 1 / 4 * 4 / 10
    )


def test_nothing_there_and_nothing_given():
    metrics = TASK.measure(labels=0 * LABELS, outputs=-np.ones([4, 3]), names=NAMES)
    assert metrics["micro_f1"] == metrics["macro_f1"] == metrics["average_precision"] == 0
    assert metrics["subset_accuracy"] == 1


def test_agreement():
    assert TASK.agreement(teacher_outputs=LOGITS, student_outputs=10 * LOGITS) == 1
    assert TASK.agreement(teacher_outputs=LOGITS, student_outputs=-LOGITS) == 0
    silent = -np.abs(LOGITS)
    assert TASK.agreement(teacher_outputs=silent, student_outputs=silent) == 1
    # One of the teacher's five is given, and nothing else.
    one = np.where(np.arange(12).reshape(4, 3) == 0, 1.0, -1.0)
    assert TASK.agreement(teacher_outputs=LOGITS, student_outputs=one) == pytest.approx(2 / 6)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"shape \(examples, 2\), as the labels"):
        TASK.measure(labels=LABELS, outputs=LOGITS, names=NAMES[:2])
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 4 rows"):
        broken = np.where(np.eye(4, 3) * [0, 1, 0] > 0, np.nan, LOGITS)
        TASK.measure(labels=LABELS, outputs=broken, names=NAMES)
    with pytest.raises(ValueError, match="at least one example"):
        TASK.measure(labels=LABELS[:0], outputs=LOGITS[:0], names=NAMES)


def test_average_precision_by_hand():
    # In order of the scores: 1 0 1 0; precision is 1 at the first hit and 2/3 at the second.
    labels = np.array([[1], [0], [1], [0]])
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    assert average_precisions(labels=labels, scores=scores)[0] == pytest.approx((1 + 2 / 3) / 2)
    # The hits last: 1/3 and 2/4.
    found = average_precisions(labels=1 - labels, scores=scores)[0]
    assert found == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_average_precision_does_not_depend_on_the_order_of_equals():
    scores = np.array([[2.0], [1.0], [1.0], [0.0]])
    one, other = (np.array([[1], *middle, [0]]) for middle in ([[1], [0]], [[0], [1]]))
    found = [average_precisions(labels=labels, scores=scores)[0] for labels in (one, other)]
    # Half the recall at precision 1, the rest at 2 of 3.
    assert found == [pytest.approx(0.5 + 0.5 * 2 / 3)] * 2
    # With one score for all, precision is the share of the labels.
    equal = average_precisions(labels=one, scores=np.zeros([4, 1]))
    assert equal[0] == pytest.approx(0.5)


def test_labels_that_no_example_has_do_not_count():
    labels, scores = np.array([[1, 0], [0, 0]]), np.array([[1.0, 5.0], [0.0, 6.0]])
    found = average_precisions(labels=labels, scores=scores)
    assert found[0] == 1 and np.isnan(found[1])
    assert mean_of_known(found) == 1
    assert mean_of_known(np.array([np.nan])) == 0


def test_several_labels():
    logits = np.array([[2.0, -1], [0, 3], [-2, 1], [1, 1]])
    probs = 1 / (1 + np.exp(-logits))
    labels = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    expected = -np.mean(labels * np.log(probs) + (1 - labels) * np.log(1 - probs))
    assert float(TASK.loss()(labels, logits)) == pytest.approx(expected, rel=1e-5)
    assert TASK.soft_targets().loss is losses.sigmoid_soft_target_loss
    (metric,) = TASK.metrics()
    metric.update_state(labels, 100 * (labels - 0.5))
    assert float(metric.result()) == pytest.approx(1, abs=1e-3)
    assert TASK.metrics()[0] is not metric  # each training has its own
