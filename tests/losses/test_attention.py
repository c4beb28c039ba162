import numpy as np
import pytest

from mmkd_tf.losses.features import attention_transfer_loss


def attention_map(features):
    strength = (features**2).mean(-1).reshape(len(features), -1)
    return strength / np.linalg.norm(strength, axis=1, keepdims=True)


def reference(teacher, student):
    return ((attention_map(teacher) - attention_map(student)) ** 2).mean(1)


def loss(teacher, student):
    return np.asarray(attention_transfer_loss(teacher_features=teacher, student_features=student))


def test_published_value(drawn):
    values = loss(drawn.teacher_maps, drawn.student_maps)
    assert values.mean() == pytest.approx(0.019080079331, rel=1e-5)
    np.testing.assert_allclose(values, reference(drawn.teacher_maps, drawn.student_maps), rtol=1e-4)


def test_ignores_sign_scale_and_order_of_channels(drawn):
    changed = -0.001 * drawn.teacher_maps[..., ::-1]
    np.testing.assert_allclose(
        loss(changed, 20 * drawn.student_maps),
        loss(drawn.teacher_maps, drawn.student_maps),
        rtol=1e-3,
    )
    assert np.abs(loss(drawn.teacher_maps, changed)).max() < 1e-6


def test_takes_sequences(drawn):
    teacher, student = (x.reshape(8, 36, -1) for x in (drawn.teacher_maps, drawn.student_maps))
    np.testing.assert_allclose(
        loss(teacher, student), loss(drawn.teacher_maps, drawn.student_maps), rtol=1e-6
    )


def test_gradient_equals_central_differences(drawn, check_gradient):
    teacher, student = drawn.teacher_maps[:3, :3, :3], drawn.student_maps[:3, :3, :3]
    check_gradient(
        lambda x: attention_transfer_loss(teacher_features=teacher, student_features=x),
        lambda x: reference(teacher, x),
        student,
    )


def test_a_map_of_no_activation_counts_as_zeros(drawn):
    teacher = drawn.teacher_maps
    # The teacher's map has length 1, so the mean of its square is one over its positions.
    np.testing.assert_allclose(loss(teacher, np.zeros([8, 6, 6, 3])), np.full(8, 1 / 36), rtol=1e-5)
    np.testing.assert_array_equal(loss(0 * teacher, 0 * teacher), np.zeros(8))


def test_refuses_features_without_positions(drawn):
    with pytest.raises(ValueError, match="`student_features`: float.*at least 3 axes"):
        loss(drawn.teacher_maps, drawn.student_features)


def test_refuses_other_positions(drawn):
    with pytest.raises(ValueError, match="equal sizes.*pooling for height and width"):
        loss(drawn.teacher_maps, drawn.student_maps[:, :3, :3])
