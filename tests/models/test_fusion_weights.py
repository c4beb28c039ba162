import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.models import Attention, Concatenation, baseline_teacher, fusion_weights
from mmkd_tf.models.fusion import Presence

RNG = np.random.default_rng(0)
X = {name: RNG.normal(size=(700, 4)).astype("float32") for name in ("text", "image")}
X["image"][1], X["text"][2] = 0, 0


def model(fusion):
    inputs = {name: keras.Input([4], name=name) for name in ("text", "image")}
    presence = {name: Presence()(value) for name, value in inputs.items()}
    return keras.Model(inputs, layers.Dense(3)(fusion(inputs, presence)))


def test_weights_are_those_of_the_layer_for_any_number_of_examples():
    fusion = Attention(4, seed=0)
    found = fusion_weights(model(fusion), {**X, "other": np.zeros([700, 1])})
    presence = {name: (values != 0).any(axis=1, keepdims=True) for name, values in X.items()}
    presence = {name: values.astype("float32") for name, values in presence.items()}
    expected = np.asarray(fusion.modality_weights(X, presence))
    assert list(found) == ["image", "text"]
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), expected, atol=1e-6)
    assert found["image"][:3].tolist() == [pytest.approx(found["image"][0]), 0, 1]


def test_the_model_is_asked_whose_fusion_it_is_where_several_share_it():
    fusion = Attention(4, seed=0)
    model(fusion)
    second = model(fusion)
    assert fusion_weights(second, X)["text"].shape == (700,)


def test_none_where_nothing_is_weighed():
    assert fusion_weights(model(Concatenation()), X) is None
    assert fusion_weights(baseline_teacher(2), {}) is None
