import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.relations import pkt_loss, similarity_preserving_loss

LOSSES = [similarity_preserving_loss, pkt_loss]


def rows_of_length_one(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def neighbour_probs(features):
    features = rows_of_length_one(features)
    kernel = (1 + features @ features.T) / 2
    return kernel / kernel.sum(1, keepdims=True)


def reference(loss, teacher, student):
    if loss is pkt_loss:
        p, q = neighbour_probs(teacher), neighbour_probs(student)
        return (p * np.log((p + 1e-7) / (q + 1e-7))).mean(1)
    gaps = rows_of_length_one(teacher @ teacher.T) - rows_of_length_one(student @ student.T)
    return (gaps**2).sum(1) / len(teacher)


def call(loss, teacher, student):
    return np.asarray(loss(teacher_features=teacher, student_features=student))


@pytest.mark.parametrize(
    ("loss", "mean"), [(similarity_preserving_loss, 0.089003834835), (pkt_loss, 0.005430336704)]
)
def test_published_values(drawn, loss, mean):
    features = drawn.teacher_features, drawn.student_features
    values = call(loss, *features)
    assert values.mean() == pytest.approx(mean, rel=1e-5)
    np.testing.assert_allclose(values, reference(loss, *features), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignores_rotation_scale_and_width(drawn, loss):
    teacher = drawn.teacher_features
    rotation = np.linalg.qr(drawn.student_features.T @ drawn.student_features)[0]
    turned = np.pad(0.001 * (teacher @ rotation), [(0, 0), (3, 0)])
    assert np.abs(call(loss, teacher, turned)).max() < 1e-6
    values = call(loss, turned, drawn.student_features)
    np.testing.assert_allclose(values, call(loss, teacher, drawn.student_features), rtol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_maps_are_flattened(drawn, loss):
    maps = drawn.teacher_maps, drawn.student_maps
    flat = [x.reshape(8, -1) for x in maps]
    np.testing.assert_allclose(call(loss, *maps), reference(loss, *flat), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_central_differences(drawn, check_gradient, loss):
    teacher = drawn.teacher_features
    check_gradient(
        lambda x: loss(teacher_features=teacher, student_features=x),
        lambda x: reference(loss, teacher, x),
        drawn.student_features,
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_rows_have_exact_values_and_gradients(drawn, check_gradient, loss):
    teacher, student = drawn.teacher_features[:4].copy(), drawn.student_features[:4].copy()
    student[3] = student[1]
    teacher[2] = teacher[0]
    np.testing.assert_allclose(
        call(loss, teacher, student), reference(loss, teacher, student), rtol=1e-4
    )
    check_gradient(
        lambda x: loss(teacher_features=teacher, student_features=x),
        lambda x: reference(loss, teacher, x),
        student,
    )


def test_similarities_of_one_short_feature_are_those_of_a_long_one(drawn):
    teacher, student = drawn.teacher_features, drawn.student_features.copy()
    student[0] *= 1e-3
    expected = reference(similarity_preserving_loss, teacher, student)
    values = call(similarity_preserving_loss, teacher, student)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_features_have_finite_values_and_no_gradient(drawn, loss):
    student = drawn.student_features.copy()
    student[4] = 0
    variable = tf.Variable(student, dtype=tf.float32)
    with tf.GradientTape() as tape:
        values = loss(teacher_features=drawn.teacher_features, student_features=variable)
    gradient = tape.gradient(values, variable).numpy()
    assert np.isfinite(values.numpy()).all() and np.isfinite(gradient).all()
    others = np.delete(gradient, 4, axis=0)
    assert (np.abs(others).max(1) > 1e-6).all()
    if loss is pkt_loss:
        assert not gradient[4].any()


def test_opposite_features_stay_above_a_probability_of_zero():
    features = np.array([[3.0, 4.0], [-3.0, -4.0]])
    # The teacher gives each row (1, 0); the student (1/2, 1/2): log((1 + e) / (1/2 + e)) / 2.
    values = call(pkt_loss, features, np.abs(features))
    np.testing.assert_allclose(values, np.full(2, np.log(2) / 2), rtol=1e-5)
    # The other way round, half of log((1/2 + e) / (1 + e)) and half of log((1/2 + e) / e).
    values = call(pkt_loss, np.abs(features), features)
    np.testing.assert_allclose(values, np.full(2, np.log(0.25 / 1e-7) / 4), rtol=1e-4)


def test_cosines_that_rounding_takes_below_minus_one_give_no_nan():
    rng = np.random.default_rng(0)
    for row in rng.normal(size=(40, 256)):
        values = call(pkt_loss, np.stack([row, row]), np.stack([row, -row]))
        # The logarithm of what is left of the kernel, 0 to 3e-7, is as rough as that.
        np.testing.assert_allclose(values, np.full(2, np.log(0.25 / 1e-7) / 4), rtol=0.1)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_one_is_like_itself(drawn, loss):
    values = call(loss, drawn.teacher_features[:1], drawn.student_features[:1])
    np.testing.assert_allclose(values, [0.0], atol=1e-6)
