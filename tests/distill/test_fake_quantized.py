import numpy as np
import tensorflow as tf
from keras import layers, ops

from mmkd_tf.distill.quantization_aware import FakeQuantized, round_activations, round_weights


def gradient(function, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(values)
    return tape.gradient(result, values).numpy()


def test_weights_are_rounded_to_a_grid_about_zero():
    weights = np.array([[0.7, -3.0, 0], [-0.26, 1.4, 0]], "float32")
    # Scales .7 / 7 and 3 / 7: -2.6 rounds to -3, and 1.4 / (3 / 7) = 3.27 to 3.
    expected = [[0.7, -3.0, 0], [-0.3, 9 / 7, 0]]
    np.testing.assert_allclose(round_weights(weights, bits=4, axes=(0,)), expected, atol=1e-6)
    np.testing.assert_allclose(round_weights(weights, bits=2, axes=(1,))[:, 0], [0, 0])
    slope = gradient(lambda w: round_weights(w, bits=4, axes=(0,)) * weights, weights)
    np.testing.assert_array_equal(slope, weights)


def test_activations_are_rounded_over_their_range():
    values = np.array([0.2, 1.0, 2.4, 3.0], "float32")  # zero is among the four values: 0 1 2 3
    np.testing.assert_allclose(round_activations(values, bits=2), [0, 1, 2, 3], atol=1e-6)
    below = round_activations(-values, bits=2)
    np.testing.assert_allclose(below, [0, -1, -2, -3], atol=1e-6)
    slope = gradient(lambda v: round_activations(v, bits=2) * values, values)
    np.testing.assert_array_equal(slope, values)
    np.testing.assert_array_equal(round_activations(np.zeros(3, "float32"), bits=8), np.zeros(3))
    np.testing.assert_array_equal(round_activations(ops.arange(256), bits=2), np.arange(256))


def test_a_copy_made_of_the_configuration_computes_the_same():
    layer = layers.DepthwiseConv1D(3, depth_multiplier=2, name="conv")
    layer.build([None, 8, 2])
    wrapped = FakeQuantized(layer, weight_bits=4, embedding_bits=4, input_bits=4)
    copy = FakeQuantized.from_config(wrapped.get_config())
    copy.set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=[2, 8, 2]).astype("float32")
    np.testing.assert_array_equal(copy(x), wrapped(x))
    assert copy.name == "conv"
    assert np.abs(np.asarray(copy(x)) - layer(x)).max() > 1e-3
