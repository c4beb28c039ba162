import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.classes import decoupled_loss
from mmkd_tf.losses.logits import soft_target_loss


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1)


def parts(teacher_logits, student_logits, labels, temperature):
    """Target and non-target part, each times the squared temperature."""
    is_label = np.eye(teacher_logits.shape[1], dtype=bool)[labels]
    both = []
    for logits in (teacher_logits, student_logits):
        probs = softmax(logits / temperature)
        own = probs[is_label]
        others = (logits / temperature)[~is_label].reshape(len(labels), -1)
        both.append((np.stack([own, 1 - own], 1), softmax(others)))
    (teacher_pair, teacher_others), (student_pair, student_others) = both
    return (
        temperature**2 * divergence(teacher_pair, student_pair),
        temperature**2 * divergence(teacher_others, student_others),
    )


def loss(drawn, **arguments):
    arguments = {
        "teacher_logits": drawn.teacher_logits,
        "student_logits": drawn.student_logits,
        "labels": drawn.labels,
        **arguments,
    }
    return np.asarray(decoupled_loss(**arguments))


@pytest.mark.parametrize(
    ("target_weight", "non_target_weight", "mean"),
    [(1, 8, 65.962102337983), (1, 0, 0.243575698779), (0, 1, 8.214815829901)],
)
def test_published_values(drawn, target_weight, non_target_weight, mean):
    values = loss(drawn, target_weight=target_weight, non_target_weight=non_target_weight)
    assert values.mean() == pytest.approx(mean, rel=1e-5)
    target, non_target = parts(drawn.teacher_logits, drawn.student_logits, drawn.labels, 4.0)
    expected = target_weight * target + non_target_weight * non_target
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_soft_targets_are_the_parts_weighted_by_what_the_teacher_leaves_to_others(drawn):
    # KL = target part + (1 - probability of the label) * non-target part, the paper's identity.
    p = softmax(drawn.teacher_logits / 4)[np.arange(8), drawn.labels]
    target = loss(drawn, target_weight=1, non_target_weight=0)
    non_target = loss(drawn, target_weight=0, non_target_weight=1)
    expected = soft_target_loss(
        teacher_logits=drawn.teacher_logits, student_logits=drawn.student_logits
    )
    np.testing.assert_allclose(target + (1 - p) * non_target, expected, rtol=1e-4)


@pytest.mark.parametrize(("constant", "tolerance"), [(50, 1e-3), (-1e4, 1e-2)])
def test_a_constant_added_to_the_logits_changes_nothing(drawn, constant, tolerance):
    shifted = loss(drawn, student_logits=drawn.student_logits + constant)
    np.testing.assert_allclose(shifted, loss(drawn), rtol=tolerance)


def test_gradient_equals_central_differences(drawn, check_gradient):
    def reference(student):
        target, non_target = parts(drawn.teacher_logits, student, drawn.labels, 4.0)
        return target + 8 * non_target

    check_gradient(
        lambda x: decoupled_loss(
            teacher_logits=drawn.teacher_logits, student_logits=x, labels=drawn.labels
        ),
        reference,
        drawn.student_logits,
    )


@pytest.mark.parametrize("gap", [200.0, 1e4])
def test_exact_at_large_gaps(gap):
    student = tf.Variable([[0.0, gap, 0.0]])
    with tf.GradientTape() as tape:
        value = decoupled_loss(
            teacher_logits=[[gap, 0.0, 0.0]],
            student_logits=student,
            labels=[0],
            temperature=1.0,
            non_target_weight=1.0,
        )
    # Target: -log q = gap. Others: log(1/2) - (log 1 + log exp(-gap)) / 2 = gap / 2 - log 2.
    assert value.numpy()[0] == pytest.approx(1.5 * gap - np.log(2), rel=1e-5)
    # Target: -1 and +1. Others: softmax (1, 0) minus teacher (1/2, 1/2).
    np.testing.assert_allclose(tape.gradient(value, student), [[-1.0, 1.5, -0.5]], atol=1e-5)


def test_two_classes_have_no_non_target_part(drawn):
    two = {"teacher_logits": drawn.teacher_logits[:, :2], "labels": drawn.labels % 2}
    values = loss(drawn, student_logits=drawn.student_logits[:, :2], target_weight=0, **two)
    np.testing.assert_array_equal(values, np.zeros(8))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_takes_any_integer_labels(drawn, dtype):
    np.testing.assert_array_equal(loss(drawn, labels=drawn.labels.astype(dtype)), loss(drawn))


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_class_gives_nan_and_harms_no_other_example(drawn, label):
    labels = drawn.labels.copy()
    labels[3] = label
    values = loss(drawn, labels=labels)
    assert np.isnan(values[3])
    np.testing.assert_array_equal(np.delete(values, 3), np.delete(loss(drawn), 3))


def test_refuses_labels_that_are_no_integers(drawn):
    with pytest.raises(TypeError, match="`labels`: integers.*dtype float.*argmax"):
        loss(drawn, labels=np.eye(10)[drawn.labels])


@pytest.mark.parametrize("shape", [(7,), (8, 1)])
def test_refuses_labels_of_another_shape(drawn, shape):
    with pytest.raises(ValueError, match="`labels`: integer `\\[batch\\]`.*reshape"):
        loss(drawn, labels=np.zeros(shape, int))


def test_one_error_lists_all_problems(drawn):
    with pytest.raises(ValueError) as raised:
        loss(drawn, labels=drawn.labels[:3], temperature=-1, target_weight=-2)
    message = str(raised.value)
    for part in ("`temperature`", "`target_weight`: a finite number, 0 or more", "`labels`"):
        assert part in message


def test_refuses_weights_that_are_all_zero(drawn):
    with pytest.raises(ValueError, match="`non_target_weight`: at least one above 0"):
        loss(drawn, target_weight=0, non_target_weight=0.0)
