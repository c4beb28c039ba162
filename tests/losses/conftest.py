from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def drawn():
    """Inputs of the published values: the order of the draws is part of them."""
    rng = np.random.default_rng(20261121)
    return SimpleNamespace(
        teacher_logits=3 * rng.normal(size=(8, 10)),
        student_logits=3 * rng.normal(size=(8, 10)),
        labels=rng.integers(0, 10, 8),
        teacher_features=rng.normal(size=(8, 16)),
        student_features=rng.normal(size=(8, 16)),
        teacher_maps=rng.normal(size=(8, 6, 6, 5)),
        student_maps=rng.normal(size=(8, 6, 6, 3)),
    )


@pytest.fixture
def check_gradient():
    """Compares a loss's gradient with central differences of a float64 reference."""

    def check(loss, reference, point):
        variable = tf.Variable(point, dtype=tf.float32)
        with tf.GradientTape() as tape:
            value = loss(variable)
        gradient = tape.gradient(value, variable).numpy()
        expected = np.empty_like(point)
        for index in np.ndindex(*point.shape):
            step = np.zeros_like(point)
            step[index] = 1e-5
            expected[index] = np.sum(reference(point + step) - reference(point - step)) / 2e-5
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(gradient, expected, atol=2e-5 * np.abs(expected).max())

    return check
