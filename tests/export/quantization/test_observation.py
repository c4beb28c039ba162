import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization import observation
from mmkd_tf.export.quantization.observation import observe, runs
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, constant
from mmkd_tf.export.tflite_tables import read_tables

PICTURES = np.random.default_rng(0).normal(size=(7, 9, 9, 2)).astype("float32")


def observed(layer, values=PICTURES, batch_size=1):
    """Observes a model with one layer, of which the softmax's input is a mean."""
    image = keras.Input(values.shape[1:], name="image")
    x = layer(image)
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    content = convert(keras.Model(image, x), {"image": values}, batch_size=batch_size)
    model = read_tables(content)
    return model, observe(model, content, {"image": values})


def moments_of(model, found, code):
    graph = model.subgraphs[0]
    (operator,) = (o for o in graph.operators if code_of(model, o) == code)
    return found.moments[int(operator.inputs[1])]


def patches_of(values, size, stride, pad):
    values = np.pad(values, [(0, 0), pad, pad, (0, 0)]).astype(np.float64)
    places = range(0, values.shape[1] - size + 1, stride)
    return np.array([v[i : i + size, j : j + size] for v in values for i in places for j in places])


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_ranges_are_those_of_all_examples(batch_size):
    model, found = observed(layers.ReLU(negative_slope=0.5), batch_size=batch_size)
    graph = model.subgraphs[0]
    (image,) = graph.inputs
    assert found.ranges[image] == (PICTURES.min(), PICTURES.max())
    low, high = 0.5 * PICTURES.min(), PICTURES.max()
    assert any(np.allclose(bounds, (low, high)) for bounds in found.ranges.values())


def test_constants_have_no_range():
    model, found = observed(layers.Conv2D(4, 3))
    constants = [
        i for i, t in enumerate(model.subgraphs[0].tensors) if constant(model, t) is not None
    ]
    assert constants and not set(constants) & set(found.ranges)


@pytest.mark.parametrize(
    ("options", "stride", "pad"),
    [({}, 1, (0, 0)), ({"strides": 2, "padding": "same"}, 2, (1, 1))],
)
def test_moments_of_a_convolution(options, stride, pad):
    model, found = observed(layers.Conv2D(4, 3, **options))
    patches = patches_of(PICTURES, 3, stride, pad).reshape(-1, 18)
    np.testing.assert_allclose(
        moments_of(model, found, Operator.CONV_2D), patches.T @ patches, rtol=1e-5
    )


def test_moments_of_a_depthwise_convolution_are_by_channel():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2)
    model, found = observed(layer)
    patches = patches_of(PICTURES, 3, 1, (0, 0)).reshape(-1, 9, 2)
    expected = np.einsum("pic,pjc->cij", patches, patches)[[0, 0, 1, 1]]
    np.testing.assert_allclose(
        moments_of(model, found, Operator.DEPTHWISE_CONV_2D), expected, rtol=1e-5
    )


def test_moments_of_a_dense_layer():
    values = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")
    model, found = observed(layers.Dense(3), values)
    expected = values.T.astype(np.float64) @ values
    np.testing.assert_allclose(
        moments_of(model, found, Operator.FULLY_CONNECTED), expected, rtol=1e-5
    )


def test_very_wide_layers_have_no_moments(monkeypatch):
    monkeypatch.setattr(observation, "_MAX_COLUMNS", 17)
    assert observed(layers.Conv2D(4, 3))[1].moments == {}


@pytest.mark.parametrize(("limit", "expected"), [(10, range(7)), (3, [0, 3, 6])])
def test_runs_choose_evenly(limit, expected):
    image = keras.Input([2], name="image")
    values = np.arange(14, dtype="float32").reshape(7, 2)
    content = convert(keras.Model(image, image), {"image": values})
    (index,) = read_tables(content).subgraphs[0].inputs
    found = [read(index)[0].tolist() for read in runs(content, {"image": values}, limit=limit)]
    assert found == [values[i].tolist() for i in expected]
