import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.export.recurrent import lowered_call, portable
from mmkd_tf.export.tflite import export_tflite

MASKS = [None, [1] * 5, [0] * 5, [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 1, 0]]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    "options", [{}, {"go_backwards": True}, {"use_bias": False, "activation": "relu"}]
)
def test_lowered_lstm_equals_keras(mask, options):
    layer = layers.LSTM(4, bias_initializer="random_normal", **options)
    sequences = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    mask = None if mask is None else tf.constant([mask]) > 0
    expected = layer(sequences, mask=mask)
    function = tf.function(lowered_call(layer))
    np.testing.assert_allclose(function(tf.constant(sequences), mask=mask), expected, atol=1e-6)


def test_lowered_lstm_equals_the_equations():
    layer = layers.LSTM(2, bias_initializer="random_normal")
    sequences = np.random.default_rng(1).normal(size=(1, 3, 2)).astype("float32")
    layer.build([1, 3, 2])
    kernel, recurrent_kernel, bias = layer.get_weights()
    output = carry = np.zeros(2)
    for step in (0, 2):  # the mask leaves out step 1
        write, forget, candidate, read = np.split(
            sequences[0, step] @ kernel + output @ recurrent_kernel + bias, 4
        )
        carry = sigmoid(forget) * carry + sigmoid(write) * np.tanh(candidate)
        output = sigmoid(read) * np.tanh(carry)
    mask = tf.constant([[True, False, True]])
    found = lowered_call(layer)(tf.constant(sequences), mask=mask)
    np.testing.assert_allclose(found[0], output, atol=1e-6)


def test_other_uses_of_the_layer_stay_with_keras():
    layer = layers.LSTM(4)
    sequences = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    layer.build(sequences.shape)
    states = [tf.ones([3, 4]), tf.ones([3, 4])]
    call = lowered_call(layer)
    np.testing.assert_allclose(call(tf.constant(sequences)), layer(sequences), atol=1e-6)
    np.testing.assert_allclose(
        call(tf.constant(sequences), initial_state=states),
        layer(sequences, initial_state=states),
        atol=1e-6,
    )


def test_portable_changes_layers_within_layers_and_restores_them():
    policy = keras.DTypePolicy("mixed_bfloat16")
    wrapper = layers.Bidirectional(layers.LSTM(4, use_cudnn="auto", dtype=policy), dtype=policy)
    inputs = keras.Input([5, 3])
    model = keras.Model(inputs, wrapper(inputs))
    lstm = wrapper.forward_layer
    before = dict(vars(lstm))
    with pytest.raises(KeyError), portable(model, lower_lstm=True):
        assert lstm.compute_dtype == wrapper.compute_dtype == "float32"
        assert lstm.use_cudnn is False
        assert lstm.call.__qualname__.startswith("lowered_call")
        raise KeyError
    assert vars(lstm) == before
    assert lstm.compute_dtype == wrapper.compute_dtype == "bfloat16"
    assert lstm.use_cudnn == "auto"


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: layers.Bidirectional(layers.LSTM(4)),
        lambda: layers.GRU(4),
        lambda: layers.LSTM(4, unroll=True),
        lambda: keras.Sequential([layers.LSTM(4, return_sequences=True), layers.LSTM(3)]),
        lambda: layers.RNN(layers.LSTMCell(4)),
    ],
    ids=["bidirectional", "gru", "unrolled", "stacked", "cell"],
)
def test_recurrent_layers_are_exported_exactly(
    encoder, make_model, class_names, examples, tmp_path
):
    model = make_model(text_encoder=encoder())
    few = {name: values[:12] for name, values in examples.items()}
    result = export_tflite(model, tmp_path / "a.tflite", class_names=class_names, examples=few)
    assert result.max_abs_logit_difference <= 1e-5
