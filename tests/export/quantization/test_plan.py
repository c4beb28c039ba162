import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.graph import Operator, code_of
from mmkd_tf.export.quantization.plan import Arithmetic, Scheme, Treatment, plan
from mmkd_tf.export.tflite_tables import read_tables

HALF = Treatment(Arithmetic.FLOAT, 16)
WEIGHTS = Treatment(Arithmetic.FLOAT, 8)
DYNAMIC = Treatment(Arithmetic.DYNAMIC, 8)
STATIC = Treatment(Arithmetic.STATIC, 8)
NARROW = Treatment(Arithmetic.DYNAMIC, 4)


def planned(model, scheme):
    """The treatments of each operator by its code, in all graphs."""
    inputs = {t.name: np.zeros([1, *t.shape[1:]], t.dtype) for t in model.inputs}
    content = read_tables(convert(model, inputs))
    found = {}
    for graph, treatments in zip(content.subgraphs, plan(content, scheme), strict=True):
        for operator, treatment in zip(graph.operators, treatments, strict=True):
            found.setdefault(code_of(content, operator), []).append(treatment)
    return found


@pytest.fixture(scope="module")
def picture_model():
    image = keras.Input([16, 16, 8], name="image")
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(image)
    x = y = layers.Conv2D(32, 3, padding="same", activation="relu")(x)  # 2,304 weights
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)  # 18,432
    x = layers.Conv2D(32, 1)(x)  # 2,048
    x = layers.MaxPooling2D(2)(layers.Add()([x, y]))
    x = layers.Flatten()(x)  # 2,048 wide
    x = layers.Dense(32, activation="relu", name="very_large")(x)
    x = layers.Dense(80, activation="relu")(x)  # 2,560
    return keras.Model(image, layers.Dense(30, name="head")(x))  # 2,400


def test_half_precision_is_for_all_weights(picture_model):
    found = planned(picture_model, Scheme(weight_bits=16))
    weighted = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)
    for code, treatments in found.items():
        assert set(treatments) == {HALF if code in weighted else None}


def test_integer_weights_by_size(picture_model):
    found = planned(picture_model, Scheme())
    assert found[Operator.DEPTHWISE_CONV_2D] == [HALF]
    assert found[Operator.CONV_2D] == [WEIGHTS, DYNAMIC, WEIGHTS]
    assert found[Operator.FULLY_CONNECTED] == [DYNAMIC, WEIGHTS, WEIGHTS]
    assert found[Operator.ADD] == found[Operator.MAX_POOL_2D] == [None]


def test_integers_throughout_from_the_first_convolution_to_the_head(picture_model):
    found = planned(picture_model, Scheme(integer=True))
    for code in (Operator.DEPTHWISE_CONV_2D, Operator.ADD, Operator.MAX_POOL_2D, Operator.RESHAPE):
        assert set(found[code]) == {STATIC}
    assert found[Operator.CONV_2D] == [STATIC] * 3
    # Probabilities of logits of 8 bits would be coarse.
    assert found[Operator.FULLY_CONNECTED] == [STATIC, STATIC, WEIGHTS]
    assert found[Operator.SOFTMAX] == [None]


def test_very_large_dense_layers_may_have_four_bits(picture_model):
    found = planned(picture_model, Scheme(integer=True, large_dense_bits=4))
    assert found[Operator.FULLY_CONNECTED] == [NARROW, WEIGHTS, WEIGHTS]
    found = planned(picture_model, Scheme(large_dense_bits=4))
    assert found[Operator.FULLY_CONNECTED] == [NARROW, WEIGHTS, WEIGHTS]


@pytest.mark.parametrize("unroll", [False, True])
def test_recurrent_layers_have_integer_weights_and_float_gates(unroll):
    image = keras.Input([8, 8, 3], name="image")
    x = layers.Conv2D(64, 1)(image)
    x = layers.Reshape([8, 8 * 64])(x)
    x = layers.LSTM(128, unroll=unroll)(x)  # 262,144 and 65,536 weights
    scheme = Scheme(integer=True, large_dense_bits=4)
    found = planned(keras.Model(image, layers.Dense(3)(x)), scheme)
    assert found[Operator.CONV_2D] == [STATIC]
    assert set(found[Operator.FULLY_CONNECTED]) == {DYNAMIC, HALF}
    for code in (Operator.LOGISTIC, Operator.TANH, Operator.ADD, Operator.MUL, Operator.SPLIT):
        assert set(found[code]) == {None}


def test_convolutions_of_words_are_integers_and_start_from_floats():
    text = keras.Input([6], dtype="int32", name="text")
    x = layers.Embedding(50, 32)(text)
    x = layers.Conv1D(64, 3, activation="relu")(x)
    model = keras.Model(text, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    found = planned(model, Scheme(integer=True))
    assert found[Operator.CONV_2D] == [STATIC]
    assert found[Operator.GATHER] == [None]


def test_few_columns_are_smaller_in_half_precision():
    # 12 columns and a scale of 12 bytes take as much as 12 numbers of two bytes.
    numbers = keras.Input([12], name="numbers")
    x = layers.Dense(1000)(numbers)
    found = planned(keras.Model(numbers, layers.Dense(13)(x)), Scheme())
    assert found[Operator.FULLY_CONNECTED] == [HALF, WEIGHTS]
