"""Weights are rounded by what comes into their layers."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.graph import Operator, code_of, constant, write_used
from mmkd_tf.export.quantization.plan import Arithmetic, Treatment
from mmkd_tf.export.quantization.rounding import round_weights
from mmkd_tf.export.tflite_tables import read_tables

EIGHT, HALF = Treatment(Arithmetic.FLOAT, 8), Treatment(Arithmetic.FLOAT, 16)
WEIGHTED = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)


def made(*stack, seed=0):
    """A model of one picture, random weights, and pictures whose channels rise together."""
    rng = np.random.default_rng(seed)
    image = keras.Input([9, 7, 3], name="image")
    x = layers.Conv2D(24, 1, activation="relu")(image)
    for layer in stack:
        x = layer(x)
    model = keras.Model({"image": image}, layers.Dense(3)(layers.Flatten()(x)))
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    brightness = rng.uniform(0, 1, [40, 9, 7, 1])
    pictures = brightness + 0.1 * rng.normal(size=[40, 9, 7, 3])
    return convert(model, {"image": pictures.astype("float32")}, task="regression"), {
        "image": pictures.astype("float32")
    }


def rounded(content, examples, treatment=EIGHT):
    """The model with the weights rounded of what the treatment is for, and its operators."""
    model = read_tables(content)
    operators = model.subgraphs[0].operators
    treatments = [treatment if code_of(model, o) in WEIGHTED else None for o in operators]
    round_weights(model, treatments, content, examples)
    return model, [o for o in operators if code_of(model, o) in WEIGHTED]


def weights(model, operator):
    return constant(model, model.subgraphs[0].tensors[operator.inputs[1]])


def steps_of(rows):
    return np.abs(rows).max(axis=1, keepdims=True) / 127


def nearest(content):
    """The same with each weight rounded by itself."""
    model = read_tables(content)
    for operator in model.subgraphs[0].operators:
        if code_of(model, operator) in WEIGHTED:
            tensor = model.subgraphs[0].tensors[operator.inputs[1]]
            values = constant(model, tensor)
            depthwise = code_of(model, operator) == Operator.DEPTHWISE_CONV_2D
            rows = values.reshape(-1, values.shape[-1]).T if depthwise else values
            rows = rows.reshape(len(rows), -1)
            found = (np.rint(rows / steps_of(rows)) * steps_of(rows)).astype(np.float32)
            found = found.T if depthwise else found
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(found.reshape(values.shape).tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
    return model


STACKS = {
    "projection": lambda: [layers.Conv2D(8, 1)],
    "convolution": lambda: [layers.Conv2D(8, 3, strides=2, padding="same")],
    "valid": lambda: [layers.Conv2D(8, 3, dilation_rate=2)],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, strides=2, padding="same")],
    "dense": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(16)],
}


@pytest.mark.parametrize("kind", STACKS)
def test_what_layers_give_changes_less_than_by_rounding_each_weight(kind):
    content, examples = made(*STACKS[kind]())
    model, operators = rounded(content, examples)
    assert len(operators) == 3
    expected = TensorRunner(content)(examples)

    def error(changed):
        return np.square(TensorRunner(write_used(changed))(examples) - expected).mean()

    assert 0 < error(model) < 0.5 * error(nearest(content))


@pytest.mark.parametrize("kind", STACKS)
def test_weights_are_steps_that_a_quantizer_finds_again(kind):
    content, examples = made(*STACKS[kind]())
    original = read_tables(content)
    model, operators = rounded(content, examples)
    for operator in operators:
        before, after = weights(original, operator), weights(model, operator)
        if code_of(model, operator) == Operator.DEPTHWISE_CONV_2D:
            before, after = (each.reshape(-1, each.shape[-1]).T for each in (before, after))
        before, after = (each.reshape(len(each), -1) for each in (before, after))
        np.testing.assert_allclose(steps_of(after), steps_of(before), rtol=1e-6)
        steps = after / steps_of(before)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        assert np.abs(after - before).max() > 0


def test_other_bits_are_left_alone():
    content, examples = made(layers.Conv2D(8, 1))
    model, operators = rounded(content, examples, HALF)
    for operator in operators:
        np.testing.assert_array_equal(
            weights(model, operator), weights(read_tables(content), operator)
        )


def test_a_channel_of_zeros_stays():
    content, examples = made(layers.Conv2D(8, 1))
    model = read_tables(content)
    graph = model.subgraphs[0]
    layer = next(o for o in graph.operators if code_of(model, o) == Operator.CONV_2D)
    values = np.array(constant(model, graph.tensors[layer.inputs[1]]))
    values[0] = 0
    model.buffers[graph.tensors[layer.inputs[1]].buffer].data = np.frombuffer(
        values.tobytes(), np.uint8
    )
    again, _ = rounded(write_used(model), examples)
    found = next(o for o in again.subgraphs[0].operators if code_of(again, o) == Operator.CONV_2D)
    assert not weights(again, found)[0].any() and weights(again, found)[1].any()
