import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization import quantizer as module
from mmkd_tf.export.quantization.graph import constant
from mmkd_tf.export.quantization.observation import correct_biases, observe_ranges, runs
from mmkd_tf.export.quantization.quantizer import quantize
from mmkd_tf.export.tflite_tables import read_tables

PICTURES = np.random.default_rng(0).normal(size=(7, 9, 9, 2)).astype("float32")


def observed(layer, values=PICTURES, batch_size=1):
    """Observes a model with one layer, of which the softmax's input is a mean."""
    image = keras.Input(values.shape[1:], name="image")
    x = layer(image)
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    content = convert(keras.Model(image, x), {"image": values}, batch_size=batch_size)
    model = read_tables(content)
    return model, observe_ranges(model, content, {"image": values})


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_ranges_are_those_of_all_examples(batch_size):
    model, found = observed(layers.ReLU(negative_slope=0.5), batch_size=batch_size)
    graph = model.subgraphs[0]
    (image,) = graph.inputs
    assert found[graph.tensors[image].name.decode()] == (PICTURES.min(), PICTURES.max())
    low, high = 0.5 * PICTURES.min(), PICTURES.max()
    assert any(np.allclose(bounds, (low, high)) for bounds in found.values())


def test_constants_have_no_range():
    model, found = observed(layers.Conv2D(4, 3))
    constants = [
        t.name.decode() for t in model.subgraphs[0].tensors if constant(model, t) is not None
    ]
    assert constants and not set(constants) & set(found)


@pytest.mark.parametrize(("limit", "expected"), [(10, range(7)), (3, [0, 3, 6])])
def test_runs_choose_evenly(limit, expected):
    image = keras.Input([2], name="image")
    values = np.arange(14, dtype="float32").reshape(7, 2)
    content = convert(keras.Model(image, image), {"image": values})
    (index,) = read_tables(content).subgraphs[0].inputs
    found = [read(index)[0].tolist() for read in runs(content, {"image": values}, limit=limit)]
    assert found == [values[i].tolist() for i in expected]


@pytest.fixture(scope="module")
def pictures():
    # Far from zero in the mean, as after a relu, so that rounded weights shift what comes out.
    rng = np.random.default_rng(0)
    return {"image": rng.uniform(0.5, 1, (40, 24, 24, 3)).astype("float32")}


def mean_error(content, original, inputs):
    """Of the logits, per class: what is the same in all examples."""
    found, wanted = (np.log(TensorRunner(c)(inputs)) for c in (content, original))
    return np.abs((found - wanted).mean(axis=0)).max()


@pytest.mark.parametrize("level", ["mixed", "mixed4"])
def test_takes_out_what_is_the_same_in_all_examples(pictures, level, monkeypatch):
    monkeypatch.setattr(module, "_MAX_RELATIVE_ERROR", 1.0)
    keras.utils.set_random_seed(0)
    image = keras.Input([24, 24, 3], name="image")
    x = layers.Conv2D(32, 3, activation="relu", use_bias=False)(image)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Flatten()(x)  # 12,800 wide: the dense layer is rounded to the nearest
    content = convert(keras.Model(image, layers.Dense(6, use_bias=False)(x)), pictures)
    corrected = quantize(content, level=level, examples=pictures)
    monkeypatch.setattr(module, "correct_biases", lambda quantized, *_: quantized)
    plain = quantize(content, level=level, examples=pictures)
    assert len(plain) == len(corrected)
    error = mean_error(plain, content, pictures)
    assert mean_error(corrected, content, pictures) < 0.3 * error


def test_float_models_stay(pictures):
    image = keras.Input([24, 24, 3], name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    content = convert(keras.Model(image, x), pictures)
    assert correct_biases(content, content, pictures) == content
