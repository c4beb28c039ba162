import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from mmkd_tf.export import recurrent
from mmkd_tf.export.convert import portable
from mmkd_tf.export.recurrent import split_cell

STEPS, DIM, UNITS = 5, 3, 4
# Padding on the right, on the left, on both sides, in between, none, nothing else.
TEXTS = np.array(
    [
        [2, 3, 0, 0, 0],
        [0, 0, 4, 5, 2],
        [0, 3, 3, 0, 0],
        [5, 0, 0, 2, 0],
        [1, 2, 3, 4, 5],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 4],
    ],
    "int32",
)
SEQUENCES = np.random.default_rng(1).normal(size=[len(TEXTS), STEPS, DIM]).astype("float32")
MASKS = {"masked": TEXTS > 0, "unmasked": None}


class Sum(layers.Layer):
    """A cell of one's own: output and state differ, and the output is not zero at the start."""

    state_size, output_size = DIM, UNITS

    def call(self, inputs, states):
        total = states[0] + inputs
        return ops.concatenate([total, total[:, :1]], axis=1) + 1, [total]


LAYERS = {
    "lstm": lambda **options: layers.LSTM(UNITS, **options),
    "lstm without bias": lambda **options: layers.LSTM(
        UNITS, use_bias=False, activation="relu", recurrent_activation="hard_sigmoid", **options
    ),
    "gru": lambda **options: layers.GRU(UNITS, **options),
    "gru without bias": lambda **options: layers.GRU(UNITS, use_bias=False, **options),
    "gru, reset before": lambda **options: layers.GRU(UNITS, reset_after=False, **options),
    "simple": lambda **options: layers.SimpleRNN(UNITS, **options),
    "cell": lambda **options: layers.RNN(layers.LSTMCell(UNITS), **options),
    "cells": lambda **options: layers.RNN([layers.GRUCell(2), layers.LSTMCell(UNITS)], **options),
    "cell of one's own": lambda **options: layers.RNN(Sum(), **options),
}


@pytest.fixture(params=["as small ones", "as large ones"])
def lowered(request, monkeypatch):
    """Lowers small layers as they are, and as if they were large."""
    if request.param == "as large ones":
        monkeypatch.setattr(recurrent, "_LARGEST_UNROLLED", -1)
        monkeypatch.setattr(recurrent, "_LARGEST_STATIC_PROJECTION", -1)


def spread_weights(layer):
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(0, 0.6, w.shape) for w in layer.get_weights()])


def check(layer, *, mask, alone=(3,), **inputs):
    """Compares a layer with itself lowered, on the batch and on some examples alone."""
    layer.build(SEQUENCES.shape)
    spread_weights(layer)
    expected = keras.tree.flatten(layer(SEQUENCES, mask=mask, **inputs))
    rows = [slice(None), *(slice(i, i + 1) for i in alone)]
    with portable(layer, lower=True):
        for row in rows:
            given = keras.tree.map_structure(lambda value, row=row: value[row], inputs)
            part = None if mask is None else tf.constant(mask[row])
            found = keras.tree.flatten(layer(tf.constant(SEQUENCES[row]), mask=part, **given))
            for value, want in zip(found, expected, strict=True):
                np.testing.assert_allclose(value, want[row], atol=2e-6)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", LAYERS)
def test_lowered_layers_equal_keras(kind, mask, lowered):
    forms = itertools.product([False, True], repeat=3)
    for sequences, backwards, zero in forms if kind == "lstm" else [(1, 1, 0), (0, 0, 1)]:
        layer = LAYERS[kind](
            return_sequences=bool(sequences),
            go_backwards=bool(backwards),
            zero_output_for_mask=bool(zero),
            return_state=True,
        )
        check(layer, mask=MASKS[mask])


