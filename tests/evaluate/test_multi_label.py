import numpy as np
import pytest

from mmkd_tf.evaluate.multi_label import label_agreement, multi_label_metrics

NAMES = ["a", "b", "c"]
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
LOGITS = np.array([[2.0, -1, -3], [1, -2, -3], [-1, 1, -2], [-2, 3, 1]])


def test_by_hand():
    metrics = multi_label_metrics(labels=LABELS, logits=LOGITS, label_names=NAMES)
    # Of a all is right; of b one of two is found and one is wrong; c is given once, never there.
    first, second, third = metrics.per_label
    assert (first.precision, first.recall, first.f1, first.support) == (1, 1, 1, 2)
    assert (second.precision, second.recall, second.f1) == (0.5, 0.5, 0.5)
    assert (third.precision, third.recall, third.f1, third.support) == (0, 0, 0, 0)
    # b by score: row 3 has it, row 2 not, row 0 not, row 1 has it.
    assert second.average_precision == pytest.approx((1 + 2 / 4) / 2)
    assert third.average_precision is None
    assert metrics.average_precision == pytest.approx((1 + 0.75) / 2)
    assert metrics.macro_f1 == pytest.approx((1 + 0.5 + 0) / 3)
    # 3 right of 5 given and 4 there.
    assert metrics.micro_f1 == pytest.approx(2 * 3 / (5 + 4))
    assert metrics.subset_accuracy == 0.25
    # All pairs by score: 3+ 2+ 1(+ and -, - ) ...: thresholds 3, 2, 1, then -2 with one hit.
    assert metrics.micro_average_precision == pytest.approx(
        1 / 4 + 1 / 4 + 1 / 4 * 3 / 5 + 1 / 4 * 4 / 10
    )


def test_nothing_there_and_nothing_given():
    metrics = multi_label_metrics(labels=0 * LABELS, logits=-np.ones([4, 3]), label_names=NAMES)
    assert metrics.micro_f1 == metrics.macro_f1 == metrics.average_precision == 0
    assert metrics.subset_accuracy == 1


def test_agreement():
    assert label_agreement(teacher_logits=LOGITS, student_logits=10 * LOGITS) == 1
    assert label_agreement(teacher_logits=LOGITS, student_logits=-LOGITS) == 0
    silent = -np.abs(LOGITS)
    assert label_agreement(teacher_logits=silent, student_logits=silent) == 1
    # One of the teacher's five is given, and nothing else.
    one = np.where(np.arange(12).reshape(4, 3) == 0, 1.0, -1.0)
    assert label_agreement(teacher_logits=LOGITS, student_logits=one) == pytest.approx(2 / 6)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"shape \(examples, 2\), as the labels"):
        multi_label_metrics(labels=LABELS, logits=LOGITS, label_names=NAMES[:2])
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 4 rows"):
        broken = np.where(np.eye(4, 3) * [0, 1, 0] > 0, np.nan, LOGITS)
        multi_label_metrics(labels=LABELS, logits=broken, label_names=NAMES)
    with pytest.raises(ValueError, match="at least one example"):
        multi_label_metrics(labels=LABELS[:0], logits=LOGITS[:0], label_names=NAMES)
