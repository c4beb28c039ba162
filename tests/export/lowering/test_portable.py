import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.export.lowering.portable import portable
from mmkd_tf.models.fusion import Presence


@pytest.mark.parametrize("lower", [False, True])
def test_changes_layers_within_layers_and_restores_them(lower):
    policy = keras.DTypePolicy("mixed_bfloat16")
    wrapper = layers.Bidirectional(layers.LSTM(4, use_cudnn="auto", dtype=policy), dtype=policy)
    inputs = keras.Input([5, 3])
    model = keras.Model(inputs, wrapper(inputs))
    lstm = wrapper.forward_layer
    before = dict(vars(lstm))
    with pytest.raises(KeyError), portable(model, lower=lower):
        assert lstm.compute_dtype == wrapper.compute_dtype == "float32"
        assert lstm.use_cudnn is False
        assert ("inner_loop" in vars(lstm)) == lower
        raise KeyError
    assert vars(lstm) == before
    assert lstm.compute_dtype == wrapper.compute_dtype == "bfloat16"
    assert lstm.use_cudnn == "auto"


def operators(layer, spec):
    with portable(layer, lower=True):
        graph = tf.function(layer, input_signature=[spec]).get_concrete_function().graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("shape", [[2, 3], [2], [2, 2, 2]])
def test_lowered_embedding_equals_keras(shape):
    layer = layers.Embedding(5, 3, mask_zero=True)
    ids = np.arange(np.prod(shape)).reshape(shape) % 5
    expected = layer(ids)
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(tf.constant(ids)), expected)
        open_sizes = tf.function(
            layer, input_signature=[tf.TensorSpec([None] * len(shape), "int32")]
        )
        np.testing.assert_array_equal(open_sizes(tf.constant(ids, tf.int32)), expected)
    assert "SelectV2" in {
        operation.type
        for operation in tf.function(layer).get_concrete_function(ids).graph.get_operations()
    }
    assert not {"SelectV2", "Less"} & operators(layer, tf.TensorSpec(shape, "int32"))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("shape", [[3, 4], [3, 2, 2, 2]])
def test_lowered_presence_equals_keras(dtype, shape):
    values = np.zeros(shape, dtype)
    values[1].flat[1] = 1
    values[2].flat[:2] = [1, 255 if dtype == "uint8" else -1]  # the sum is no measure of the latter
    layer = Presence()
    expected = layer(values)
    np.testing.assert_array_equal(expected, [[0], [1], [1]])
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(tf.constant(values)), expected)


def test_other_layers_are_left_alone():
    class Mine(layers.Embedding):
        def call(self, ids):
            return super().call(ids) + 1

    layer = Mine(5, 3)
    expected = layer(np.array([[1, 2]]))
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(np.array([[1, 2]])), expected)
