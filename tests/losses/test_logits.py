import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.logits import soft_target_cross_entropy, soft_target_loss


def softmax(logits):
    powers = np.exp(logits - np.max(logits, -1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def reference(teacher_logits, student_logits, temperature):
    p, q = softmax(teacher_logits / temperature), softmax(student_logits / temperature)
    return temperature**2 * (p * (np.log(p) - np.log(q))).sum(-1)


def standardized(logits):
    centred = logits - logits.mean(-1, keepdims=True)
    return centred / logits.std(-1, ddof=1, keepdims=True)


@pytest.fixture
def logits(drawn):
    return drawn.teacher_logits, drawn.student_logits


def loss(teacher, student, temperature=4.0, **arguments):
    values = soft_target_loss(
        teacher_logits=teacher, student_logits=student, temperature=temperature, **arguments
    )
    return keras.ops.convert_to_numpy(values)


def cross_entropy(teacher, student, temperature=4.0):
    values = soft_target_cross_entropy(
        teacher_logits=teacher, student_logits=student, temperature=temperature
    )
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize(("temperature", "mean"), [(1, 4.682285018905), (4, 7.597063058078)])
def test_values_that_two_public_implementations_agree_on(logits, temperature, mean):
    values = loss(*logits, temperature)
    assert values.shape == (8,)
    assert values.mean() == pytest.approx(mean, rel=1e-5)
    np.testing.assert_allclose(values, reference(*logits, temperature), rtol=1e-4)


def test_first_example(logits):
    assert loss(*logits)[0] == pytest.approx(7.942486267072, rel=1e-5)


def test_zero_at_equality_and_non_negative(logits):
    teacher, student = logits
    assert np.abs(loss(teacher, teacher)).max() < 1e-5
    assert (loss(teacher, student) > 0).all()


def test_a_constant_added_to_the_logits_changes_nothing(logits):
    teacher, student = logits
    np.testing.assert_allclose(loss(teacher + 50, student - 20), loss(*logits), rtol=1e-3)


def test_large_temperature_is_half_the_squared_distance_of_centred_logits_per_class(logits):
    centred = [x - x.mean(-1, keepdims=True) for x in logits]
    expected = ((centred[0] - centred[1]) ** 2).mean(-1) / 2
    np.testing.assert_allclose(loss(*logits, temperature=200.0), expected, rtol=0.05)


def test_swapped_roles_change_the_value(logits):
    teacher, student = logits
    assert np.abs(loss(teacher, student) - loss(student, teacher)).min() > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("gap", [17.0, 200.0, 1e4])
def test_finite_and_with_gradient_at_any_gap(dtype, gap):
    teacher = tf.cast([[gap, 0.0, 0.0]], dtype)
    student = tf.cast([[0.0, gap, 0.0]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = soft_target_loss(teacher_logits=teacher, student_logits=student, temperature=1.0)
    gradient = tf.cast(tape.gradient(value, student), "float32").numpy()
    assert value.numpy()[0] == pytest.approx(float(tf.cast(teacher, "float32")[0, 0]), rel=1e-3)
    np.testing.assert_allclose(gradient, [[-1, 1, 0]], atol=1e-3)


def test_gradient_is_the_gap_of_probabilities_times_temperature(logits):
    teacher, student = (tf.constant(x, tf.float32) for x in logits)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = soft_target_loss(teacher_logits=teacher, student_logits=student, temperature=4.0)
    expected = 4 * (tf.nn.softmax(student / 4) - tf.nn.softmax(teacher / 4))
    np.testing.assert_allclose(tape.gradient(value, student), expected, atol=1e-5)


def test_gradient_equals_central_differences(logits, check_gradient):
    teacher, student = logits
    check_gradient(
        lambda x: soft_target_loss(teacher_logits=teacher, student_logits=x, temperature=2.0),
        lambda x: reference(teacher, x, 2.0),
        student,
    )


def test_a_temperature_may_be_a_tensor(logits):
    for temperature in (tf.constant(2.0), tf.Variable(2.0), keras.Variable(2.0)):
        np.testing.assert_allclose(loss(*logits, temperature), loss(*logits, 2.0), rtol=1e-6)


def test_standardized_value_has_the_unbiased_deviation(logits):
    values = loss(*logits, 2.0, standardize=True)
    assert values.mean() == pytest.approx(0.838437758456, rel=1e-5)
    np.testing.assert_allclose(values, reference(*map(standardized, logits), 2.0), rtol=1e-4)


def test_standardized_ignores_scale_and_shift(logits):
    teacher, student = logits
    expected = loss(*logits, standardize=True)
    scaled = loss(0.01 * teacher + 3, 50 * student - 7, standardize=True)
    np.testing.assert_allclose(scaled, expected, rtol=1e-3)
    assert np.abs(loss(teacher, 50 * teacher, standardize=True)).max() < 1e-5


def test_standardized_gradient_equals_central_differences(logits, check_gradient):
    teacher, student = logits
    check_gradient(
        lambda x: soft_target_loss(
            teacher_logits=teacher, student_logits=x, temperature=2.0, standardize=True
        ),
        lambda x: reference(standardized(teacher), standardized(x), 2.0),
        student,
    )


def test_a_head_that_starts_at_zero_learns_standardized(logits):
    student = tf.Variable(tf.zeros([8, 10], tf.float16))
    with tf.GradientTape() as tape:
        value = soft_target_loss(teacher_logits=logits[0], student_logits=student, standardize=True)
    gradient = tape.gradient(value, student).numpy()
    assert np.isfinite(gradient).all()
    # Descent raises the class that the teacher holds most likely.
    assert (gradient.argmin(1) == logits[0].argmax(1)).all()


def test_cross_entropy_is_the_divergence_plus_the_entropy_of_the_teacher(logits):
    teacher, student = logits
    p, q = softmax(teacher / 4), softmax(student / 4)
    np.testing.assert_allclose(cross_entropy(*logits), -16 * (p * np.log(q)).sum(1), rtol=1e-5)
    entropy = cross_entropy(teacher, teacher)
    np.testing.assert_allclose(cross_entropy(*logits) - entropy, loss(*logits), rtol=1e-4)


def test_cross_entropy_with_a_sure_teacher_is_that_with_hard_labels(drawn):
    sure = 1e4 * np.eye(10)[drawn.labels]
    values = cross_entropy(sure, drawn.student_logits, 1.0)
    assert values.mean() == pytest.approx(5.367469645247, rel=1e-5)


def test_cross_entropy_has_the_gradient_of_the_divergence(logits, check_gradient):
    teacher, student = logits
    check_gradient(
        lambda x: soft_target_cross_entropy(teacher_logits=teacher, student_logits=x),
        lambda x: reference(teacher, x, 4.0),
        student,
    )


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "4"])
def test_refuses_a_temperature_that_is_no_positive_number(logits, temperature):
    with pytest.raises(ValueError, match="`temperature`: a finite number above 0"):
        loss(*logits, temperature=temperature)


def test_refuses_unequal_classes(logits):
    with pytest.raises(ValueError, match="same number of classes.*Build the student"):
        loss(logits[0], logits[1][:, :9])


def test_refuses_one_logit_and_names_the_loss_for_it(logits):
    with pytest.raises(ValueError, match="at least two classes.*Use sigmoid_soft_target_loss"):
        loss(logits[0][:, :1], logits[1][:, :1])


def test_one_error_lists_all_problems(logits):
    with pytest.raises(ValueError) as raised:
        loss(logits[0][:7], logits[1][:, :9], temperature=0)
    message = str(raised.value)
    assert len(message.splitlines()) == 3
    for part in ("`temperature`", "the same examples", "Build the student's last layer with 10"):
        assert part in message
