import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.relations import relational_angle_loss, relational_distance_loss

LOSSES = [relational_distance_loss, relational_angle_loss]


def huber(gaps):
    return np.where(np.abs(gaps) < 1, gaps**2 / 2, np.abs(gaps) - 0.5)


def relative_distances(features):
    batch = len(features)
    distances = np.array([[np.linalg.norm(a - b) for b in features] for a in features])
    return distances / (distances.sum() / (batch * (batch - 1)))


def cosines(features):
    gaps = features[None] - features[:, None]
    sizes = np.linalg.norm(gaps, axis=-1, keepdims=True)
    towards = np.divide(gaps, sizes, out=np.zeros_like(gaps), where=sizes > 0)
    return np.einsum("ijw,ikw->ijk", towards, towards)


def reference(loss, teacher, student):
    if loss is relational_distance_loss:
        return huber(relative_distances(teacher) - relative_distances(student)).mean(1)
    return huber(cosines(teacher) - cosines(student)).mean((1, 2))


def call(loss, teacher, student):
    return np.asarray(loss(teacher_features=teacher, student_features=student))


@pytest.mark.parametrize(
    ("loss", "mean"),
    [(relational_distance_loss, 0.032258328325), (relational_angle_loss, 0.025981785675)],
)
def test_published_values(drawn, loss, mean):
    features = drawn.teacher_features, drawn.student_features
    values = call(loss, *features)
    assert values.mean() == pytest.approx(mean, rel=1e-5)
    np.testing.assert_allclose(values, reference(loss, *features), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_beyond_delta_the_loss_grows_linearly(loss):
    # Relative distances differ by more than 1, and so do cosines.
    teacher = np.array([[0.0, 0.0], [1.0, 0.0], [0.1, 3.0], [0.2, 3.0]])
    student = np.array([[0.0, 0.0], [90.0, 0.0], [0.1, -3.0], [91.0, 0.0]])
    expected = reference(loss, teacher, student)
    np.testing.assert_allclose(call(loss, teacher, student), expected, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignores_translation_rotation_scale_and_width(drawn, loss):
    teacher = drawn.teacher_features
    rotation = np.linalg.qr(drawn.student_features.T @ drawn.student_features)[0]
    moved = np.pad(0.05 * (teacher @ rotation) + 2, [(0, 0), (0, 4)])
    assert np.abs(call(loss, teacher, moved)).max() < 1e-6
    values = call(loss, moved, drawn.student_features)
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
def test_identical_rows_have_exact_values_and_finite_gradients(drawn, loss):
    teacher, student = drawn.teacher_features.copy(), drawn.student_features.copy()
    student[5] = student[2]
    teacher[6] = teacher[7]
    variable = tf.Variable(student, dtype=tf.float32)
    with tf.GradientTape() as tape:
        values = loss(teacher_features=teacher, student_features=variable)
    np.testing.assert_allclose(values, reference(loss, teacher, student), rtol=1e-4)
    gradient = tape.gradient(values, variable).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 10


@pytest.mark.parametrize("loss", LOSSES)
def test_nearly_identical_rows_far_from_the_origin_keep_their_relations(drawn, loss):
    # Eight and more binary digits are left of each difference; |a|**2 + |b|**2 - 2ab has none.
    teacher = np.round(drawn.teacher_features * 64) / 64
    far = np.float32(teacher + 1000)
    np.testing.assert_allclose(call(loss, teacher, far), np.zeros(8), atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_collapsed_student_has_a_finite_loss_and_no_gradient(drawn, loss):
    variable = tf.Variable(np.ones([8, 16]), dtype=tf.float16)
    with tf.GradientTape() as tape:
        values = loss(teacher_features=drawn.teacher_features, student_features=variable)
    zero = np.zeros_like(cosines(drawn.teacher_features))
    expected = (
        huber(relative_distances(drawn.teacher_features)).mean(1)
        if loss is relational_distance_loss
        else huber(cosines(drawn.teacher_features) - zero).mean((1, 2))
    )
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert not tape.gradient(values, variable).numpy().any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_one_has_no_relations(drawn, loss):
    values = call(loss, drawn.teacher_features[:1], drawn.student_features[:1])
    np.testing.assert_array_equal(values, [0.0])


def test_refuses_a_vector_and_other_examples_by_name(drawn):
    with pytest.raises(ValueError, match="`teacher_features`: float.*at least 2 axes"):
        call(relational_angle_loss, np.zeros(8), drawn.student_features)
    with pytest.raises(ValueError, match="the same examples in the same order.*\\(7, 16\\)"):
        call(relational_distance_loss, drawn.teacher_features, drawn.student_features[:7])