def test_each_padding_by_itself(lowered):
    layer = layers.LSTM(UNITS, return_sequences=True, return_state=True)
    check(layer, mask=MASKS["masked"], alone=range(len(TEXTS)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("sequences", [False, True])
def test_initial_states_are_taken(mask, sequences):
    states = list(np.random.default_rng(2).normal(size=[4, len(TEXTS), UNITS]).astype("float32"))
    options = {"return_sequences": sequences, "return_state": True}
    for layer, given in [
        (layers.LSTM(UNITS, **options), states[:2]),
        (layers.GRU(UNITS, **options), states[:1]),
        (layers.Bidirectional(layers.LSTM(UNITS, **options)), states),
    ]:
        check(layer, mask=MASKS[mask], alone=[3, 5], initial_state=given)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("merge_mode", ["concat", "sum", "ave", "mul", None])
def test_both_directions(merge_mode, mask):
    layer = layers.LSTM(UNITS, return_sequences=merge_mode != "concat")
    check(layers.Bidirectional(layer, merge_mode=merge_mode), mask=MASKS[mask])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("unroll", [False, True])
def test_other_layers_in_both_directions(mask, unroll):
    forward = layers.SimpleRNN(2, return_sequences=True)
    backward = layers.GRU(3, return_sequences=True, go_backwards=True, unroll=unroll)
    check(layers.Bidirectional(forward, backward_layer=backward), mask=MASKS[mask])


def test_lowered_lstm_equals_the_equations():
    layer = layers.LSTM(2)
    sequences = SEQUENCES[:1, :3]
    layer.build(sequences.shape)
    spread_weights(layer)
    kernel, recurrent_kernel, bias = layer.get_weights()
    output = carry = np.zeros(2)
    for step in (0, 2):  # the mask leaves out step 1
        gates = sequences[0, step] @ kernel + output @ recurrent_kernel + bias
        write, forget, _, read = np.split(1 / (1 + np.exp(-gates)), 4)
        carry = forget * carry + write * np.tanh(gates[4:6])
        output = read * np.tanh(carry)
    with portable(layer, lower=True):
        found = layer(tf.constant(sequences), mask=tf.constant([[True, False, True]]))
    np.testing.assert_allclose(found[0], output, atol=1e-6)


def test_sequences_of_unknown_length_stay_with_keras():
    layer = layers.LSTM(UNITS)
    function = tf.function(layer, input_signature=[tf.TensorSpec([None, None, DIM])])
    expected = function(SEQUENCES)
    with portable(layer, lower=True):
        function = tf.function(layer, input_signature=[tf.TensorSpec([None, None, DIM])])
        np.testing.assert_allclose(function(SEQUENCES), expected, atol=1e-6)


@pytest.fixture(scope="module")
def model():
    """A model of several outputs, because each conversion takes a second, be it small."""
    text = keras.Input([STEPS], dtype="int32", name="text")
    x = layers.Embedding(6, DIM, mask_zero=True)(text)
    unmasked = layers.Dense(DIM)(layers.Embedding(6, 2)(text))
    inner = keras.Input([STEPS, DIM])
    nested = keras.Model(inner, layers.SimpleRNN(DIM, return_sequences=True)(inner))
    outputs = [
        *layers.LSTM(UNITS, return_state=True)(x),
        layers.GRU(UNITS, return_sequences=True, zero_output_for_mask=True)(x),
        layers.RNN(Sum(), go_backwards=True)(x),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True))(unmasked),
        layers.GRU(48)(nested(unmasked)),  # too large to be written out
    ]
    model = keras.Model(text, outputs)
    spread_weights(model)
    return model


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_files_equal_keras(model, batch_size):
    weights = [(variable, np.asarray(variable)) for variable in model.variables]

    @tf.function(input_signature=[tf.TensorSpec([batch_size, STEPS], tf.int32, name="text")])
    def serve(text):
        constants = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=constants), portable(model, lower=True):
            outputs = model(text, training=False)
        return {str(index): output for index, output in enumerate(outputs)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], tf.Module()
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    run = Interpreter(model_content=converter.convert()).get_signature_runner()
    expected = [np.asarray(value) for value in model(TEXTS)]
    for num_rows in [batch_size] if batch_size else [2, 1, 7, 3]:
        for start in range(0, len(TEXTS) - num_rows + 1, num_rows):
            rows = slice(start, start + num_rows)
            found = run(text=TEXTS[rows])
            for index, want in enumerate(expected):
                np.testing.assert_allclose(found[str(index)], want[rows], atol=2e-6)


CELLS = {
    "lstm": (lambda: layers.LSTMCell(4), [4, 4], 3 * 16, 4 * 16),
    "lstm without bias": (lambda: layers.LSTMCell(4, use_bias=False), [4, 4], 3 * 16, 4 * 16),
    "gru": (lambda: layers.GRUCell(4), [4], 3 * 12, 4 * 12),
    "gru, reset before": (lambda: layers.GRUCell(4, reset_after=False), [4], 3 * 12, 4 * 12),
    "simple": (lambda: layers.SimpleRNNCell(4, activation=None), [4], 3 * 4, 4 * 4),
    "stacked": (lambda: layers.StackedRNNCells([layers.GRUCell(2)]), [2], 0, None),
}


class Shifted(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return output + 1, states


@pytest.mark.parametrize("kind", [*CELLS, "subclass"])
def test_both_parts_make_the_cell(kind):
    make, sizes, *expected_sizes = CELLS.get(kind, (lambda: Shifted(4), [4, 4], 0, None))
    rng = np.random.default_rng(0)
    cell = make()
    cell.build([2, 3])
    cell.set_weights([rng.normal(size=w.shape) for w in cell.get_weights()])
    inputs = rng.normal(size=[2, 3]).astype("float32")
    states = [tf.constant(rng.normal(size=[2, size]).astype("float32")) for size in sizes]
    output, new_states = cell(inputs, states)
    split = split_cell(cell, states)
    found, found_states = split.step(split.project(tf.constant(inputs)), states)
    np.testing.assert_allclose(found, output, atol=1e-6)
    for state, want in zip(found_states, keras.tree.flatten(new_states), strict=True):
        np.testing.assert_allclose(state, want, atol=1e-6)
    assert [split.projection_size, split.step_size] == expected_sizes
    assert split.gives_state == (split.step_size is not None)
