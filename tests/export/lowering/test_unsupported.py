from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.export.lowering.unsupported import explain


@pytest.fixture(scope="module")
def model():
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
def test_says_what_else_there_is(model, operator, choice):
    text = f"error: 'tf.{operator}' op is neither a custom op nor a flex op\n'tf.Placeholder' op"
    message = explain(model, a_function("text_dense", operator), text)
    assert f"Received: {operator} in the layers ['text_dense']. " in message
    assert choice in message


def test_names_from_the_summary_of_the_converter(model):
    text = "TF Select ops: Erfinv\nFlex ops: FlexErfinv, FlexAngle\nDetails:"
    message = explain(model, a_function("dense", "Angle"), text)
    assert "Received: Angle, Erfinv in the layers ['dense']" in message


def test_finds_layers_in_the_bodies_of_loops(model):
    @tf.function
    def loop():
        with tf.name_scope("dense"):
            return tf.while_loop(lambda i: i < 3, lambda i: [tf.bitwise.invert(i)], [0])

    message = explain(model, loop.get_concrete_function(), "'tf.Invert' op")
    assert "Received: Invert in the layers ['dense']" in message


def test_quotes_the_converter_where_it_names_no_operator(model):
    message = explain(model, None, "x" * 5000 + " out of luck")
    assert message.endswith("x out of luck")
    assert len(message) < 2000
