import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.features import directions, lengths, relative


def value_and_gradient(function, point):
    point = tf.constant(point)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return value.numpy(), tape.gradient(value, point).numpy()


def test_lengths_and_their_gradients():
    value, gradient = value_and_gradient(lengths, [[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(value, [[5.0], [0.0]])
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0.0, 0.0]])


def test_directions_below_the_least_length_are_zeros_without_gradient():
    value, gradient = value_and_gradient(directions, [[3.0, 4.0], [5e-5, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(value, [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]])
    assert np.abs(gradient[0]).max() > 0.01
    assert not gradient[1:].any()


def test_directions_just_above_it_have_a_gradient_that_half_precision_holds():
    _, gradient = value_and_gradient(directions, [[1.1e-4, 0.0]])
    assert 5e3 < np.abs(gradient).max() < 65504


@pytest.mark.parametrize("function", [lengths, directions, lambda x: relative(x, x)])
def test_nan_comes_through(function):
    value, _ = value_and_gradient(function, [[float("nan"), 1.0]])
    assert np.isnan(value).any()
