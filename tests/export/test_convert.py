import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import Reader, convert


def probabilities(model, inputs):
    return keras.ops.softmax(model(inputs)).numpy()


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_any_batch_equals_keras(model, examples, batch_size):
    runner = TensorRunner(convert(model, examples, batch_size=batch_size))
    size = -1 if batch_size is None else batch_size
    assert runner.inputs == {
        "image": ((size, 16, 16, 3), np.dtype("uint8")),
        "text": ((size, 6), np.dtype("int32")),
    }
    expected = probabilities(model, examples)
    np.testing.assert_allclose(runner(examples), expected, atol=1e-6)
    for start in range(0, 9, 3):
        rows = {name: values[start : start + 3] for name, values in examples.items()}
        np.testing.assert_allclose(runner(rows), expected[start : start + 3], atol=1e-6)


def test_a_reader_takes_the_place_of_an_input(model, examples):
    def read(letters):  # `a` is the first word of the vocabulary that is not padding
        letters = tf.cast(letters[:, ::2], tf.int32)
        return tf.where(letters == 0, 0, letters - ord("a") + 1)

    reader = Reader(tf.TensorSpec([1, 12], tf.uint8), read)
    runner = TensorRunner(convert(model, examples, readers={"text": reader}))
    assert runner.inputs["text"] == ((1, 12), np.dtype("uint8"))
    text = np.frombuffer(b"b c d \0\0\0\0\0\0", np.uint8)[np.newaxis]
    ids = np.array([[2, 3, 4, 0, 0, 0]], "int32")
    image = examples["image"][:1]
    np.testing.assert_allclose(
        runner({"text": text, "image": image}),
        probabilities(model, {"text": ids, "image": image}),
        atol=1e-6,
    )


def test_unfit_batches_and_readers_are_refused(model, examples):
    reader = Reader(tf.TensorSpec([1, 12], tf.uint8), lambda letters: letters)
    with pytest.raises(ValueError) as caught:
        convert(model, examples, batch_size=0, readers={"text": reader, "sound": reader})
    for part in ("`batch_size`: 1 or more", "for text, a batch of 0", "Received: one of 'sound'"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"gives text of shape \(1, 6\).*gives \(1, 12\)"):
        convert(model, examples, readers={"text": reader})


def test_half_precision_is_computed_in_float32(make_model, examples):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    plain = make_model()
    runner = TensorRunner(convert(mixed, examples))
    np.testing.assert_allclose(runner(examples), probabilities(plain, examples), atol=1e-6)


def test_only_a_text_of_known_ids_is_taken(model, examples):
    runner = TensorRunner(convert(model, examples))
    for ids in ([20, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]):
        inputs = {"text": np.array([ids], "int32"), "image": examples["image"][:1]}
        with pytest.raises(RuntimeError, match="gather"):
            runner(inputs)
    few = {name: values[:1] for name, values in examples.items()}
    np.testing.assert_allclose(runner(few), probabilities(model, few), atol=1e-6)


class Gamma(layers.Layer):
    def call(self, x):
        return tf.math.igamma(keras.ops.abs(x) + 1, keras.ops.abs(x) + 1)


def test_what_tflite_lacks_is_named(examples, capfd):
    text = keras.Input([6], dtype="int32", name="text")
    x = layers.LSTM(4, name="odd")(layers.Embedding(20, 4, mask_zero=True)(text))
    model = keras.Model(text, layers.Dense(3)(Gamma(name="odd_layer")(x)))
    with pytest.raises(NotImplementedError, match=r"Igamma in the layers \['odd_layer'\]"):
        convert(model, {"text": examples["text"]})
    assert "Igamma" not in capfd.readouterr().err
