import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.models.inputs import check_gives_logits, input_names, probability_layer, route

BATCH = {name: np.full([1, 2], number) for number, name in enumerate(("image", "text", "sound"))}


def model(structure):
    text, image = keras.Input([2], name="text"), keras.Input([2], name="image")
    inputs = {"list": [text, image], "dict": {"text": text, "image": image}}[structure]
    return keras.Model(inputs, layers.Concatenate()([text, image]))


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_inputs_are_bound_by_name(structure):
    built = model(structure)
    assert input_names(built) == ["text", "image"]
    np.testing.assert_array_equal(built(route(built, BATCH)), [[1, 1, 0, 0]])


def test_one_input_may_come_without_a_name():
    inputs = keras.Input([2], name="text")
    for built in (
        keras.Model(inputs, layers.Dense(3)(inputs)),
        keras.Sequential([keras.Input([2], name="text"), layers.Dense(3)]),
    ):
        np.testing.assert_array_equal(route(built, BATCH), BATCH["text"])
        np.testing.assert_array_equal(route(built, BATCH["sound"]), BATCH["sound"])


def test_a_teacher_is_given_its_own_form_or_that_of_all_teachers():
    built = model("dict")
    forms = {"teacher/image": np.full([1, 2], 7), "expert/image": np.full([1, 2], 8)}
    batch = {**BATCH, **forms}
    for teacher, image in ((None, 0), ("teacher", 7), ("expert", 8), ("other", 7)):
        np.testing.assert_array_equal(
            built(route(built, batch, teacher=teacher)), [[1, 1, image, image]]
        )


def test_refuses_a_model_without_symbolic_inputs():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(TypeError, match="a Functional keras.Model.*Subclassed"):
        input_names(Subclassed())


def ending_in(*last):
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
    assert probability_layer(ending_in(*last)) is not None
    with pytest.raises(ValueError, match="`teacher`: logits.*To correct it without training again"):
        check_gives_logits(ending_in(*last), argument="teacher")


def test_takes_logits_in_whatever_they_are_wrapped():
    for last in ([layers.Dense(3)], [layers.Dense(3), layers.Dropout(0.1)]):
        check_gives_logits(ending_in(*last), argument="teacher")
    # A softmax further up, as attention has it, is no output.
    check_gives_logits(ending_in(layers.Softmax(), layers.Dense(3)), argument="teacher")


def test_a_softmax_in_a_model_within_is_not_looked_up_by_name():
    within = ending_in(layers.Dense(3, activation="softmax", name="deep"))
    with pytest.raises(ValueError, match="layer 'deep'.*build the model without it"):
        check_gives_logits(ending_in(within), argument="teacher")
