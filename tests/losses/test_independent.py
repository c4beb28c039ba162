import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.logits import sigmoid_soft_target_loss, soft_target_loss, squared_loss


def sigmoid_reference(teacher_logits, student_logits, temperature):
    p = 1 / (1 + np.exp(-teacher_logits / temperature))
    q = 1 / (1 + np.exp(-student_logits / temperature))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * divergence.mean(1)


def sigmoid_loss(teacher, student, **arguments):
    return np.asarray(
        sigmoid_soft_target_loss(teacher_logits=teacher, student_logits=student, **arguments)
    )


def squared(teacher, student):
    return np.asarray(squared_loss(teacher_logits=teacher, student_logits=student))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_sigmoid_form_equals_numpy(drawn, temperature):
    logits = drawn.teacher_logits, drawn.student_logits
    values = sigmoid_loss(*logits, temperature=temperature)
    np.testing.assert_allclose(values, sigmoid_reference(*logits, temperature), rtol=1e-4)


def test_one_logit_is_a_softmax_over_it_and_zero(drawn):
    teacher, student = drawn.teacher_logits[:, :1], drawn.student_logits[:, :1]
    expected = soft_target_loss(
        teacher_logits=np.pad(teacher, [(0, 0), (0, 1)]),
        student_logits=np.pad(student, [(0, 0), (0, 1)]),
    )
    np.testing.assert_allclose(sigmoid_loss(teacher, student), expected, rtol=1e-4, atol=1e-5)
    assert sigmoid_loss(teacher, student).min() > 0


def test_sigmoid_form_sees_yes_and_no_alike(drawn):
    logits = drawn.teacher_logits, drawn.student_logits
    turned = sigmoid_loss(-logits[0], -logits[1])
    np.testing.assert_allclose(turned, sigmoid_loss(*logits), rtol=1e-5)


def test_sigmoid_form_at_a_high_temperature_is_an_eighth_of_the_squared_difference(drawn):
    logits = drawn.teacher_logits, drawn.student_logits
    values = sigmoid_loss(*logits, temperature=200.0)
    np.testing.assert_allclose(values, squared(*logits) / 8, rtol=0.01)


@pytest.mark.parametrize("gap", [17.0, 200.0, 1e4])
def test_sigmoid_form_is_exact_at_any_gap(gap):
    student = tf.Variable([[-gap]])
    with tf.GradientTape() as tape:
        value = sigmoid_soft_target_loss(
            teacher_logits=[[gap]], student_logits=student, temperature=1.0
        )
    assert value.numpy()[0] == pytest.approx(gap, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(value, student), [[-1.0]], atol=1e-5)


def test_sigmoid_gradient_equals_central_differences(drawn, check_gradient):
    check_gradient(
        lambda x: sigmoid_soft_target_loss(teacher_logits=drawn.teacher_logits, student_logits=x),
        lambda x: sigmoid_reference(drawn.teacher_logits, x, 4.0),
        drawn.student_logits,
    )


def test_squared_form_equals_numpy(drawn):
    logits = drawn.teacher_logits, drawn.student_logits
    np.testing.assert_allclose(squared(*logits), ((logits[0] - logits[1]) ** 2).mean(1), rtol=1e-5)
    np.testing.assert_allclose(squared([[3.0], [1.0]], [[1.0], [1.5]]), [4.0, 0.25])


def test_half_of_the_squared_form_is_the_soft_target_loss_at_a_high_temperature(drawn):
    logits = [x - x.mean(1, keepdims=True) for x in (drawn.teacher_logits, drawn.student_logits)]
    soft = soft_target_loss(teacher_logits=logits[0], student_logits=logits[1], temperature=500.0)
    np.testing.assert_allclose(soft, squared(*logits) / 2, rtol=0.03)


def test_squared_gradient_equals_central_differences(drawn, check_gradient):
    check_gradient(
        lambda x: squared_loss(teacher_logits=drawn.teacher_logits, student_logits=x),
        lambda x: ((drawn.teacher_logits - x) ** 2).mean(1),
        drawn.student_logits,
    )


@pytest.mark.parametrize("call", [sigmoid_loss, squared])
def test_refuses_a_vector_beside_a_column(call):
    # Subtraction would give every pair of examples, [batch, batch].
    with pytest.raises(ValueError, match="`teacher_logits`: float.*Reshape it to one row"):
        call(np.zeros(8), np.zeros([8, 1]))


def test_sigmoid_form_refuses_a_wrong_temperature(drawn):
    with pytest.raises(ValueError, match="`temperature`: a finite number above 0"):
        sigmoid_loss(drawn.teacher_logits, drawn.student_logits, temperature=0.0)
