import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.classes import dist_loss


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def reference(teacher_logits, student_logits, temperature, inter=1.0, intra=1.0):
    p, q = softmax(teacher_logits / temperature), softmax(student_logits / temperature)
    over_classes = [1 - np.corrcoef(*pair)[0, 1] for pair in zip(p, q, strict=True)]
    over_batch = [1 - np.corrcoef(*pair)[0, 1] for pair in zip(p.T, q.T, strict=True)]
    return temperature**2 * (inter * np.array(over_classes) + intra * np.mean(over_batch))


def loss(teacher, student, **arguments):
    return np.asarray(dist_loss(teacher_logits=teacher, student_logits=student, **arguments))


def test_published_value(drawn):
    values = loss(drawn.teacher_logits, drawn.student_logits)
    assert values.mean() == pytest.approx(34.632994546497, rel=1e-5)


@pytest.mark.parametrize(("inter", "intra"), [(1.0, 1.0), (2.0, 0.0), (0.0, 3.0)])
def test_equals_numpy(drawn, inter, intra):
    logits = drawn.teacher_logits, drawn.student_logits
    values = loss(*logits, temperature=2.0, inter_class_weight=inter, intra_class_weight=intra)
    np.testing.assert_allclose(values, reference(*logits, 2.0, inter, intra), rtol=1e-4)


def test_a_student_that_is_less_sure_in_proportion_loses_nothing_over_classes(drawn):
    probs = softmax(drawn.teacher_logits)
    flatter = np.log(0.5 * probs + 0.05)
    values = loss(drawn.teacher_logits, flatter, temperature=1.0, intra_class_weight=0.0)
    assert np.abs(values).max() < 1e-5


def test_gradient_equals_central_differences(drawn, check_gradient):
    check_gradient(
        lambda x: dist_loss(teacher_logits=drawn.teacher_logits, student_logits=x),
        lambda x: reference(drawn.teacher_logits, x, 4.0),
        drawn.student_logits,
    )


def test_columns_of_tiny_probabilities_correlate_too(drawn):
    # The last class is all but impossible, and student and teacher agree on when it is less so.
    rare = np.array([-60.0, -61.0, -62.0, -63.0])
    teacher = np.stack([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0], rare], axis=1)
    values = loss(teacher, teacher, temperature=1.0, inter_class_weight=0.0)
    np.testing.assert_allclose(values, np.zeros(4), atol=1e-6)
    turned = teacher * [1, 1, 0] + rare[::-1, None] * [0, 0, 1]
    turned = loss(teacher, turned, temperature=1.0, inter_class_weight=0.0)
    expected = (1 - np.corrcoef(np.exp(rare), np.exp(rare[::-1]))[0, 1]) / 3
    np.testing.assert_allclose(turned, np.full(4, expected), rtol=1e-2)


def test_constant_rows_count_as_zeros():
    # Over classes: constant against not constant, 1/2. Over the batch of one: both constant, 0.
    values = loss([[3.0, 1.0, 0.0]], [[2.0, 2.0, 2.0]], temperature=1.0)
    np.testing.assert_allclose(values, [0.5], rtol=1e-5)


def test_a_head_that_starts_at_zero_learns(drawn):
    student = tf.Variable(tf.zeros([8, 10], tf.float16))
    with tf.GradientTape() as tape:
        value = dist_loss(teacher_logits=drawn.teacher_logits, student_logits=student)
    gradient = tape.gradient(value, student).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(1) > 1e-3).all()


def test_one_error_lists_all_problems(drawn):
    with pytest.raises(ValueError) as raised:
        loss(
            drawn.teacher_logits[:, :9],
            drawn.student_logits,
            temperature=0,
            inter_class_weight=float("nan"),
        )
    for part in ("`temperature`", "`inter_class_weight`", "the same number of classes"):
        assert part in str(raised.value)
