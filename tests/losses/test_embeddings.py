"""Losses of embeddings, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.embeddings import angular_margin_loss, embedding_loss, same_identity_loss


def cross_entropy(logits, label):
    shifted = logits - logits.max()
    return np.log(np.exp(shifted).sum()) - shifted[label]


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5])
def test_the_margin_is_added_to_the_angle(margin):
    cosines = np.cos([[0.4, 1.3, 2.0], [2.1, 0.9, 1.0]])
    angles = np.arccos(cosines)
    angles[[0, 1], [0, 2]] += margin
    expected = [cross_entropy(8 * np.cos(row), k) for row, k in zip(angles, (0, 2), strict=True)]
    found = angular_margin_loss(cosines=cosines, labels=[0, 2], margin=margin, scale=8.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_it_falls_all_the_way_from_the_opposite_to_the_direction_itself():
    angles = np.linspace(np.pi, 0, 200)  # beyond pi - 0.5 the sum is above pi
    cosines = np.stack([np.cos(angles), np.zeros(200)], axis=1)
    values = angular_margin_loss(cosines=cosines, labels=np.zeros(200, int), scale=2.0)
    assert (np.diff(values) < 0).all()


@pytest.mark.parametrize("cosine", [-1.0, 1.0, 0.0])
def test_gradients_are_finite_at_the_ends(cosine):
    cosines = tf.Variable([[cosine, 0.5]])
    with tf.GradientTape() as tape:
        value = angular_margin_loss(cosines=tf.identity(cosines), labels=[0])
    assert np.isfinite(tape.gradient(value, cosines)).all()


def test_within_a_batch_the_others_of_an_identity_are_its_direction():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    identities = np.array([3, 3, 3, 7, 7, 9])
    found = same_identity_loss(embeddings=points, identities=identities, margin=0.2, scale=4.0)
    for i, identity in enumerate(identities):
        mates = [j for j in range(6) if j != i and identities[j] == identity]
        if not mates:
            assert found[i] == 0
            continue
        mean = points[mates].mean(axis=0)
        own = np.cos(np.arccos(points[i] @ mean / np.linalg.norm(mean)) + 0.2)
        others = points[identities != identity] @ points[i]
        np.testing.assert_allclose(found[i], cross_entropy(4 * np.array([own, *others]), 0), 1e-4)


def test_examples_without_inputs_have_finite_losses_and_gradients():
    points = tf.Variable(np.zeros([4, 3], np.float32))
    with tf.GradientTape() as tape:
        value = same_identity_loss(embeddings=tf.identity(points), identities=[0, 0, 1, 1])
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, points)).all()


def test_relations_alone_leave_the_space_to_be_turned():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(5, 4))
    turned = teacher @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    both = {"teacher_logits": teacher, "student_logits": turned}
    assert np.max(embedding_loss(**both, cosine_weight=0.0)) < 1e-5
    assert np.min(embedding_loss(**both, relation_weight=0.0)) > 1e-2


def test_what_does_not_fit_is_told():
    with pytest.raises(
        ValueError, match=r"`margin`: radians[\s\S]*`scale`: a finite[\s\S]*float \["
    ):
        angular_margin_loss(cosines=np.ones(3), labels=[0], margin=4.0, scale=0.0)
    with pytest.raises(ValueError, match="`embeddings`, `identities`"):
        same_identity_loss(embeddings=np.ones([3, 2]), identities=[0, 1])
    with pytest.raises(ValueError, match="at least one above 0"):
        embedding_loss(
            teacher_logits=np.eye(2),
            student_logits=np.eye(2),
            cosine_weight=0.0,
            relation_weight=0.0,
        )
