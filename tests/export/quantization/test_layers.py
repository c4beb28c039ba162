import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.graph import Operator, code_of, write_used
from mmkd_tf.export.quantization.layers import add_biases, merge_separable
from mmkd_tf.export.tflite_tables import read_tables

PICTURES = {"image": np.random.default_rng(0).uniform(-1, 1, (6, 9, 9, 3)).astype("float32")}


def picture_model(**options):
    image = keras.Input([9, 9, 3], name="image")
    x = layers.SeparableConv2D(5, 3, bias_initializer="random_normal", **options)(image)
    x = layers.GlobalAveragePooling2D()(layers.Activation("tanh")(x))
    return keras.Model(image, layers.Dense(3)(x))


def merged(content):
    model = read_tables(content)
    merge_separable(model)
    codes = [code_of(model, operator) for operator in model.subgraphs[0].operators]
    return write_used(model), codes


@pytest.mark.parametrize(
    ("options", "batch_size"),
    [({}, 1), ({}, None), ({"strides": 2, "padding": "same"}, 4), ({"dilation_rate": 2}, 1)],
    ids=str,
)
def test_one_convolution_gives_the_same(options, batch_size):
    model = picture_model(depth_multiplier=4, **options)
    content = convert(model, PICTURES, batch_size=batch_size)
    result, codes = merged(content)
    assert Operator.DEPTHWISE_CONV_2D not in codes
    assert codes.count(Operator.CONV_2D) == 1
    np.testing.assert_allclose(
        TensorRunner(result)(PICTURES), TensorRunner(content)(PICTURES), atol=1e-6
    )


def test_one_filter_a_channel_stays():
    content = convert(picture_model(), PICTURES)
    result, codes = merged(content)
    assert Operator.DEPTHWISE_CONV_2D in codes
    np.testing.assert_array_equal(TensorRunner(result)(PICTURES), TensorRunner(content)(PICTURES))


def test_what_another_layer_reads_too_stays():
    image = keras.Input([9, 9, 3], name="image")
    x = layers.DepthwiseConv2D(3, depth_multiplier=4)(image)
    y = layers.Conv2D(12, 1)(x)
    features = layers.GlobalAveragePooling2D()(layers.Multiply()([x, y]))
    model = keras.Model(image, layers.Dense(3)(features))
    _, codes = merged(convert(model, PICTURES))
    assert Operator.DEPTHWISE_CONV_2D in codes


def test_missing_biases_become_zeros():
    pictures = {
        "image": np.random.default_rng(0).uniform(0.5, 1, (40, 24, 24, 3)).astype("float32")
    }
    image = keras.Input([24, 24, 3], name="image")
    x = layers.Dense(8, use_bias=False)(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(3, use_bias=False)(x))
    content = convert(model, pictures)
    changed = read_tables(content)
    add_biases(changed, min_weights=24 * 24 * 3 * 8)
    shapes = [list(t.shape) for t in changed.subgraphs[0].tensors if t.name.endswith(b"/bias")]
    assert shapes == [[8]]  # the second layer is too small
    result = write_used(changed)
    np.testing.assert_allclose(
        TensorRunner(result)(pictures), TensorRunner(content)(pictures), atol=1e-7
    )
