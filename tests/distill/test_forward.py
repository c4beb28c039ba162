import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.distill.teachers import multi_output, output_shapes

X = {"image": np.random.default_rng(0).normal(size=(3, 4)).astype("float32")}


def classifier(*between):
    """A model whose hidden layer and whatever follows it are the given layers."""
    inputs = {"image": keras.Input([4], name="image")}
    x = inputs["image"]
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="small")


def test_gives_logits_and_layers_of_one_pass_by_name():
    model = classifier(layers.Dense(3, activation="relu", name="hidden"))
    outputs = multi_output(model, ["hidden", "hidden", "logits"], argument="student")
    given = outputs(X)
    assert list(given) == ["logits", "hidden"]
    kernel, bias, head_kernel, head_bias = model.get_weights()
    hidden = np.maximum(X["image"] @ kernel + bias, 0)
    np.testing.assert_allclose(given["hidden"], hidden, atol=1e-6)
    np.testing.assert_allclose(given["logits"], hidden @ head_kernel + head_bias, atol=1e-6)
    assert [id(w) for w in outputs.weights] == [id(w) for w in model.weights]
    assert output_shapes(outputs) == {"logits": (2,), "hidden": (3,)}


def test_runs_each_layer_once():
    calls = []

    class Counting(layers.Layer):
        def call(self, inputs):
            calls.append(self.name)
            return inputs

    model = classifier(Counting(name="a"), Counting(name="b"))
    outputs = multi_output(model, ["a", "b"], argument="student")
    calls.clear()
    outputs(X)
    assert calls == ["a", "b"]


def test_takes_sequential_models():
    model = keras.Sequential([keras.Input([4]), layers.Dense(3, name="hidden"), layers.Dense(2)])
    outputs = multi_output(model, ["hidden"], argument="student")
    np.testing.assert_array_equal(outputs(X["image"])["logits"], model(X["image"]))
    assert output_shapes(outputs)["hidden"] == (3,)


def test_reads_a_model_inside_the_model():
    inner = keras.Input([4])
    backbone = keras.Model(inner, layers.Dense(3)(inner), name="backbone")
    model = classifier(backbone)
    outputs = multi_output(model, ["backbone"], argument="teacher")
    np.testing.assert_allclose(outputs(X)["backbone"], backbone(X["image"]), atol=1e-6)


def test_reads_a_layer_that_was_used_elsewhere_before():
    shared = layers.Dense(3, name="shared")
    shared(keras.Input([4]))
    model = classifier(layers.Rescaling(2.0), shared)
    outputs = multi_output(model, ["shared"], argument="teacher")
    np.testing.assert_allclose(outputs(X)["shared"], shared(2 * X["image"]), atol=1e-6)


def test_reads_a_model_cut_out_of_another():
    whole = classifier(layers.Dense(3, name="early"), layers.Dense(5, name="late"))
    cut = keras.Model(whole.get_layer("early").output, whole.output)
    outputs = multi_output(cut, ["late"], argument="teacher")
    features = np.ones([2, 3], "float32")
    expected = whole.get_layer("late")(features)
    np.testing.assert_allclose(outputs(features)["late"], expected, atol=1e-6)


def test_lists_the_layers_that_are_there():
    model = classifier(layers.Dense(3, name="hidden"))
    with pytest.raises(ValueError, match=r"`student`: .*'small' without \['fused', 'x'\]") as error:
        multi_output(model, ["fused", "hidden", "x"], argument="student")
    assert "Its layers are ['image', 'hidden', 'head']." in str(error.value)


def test_refuses_layers_with_several_outputs():
    inputs = keras.Input([5, 2], name="series")
    x, *_ = layers.LSTM(3, return_state=True, name="lstm")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(ValueError, match=r"`teacher`: layers with one output.*\['lstm'\]"):
        multi_output(model, ["lstm"], argument="teacher")

    shared, one = layers.Dense(3, name="shared"), keras.Input([4], name="one")
    model = keras.Model(one, layers.Dense(2)(shared(one) + shared(2 * one)))
    with pytest.raises(ValueError, match=r"`teacher`: layers with one output.*called several"):
        multi_output(model, ["shared"], argument="teacher")
