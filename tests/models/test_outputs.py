import keras
import pytest
from keras import layers

from mmkd_tf.models.outputs import check_gives_logits, probability_layer


def model(*last):
    inputs = keras.Input([4])
    x = inputs
    for layer in last:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "last",
    [
        [layers.Dense(3, activation="softmax")],
        [layers.Dense(3, activation="softmax"), layers.Activation("linear", dtype="float32")],
        [layers.Dense(3, activation="sigmoid"), layers.Dropout(0.1), layers.Reshape([3])],
        [layers.Dense(3), layers.Lambda(keras.ops.softmax)],
        [layers.Dense(3), layers.Softmax()],
    ],
    ids=lambda last: "-".join(type(layer).__name__ for layer in last),
)
def test_finds_probabilities_also_behind_layers_that_keep_them(last):
    assert probability_layer(model(*last)) is not None
    with pytest.raises(ValueError, match="`teacher`: logits.*To mend it without training again"):
        check_gives_logits(model(*last), argument="teacher")


def test_takes_logits_in_whatever_they_are_wrapped():
    for last in ([layers.Dense(3)], [layers.Dense(3), layers.Dropout(0.1)]):
        check_gives_logits(model(*last), argument="teacher")
    # A softmax further up, as attention has it, is no output.
    check_gives_logits(model(layers.Softmax(), layers.Dense(3)), argument="teacher")


def test_a_softmax_in_a_model_within_is_not_looked_up_by_name():
    within = model(layers.Dense(3, activation="softmax", name="deep"))
    with pytest.raises(ValueError, match="layer 'deep'.*build the model without it"):
        check_gives_logits(model(within), argument="teacher")
