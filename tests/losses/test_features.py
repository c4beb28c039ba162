import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.features import cosine_hint_loss, hint_loss, variational_information_loss


def unit(features):
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def call(loss, teacher, student, **arguments):
    return np.asarray(loss(teacher_features=teacher, student_features=student, **arguments))


@pytest.fixture
def maps(drawn):
    return drawn.teacher_maps[..., :3], drawn.student_maps


def test_hint_is_the_mean_of_squares(maps):
    expected = ((maps[0] - maps[1]) ** 2).reshape(8, -1).mean(1)
    np.testing.assert_allclose(call(hint_loss, *maps), expected, rtol=1e-5)


def test_hint_gradient_equals_central_differences(drawn, check_gradient):
    teacher = drawn.teacher_features
    check_gradient(
        lambda x: hint_loss(teacher_features=teacher, student_features=x),
        lambda x: ((teacher - x) ** 2).mean(1),
        drawn.student_features,
    )


def test_cosine_hint_equals_numpy(maps, drawn):
    expected = 1 - (unit(maps[0]) * unit(maps[1])).sum(-1).mean((1, 2))
    np.testing.assert_allclose(call(cosine_hint_loss, *maps), expected, rtol=1e-4)
    rows = drawn.teacher_features, drawn.student_features
    expected = 1 - (unit(rows[0]) * unit(rows[1])).sum(-1)
    np.testing.assert_allclose(call(cosine_hint_loss, *rows), expected, rtol=1e-4)


def test_cosine_hint_ignores_length_and_ends_at_two(drawn):
    rows = drawn.teacher_features, drawn.student_features
    scaled = call(cosine_hint_loss, 0.01 * rows[0], 100 * rows[1])
    np.testing.assert_allclose(scaled, call(cosine_hint_loss, *rows), rtol=1e-4)
    np.testing.assert_allclose(
        call(cosine_hint_loss, rows[0], -rows[0]), np.full(8, 2.0), rtol=1e-6
    )


def test_cosine_hint_is_exact_for_small_angles():
    # 1 - cos(a) is a**2 / 2; one minus a rounded cosine would give 0.
    values = call(cosine_hint_loss, [[1.0, 0.0]], [[1.0, 1e-4]])
    np.testing.assert_allclose(values, [5e-9], rtol=1e-3)


def test_cosine_hint_gradient_equals_central_differences(drawn, check_gradient):
    teacher = drawn.teacher_features
    check_gradient(
        lambda x: cosine_hint_loss(teacher_features=teacher, student_features=x),
        lambda x: 1 - (unit(teacher) * unit(x)).sum(-1),
        drawn.student_features,
    )


def test_features_without_direction_count_as_zeros():
    teacher = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    student = tf.Variable([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        values = cosine_hint_loss(teacher_features=teacher, student_features=student)
    np.testing.assert_allclose(values, [0.5, 0.5, 0.0], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(values, student), np.zeros([3, 2]), atol=1e-6)


def variational_reference(teacher, student, log_scale):
    variance = np.exp(2 * log_scale) + 1e-5
    values = np.log(variance) / 2 + (teacher - student) ** 2 / (2 * variance)
    return values.reshape(len(teacher), -1).mean(1)


@pytest.mark.parametrize("log_scale", [0.7, np.array([-1.0, 0.0, 2.0])])
def test_variational_form_equals_numpy(maps, log_scale):
    values = call(variational_information_loss, *maps, log_scale=log_scale)
    np.testing.assert_allclose(values, variational_reference(*maps, log_scale), rtol=1e-5)


def test_variational_form_at_scale_one_is_half_the_hint(maps):
    values = call(variational_information_loss, *maps, log_scale=0.0)
    np.testing.assert_allclose(values, call(hint_loss, *maps) / 2, rtol=1e-4)


def test_variational_form_is_least_at_the_spread_of_the_differences(drawn):
    teacher, student = drawn.teacher_features, drawn.student_features
    log_scale = tf.Variable(np.log(np.sqrt(((teacher - student) ** 2).mean(0))), dtype="float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(
            variational_information_loss(
                teacher_features=teacher, student_features=student, log_scale=log_scale
            )
        )
    np.testing.assert_allclose(tape.gradient(value, log_scale), np.zeros(16), atol=1e-5)


def test_variational_gradients_equal_central_differences(drawn, check_gradient):
    teacher, student = drawn.teacher_features, drawn.student_features
    log_scale = np.linspace(-1, 1, 16)
    check_gradient(
        lambda x: variational_information_loss(
            teacher_features=teacher, student_features=x, log_scale=log_scale
        ),
        lambda x: variational_reference(teacher, x, log_scale),
        student,
    )
    check_gradient(
        lambda x: variational_information_loss(
            teacher_features=teacher, student_features=student, log_scale=x
        ),
        lambda x: variational_reference(teacher, student, x),
        log_scale,
    )


def test_variational_form_is_bounded_where_the_scale_vanishes(drawn):
    values = call(
        variational_information_loss, drawn.teacher_features, drawn.teacher_features, log_scale=-1e4
    )
    np.testing.assert_allclose(values, np.full(8, np.log(1e-5) / 2), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 15), (8, 4, 4), (8, 1)])
def test_refuses_unequal_shapes(drawn, shape):
    for loss in (hint_loss, cosine_hint_loss):
        with pytest.raises(ValueError, match="equal sizes.*Project the student's features"):
            call(loss, drawn.teacher_features, np.zeros(shape))


def test_variational_form_lists_all_problems(drawn):
    with pytest.raises(ValueError) as raised:
        call(
            variational_information_loss,
            drawn.teacher_features,
            drawn.student_features[:4, :9],
            log_scale=np.zeros(3),
        )
    for part in ("the same examples", "equal sizes", "`log_scale`: a scalar or one value"):
        assert part in str(raised.value)
