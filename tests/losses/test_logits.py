import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.logits import soft_target_loss


def reference(teacher_logits, student_logits, temperature):
    def probs(logits):
        powers = np.exp(logits / temperature - np.max(logits / temperature, -1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    p, q = probs(teacher_logits), probs(student_logits)
    return temperature**2 * (p * (np.log(p) - np.log(q))).sum(-1)


@pytest.fixture
def logits():
    rng = np.random.default_rng(20261121)
    return 3 * rng.normal(size=(8, 10)), 3 * rng.normal(size=(8, 10))


def loss(teacher, student, temperature=4.0):
    values = soft_target_loss(
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


def test_graph_and_xla_equal_eager(logits):
    for jit_compile in (False, True):
        compiled = tf.function(
            lambda t, s: soft_target_loss(teacher_logits=t, student_logits=s),
            jit_compile=jit_compile,
        )
        np.testing.assert_allclose(compiled(*logits), loss(*logits), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "4"])
def test_refuses_a_temperature_that_is_no_positive_number(logits, temperature):
    with pytest.raises(ValueError, match="`temperature`: a finite number above 0"):
        loss(*logits, temperature=temperature)


def test_refuses_unequal_classes(logits):
    with pytest.raises(ValueError, match="same number of classes.*Build the student"):
        loss(logits[0], logits[1][:, :9])
