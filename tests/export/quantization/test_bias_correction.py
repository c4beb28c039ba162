import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export import quantize as module
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.bias_correction import add_biases, correct_biases
from mmkd_tf.export.quantization.tflite_graph import write_used
from mmkd_tf.export.quantize import quantize
from mmkd_tf.export.tflite_tables import read_tables


@pytest.fixture(scope="module")
def pictures():
    # Far from zero in the mean, as after a relu, so that rounded weights shift what comes out.
    rng = np.random.default_rng(0)
    return {"image": rng.uniform(0.5, 1, (40, 24, 24, 3)).astype("float32")}


def mean_error(content, original, inputs):
    """Of the logits, per class: what is the same in all examples."""
    found, wanted = (np.log(TensorRunner(c)(inputs)) for c in (content, original))
    return np.abs((found - wanted).mean(axis=0)).max()


def test_missing_biases_become_zeros(pictures):
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
