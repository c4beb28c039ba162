import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill.soft_targets import TeacherOutputs

PICTURES = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def teacher(*, training=None, layer=layers.Identity, dtype=None, activation="relu"):
    inputs = keras.Input([4], name="image")
    x = layers.Dense(3, activation=activation, name="hidden", dtype=dtype)(inputs)
    x = layer()(x, **({} if training is None else {"training": training}))
    return keras.Model({"image": inputs}, layers.Dense(2, name="out", dtype=dtype)(x))


def test_gives_logits_and_layers_of_one_pass():
    model = teacher()
    asked = TeacherOutputs(model, ["hidden"])
    assert asked.names == ["logits", "hidden"]
    found = asked.of({"image": tf.constant(PICTURES), "other": tf.zeros([6])})
    kernel, bias, last, last_bias = model.get_weights()
    hidden = np.maximum(PICTURES @ kernel + bias, 0)
    np.testing.assert_allclose(found["hidden"], hidden, atol=1e-6)
    np.testing.assert_allclose(found["logits"], hidden @ last + last_bias, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_kept_exactly(dtype):
    model = teacher(dtype=dtype)
    found = TeacherOutputs(model, []).of({"image": tf.constant(PICTURES)})
    assert found["logits"].dtype == "float32"
    expected = model({"image": tf.constant(PICTURES)}, training=False)
    np.testing.assert_array_equal(found["logits"], tf.cast(expected, tf.float32))


def test_refuses_layers_that_are_not_there():
    with pytest.raises(ValueError, match=r"without \['fused'\].*\['image', 'hidden', 'identity"):
        TeacherOutputs(teacher(), ["fused", "hidden"])
    with pytest.raises(TypeError, match="`layers`: a list of names.*layers='hidden'"):
        TeacherOutputs(teacher(), "hidden")


def of_each(model, pictures=PICTURES, batch_size=3, num_examples=6):
    batches = tf.data.Dataset.from_tensor_slices({"image": pictures}).batch(batch_size)
    return list(TeacherOutputs(model, ["hidden"]).of_each(batches, num_examples))


def test_examples_with_nan_are_named_by_number_and_view():
    assert len(of_each(teacher())) == 2
    damaged = np.concatenate([PICTURES, PICTURES])
    damaged[9], damaged[11, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"`teacher`: finite.*'hidden'\] hold.* view 1: 3, 5\. "):
        of_each(teacher(activation="linear"), damaged)


class Noise(layers.Layer):
    """Is random in inference too, as Monte Carlo dropout is."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.uniform(keras.ops.shape(x), seed=self.generator)


class BatchMean(layers.Layer):
    """Lets each example see the others."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


@pytest.mark.parametrize("layer", [Noise, BatchMean])
def test_refuses_a_teacher_whose_outputs_follow_from_more_than_the_example(layer):
    with pytest.raises(ValueError, match=r"follow from an example alone.*\['logits'\] differ"):
        of_each(teacher(layer=layer))


def test_a_layer_called_in_training_mode_is_in_inference_mode_here():
    model = teacher(layer=lambda: layers.Dropout(0.5), training=True)
    found = np.concatenate([outputs["logits"] for outputs in of_each(model)])
    kernel, bias, last, last_bias = model.get_weights()
    expected = np.maximum(PICTURES @ kernel + bias, 0) @ last + last_bias
    np.testing.assert_allclose(found, expected, atol=1e-6)
