from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import Reader, convert, explain, portable
from mmkd_tf.models.fusion import Presence


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
    for part in ("`batch_size`: 1 to 65,536", "for text, a batch of 0", "Received: one of 'sound'"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="`batch_size`: 1 to 65,536, or None .*100000000000"):
        convert(model, examples, batch_size=10**11)
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


@pytest.mark.parametrize("lower", [False, True])
def test_changes_layers_within_layers_and_restores_them(lower):
    policy = keras.DTypePolicy("mixed_bfloat16")
    wrapper = layers.Bidirectional(layers.LSTM(4, use_cudnn="auto", dtype=policy), dtype=policy)
    inputs = keras.Input([5, 3])
    model = keras.Model(inputs, wrapper(inputs))
    lstm = wrapper.forward_layer
    before = dict(vars(lstm))
    with pytest.raises(KeyError), portable(model, lower=lower):
        assert lstm.compute_dtype == wrapper.compute_dtype == "float32"
        assert lstm.use_cudnn is False
        assert ("inner_loop" in vars(lstm)) == lower
        raise KeyError
    assert vars(lstm) == before
    assert lstm.compute_dtype == wrapper.compute_dtype == "bfloat16"
    assert lstm.use_cudnn == "auto"


def operators(layer, spec):
    with portable(layer, lower=True):
        graph = tf.function(layer, input_signature=[spec]).get_concrete_function().graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("shape", [[2, 3], [2], [2, 2, 2]])
def test_lowered_embedding_equals_keras(shape):
    layer = layers.Embedding(5, 3, mask_zero=True)
    ids = np.arange(np.prod(shape)).reshape(shape) % 5
    expected = layer(ids)
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(tf.constant(ids)), expected)
        open_sizes = tf.function(
            layer, input_signature=[tf.TensorSpec([None] * len(shape), "int32")]
        )
        np.testing.assert_array_equal(open_sizes(tf.constant(ids, tf.int32)), expected)
    assert "SelectV2" in {
        operation.type
        for operation in tf.function(layer).get_concrete_function(ids).graph.get_operations()
    }
    assert not {"SelectV2", "Less"} & operators(layer, tf.TensorSpec(shape, "int32"))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("shape", [[3, 4], [3, 2, 2, 2]])
def test_lowered_presence_equals_keras(dtype, shape):
    values = np.zeros(shape, dtype)
    values[1].flat[1] = 1
    values[2].flat[:2] = [1, 255 if dtype == "uint8" else -1]  # the sum is no measure of the latter
    layer = Presence()
    expected = layer(values)
    np.testing.assert_array_equal(expected, [[0], [1], [1]])
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(tf.constant(values)), expected)


def test_other_layers_are_left_alone():
    class Mine(layers.Embedding):
        def call(self, ids):
            return super().call(ids) + 1

    layer = Mine(5, 3)
    expected = layer(np.array([[1, 2]]))
    with portable(layer, lower=True):
        np.testing.assert_array_equal(layer(np.array([[1, 2]])), expected)


@pytest.fixture(scope="module")
def two_layers():
    text = keras.Input([3], name="text")
    x = layers.Dense(2, name="text_dense")(layers.Dense(2, name="dense")(text))
    return keras.Model(text, x)


def a_function(scope, operator):
    node = SimpleNamespace(name=f"model/{scope}/inner/{operator}", op=operator)
    graph = SimpleNamespace(node=[node], library=SimpleNamespace(function=[]))
    return SimpleNamespace(graph=SimpleNamespace(as_graph_def=lambda: graph))


@pytest.mark.parametrize(
    ("operator", "choice"),
    [
        ("StringSplitV2", "Texts become token ids before the model"),
        ("LookupTableFindV2", "Tables are looked up before the model"),
        ("DenseBincount", "Instead of CategoryEncoding"),
        ("TensorListReserve", "sequences whose length is known"),
        ("Igamma", "write them with other operations of keras.ops"),
    ],
)
def test_says_what_else_there_is(two_layers, operator, choice):
    text = f"error: 'tf.{operator}' op is neither a custom op nor a flex op\n'tf.Placeholder' op"
    message = explain(two_layers, a_function("text_dense", operator), text)
    assert f"Received: {operator} in the layers ['text_dense']. " in message
    assert choice in message


def test_names_from_the_summary_of_the_converter(two_layers):
    text = "TF Select ops: Erfinv\nFlex ops: FlexErfinv, FlexAngle\nDetails:"
    message = explain(two_layers, a_function("dense", "Angle"), text)
    assert "Received: Angle, Erfinv in the layers ['dense']" in message


def test_finds_layers_in_the_bodies_of_loops(two_layers):
    @tf.function
    def loop():
        with tf.name_scope("dense"):
            return tf.while_loop(lambda i: i < 3, lambda i: [tf.bitwise.invert(i)], [0])

    message = explain(two_layers, loop.get_concrete_function(), "'tf.Invert' op")
    assert "Received: Invert in the layers ['dense']" in message


def test_quotes_the_converter_where_it_names_no_operator(two_layers):
    message = explain(two_layers, None, "x" * 5000 + " out of luck")
    assert message.endswith("x out of luck")
    assert len(message) < 2000
