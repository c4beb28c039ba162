import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.pairs import affinity_loss, matching_loss


def log_softmax(values, axis):
    shifted = values - values.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def affinities(pairs):
    first, second = np.split(pairs, 2, axis=1)
    return first @ second.T


def matching_reference(pairs, items):
    logits, values = affinities(pairs), []
    for row, item in enumerate(items):
        rivals = [other for other in range(len(items)) if items[other] != item or other == row]
        own = rivals.index(row)
        values.append(
            -(log_softmax(logits[row, rivals], 0)[own] + log_softmax(logits[rivals, row], 0)[own])
            / 2
        )
    return np.array(values)


def affinity_reference(teacher, student, temperature=1.0):
    values = 0
    for axis in (1, 0):
        p = log_softmax(affinities(teacher) / temperature, axis)
        q = log_softmax(affinities(student) / temperature, axis)
        values = values + (np.exp(p) * (p - q)).sum(axis=axis) / 2
    return temperature**2 * values


def test_matching_equals_numpy(drawn):
    pairs = drawn.student_features
    for items in (np.arange(8), np.array([0, 1, 0, 2, 3, 3, 3, 4])):
        values = np.asarray(matching_loss(pairs=pairs, items=items))
        np.testing.assert_allclose(values, matching_reference(pairs, items), rtol=1e-4)


def test_gradients_equal_central_differences(drawn, check_gradient):
    items = np.array([0, 1, 0, 2, 3, 3, 3, 4])
    pairs = drawn.student_features
    check_gradient(
        lambda x: matching_loss(pairs=x, items=items),
        lambda x: matching_reference(x, items),
        pairs,
    )
    teacher = drawn.teacher_features
    check_gradient(
        lambda x: affinity_loss(teacher_logits=teacher, student_logits=x, temperature=2.0),
        lambda x: affinity_reference(teacher, x, 2.0),
        pairs,
    )


def test_matching_tells_nothing_apart_and_all():
    same = np.ones([4, 6])
    np.testing.assert_allclose(
        matching_loss(pairs=same, items=np.arange(4)), np.full(4, np.log(4)), rtol=1e-6
    )
    found = 100 * np.concatenate([np.eye(4), np.eye(4)], axis=1)
    np.testing.assert_allclose(matching_loss(pairs=found, items=np.arange(4)), 0, atol=1e-6)


def test_an_item_is_no_rival_of_itself():
    pairs = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(matching_loss(pairs=pairs, items=np.zeros(3)), 0, atol=1e-6)
    # Two of one item beside a third: each is told from the third alone.
    twice = np.stack([pairs[0], pairs[0], pairs[2]])
    values = matching_loss(pairs=twice, items=np.array([0, 0, 1]))
    once = matching_loss(pairs=twice[1:], items=np.array([0, 1]))
    np.testing.assert_allclose(values[1], once[0], rtol=1e-5)


def test_matching_is_finite_with_gradient_at_extremes_and_in_half_precision():
    large = np.zeros([3, 4])
    large[:, 0], large[:, 2] = 200, [-200, 200, 0]
    for dtype in ("float16", "float32"):
        for pairs in (large, 0 * large, 1e-7 * large):
            variable = tf.Variable(pairs.astype(dtype))
            with tf.GradientTape() as tape:
                value = matching_loss(pairs=variable, items=np.arange(3))
            gradient = tf.cast(tape.gradient(value, variable), "float32")
            assert value.dtype == "float32"
            assert np.isfinite(value).all() and np.isfinite(gradient).all()


def test_matching_refuses_odd_widths_and_other_items():
    with pytest.raises(ValueError, match=r"(?s)`pairs`: float .*`items`: int"):
        matching_loss(pairs=np.zeros([3, 5]), items=np.zeros(2, int))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_affinity_equals_numpy(drawn, temperature):
    teacher, student = drawn.teacher_features, drawn.student_features
    values = affinity_loss(teacher_logits=teacher, student_logits=student, temperature=temperature)
    expected = affinity_reference(teacher, student, temperature)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_affinity_is_zero_for_a_space_turned_as_a_whole(drawn):
    teacher = drawn.teacher_features
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    turned = np.concatenate([half @ rotation for half in np.split(teacher, 2, axis=1)], axis=1)
    values = affinity_loss(teacher_logits=teacher, student_logits=turned)
    np.testing.assert_allclose(values, 0, atol=1e-4)


def test_affinity_follows_both_modalities_alike(drawn):
    teacher, student = drawn.teacher_features, drawn.student_features

    def swapped(pairs):
        return np.concatenate(np.split(pairs, 2, axis=1)[::-1], axis=1)

    np.testing.assert_allclose(
        affinity_loss(teacher_logits=swapped(teacher), student_logits=swapped(student)),
        affinity_loss(teacher_logits=teacher, student_logits=student),
        rtol=1e-4,
    )


def test_affinity_refuses_odd_widths_and_temperatures_in_one_error():
    with pytest.raises(ValueError, match=r"(?s)`temperature`.*`student_logits`: float"):
        affinity_loss(
            teacher_logits=np.zeros([2, 5]), student_logits=np.zeros([2, 5]), temperature=0
        )
