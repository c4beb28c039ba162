import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.observation import observe
from mmkd_tf.export.quantization.plan import Arithmetic, Treatment
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, constant, write_used
from mmkd_tf.export.quantization.weight_rounding import round_weights
from mmkd_tf.export.tflite_tables import read_tables

WEIGHTED = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)
PICTURES = {"image": np.random.default_rng(0).uniform(0, 1, (30, 8, 8, 3)).astype("float32")}


@pytest.fixture(scope="module")
def content():
    keras.utils.set_random_seed(0)
    image = keras.Input([8, 8, 3], name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.DepthwiseConv2D(3, activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    return convert(keras.Model(image, layers.Dense(3)(x)), PICTURES)


def rounded(content, bits, moments=None):
    model = read_tables(content)
    treatments = [
        [
            Treatment(Arithmetic.FLOAT, bits) if code_of(model, operator) in WEIGHTED else None
            for operator in graph.operators
        ]
        for graph in model.subgraphs
    ]
    round_weights(model, treatments, moments or {})
    return model


def kernels(model):
    """By code, weights with the channels that have a scale each in front."""
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        if code_of(model, operator) in WEIGHTED:
            kernel = constant(model, graph.tensors[operator.inputs[1]])
            depthwise = code_of(model, operator) == Operator.DEPTHWISE_CONV_2D
            found.append(np.moveaxis(kernel, -1, 0) if depthwise else kernel)
    return found


@pytest.mark.parametrize("bits", [8, 4])
def test_each_channel_has_its_grid(content, bits):
    before, after = kernels(read_tables(content)), kernels(rounded(content, bits))
    assert len(after) == 4
    levels = 2 ** (bits - 1) - 1
    for old, new in zip(before, after, strict=True):
        assert new.shape == old.shape and not np.array_equal(new, old)
        for old_channel, channel in zip(old, new, strict=True):
            step = np.abs(old_channel).max() / levels
            np.testing.assert_allclose(channel, np.rint(old_channel / step) * step, rtol=1e-5)


def test_half_precision_is_not_rounded(content):
    for old, new in zip(kernels(read_tables(content)), kernels(rounded(content, 16)), strict=True):
        np.testing.assert_array_equal(new, old)


def test_what_was_seen_makes_the_model_more_exact(content):
    model = read_tables(content)
    moments = observe(model, content, PICTURES).moments
    assert len(moments) == 4
    errors = [
        np.mean(np.square(TensorRunner(write_used(m))(PICTURES) - TensorRunner(content)(PICTURES)))
        for m in (rounded(content, 4, moments), rounded(content, 4))
    ]
    assert errors[0] < 0.5 * errors[1]
