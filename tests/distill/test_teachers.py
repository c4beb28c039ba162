from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.batches import named_teachers
from mmkd_tf.distill.feature_terms import Hint
from mmkd_tf.distill.teachers import Teachers
from mmkd_tf.distill.terms import SoftTargets

RNG = np.random.default_rng(0)
X = {name: RNG.normal(size=(3, 4)).astype("float32") for name in ("image", "text")}


def teacher(width=5, *, names=("image", "text"), seed=0, dtype=None):
    """A linear model, so that NaN in an input shows in every output."""
    inputs = {name: keras.Input([4], name=name) for name in names}
    fused = layers.Concatenate()(list(inputs.values())) if len(names) > 1 else inputs[names[0]]
    initial = keras.initializers.GlorotUniform(seed=seed)
    arguments = {"kernel_initializer": initial, "dtype": dtype}
    hidden = layers.Dense(width, name="hidden", **arguments)(fused)
    return keras.Model(inputs, layers.Dense(2, name="head", **arguments)(hidden), name="big")


def listening(teachers, *terms):
    return Teachers(named_teachers(teachers), terms)


def cache(**outputs):
    """What a Distiller asks of a cache: arrays of `[views, examples, ...]` by layer."""
    return SimpleNamespace(outputs=outputs)


def test_each_says_its_logits_and_what_terms_read_of_it():
    whole, sight = teacher(), teacher(names=["image"], seed=3)
    terms = [Hint("hidden", teacher="whole"), SoftTargets()]
    teachers = listening({"whole": whole, "sight": sight}, *terms)
    assert teachers.shapes("whole") == {"logits": (2,), "hidden": (5,)}
    assert teachers.shapes("sight") == {"logits": (2,)}
    said = teachers(X)
    assert {name: list(outputs) for name, outputs in said.items()} == {
        "whole": ["logits", "hidden"],
        "sight": ["logits"],
    }
    np.testing.assert_allclose(said["whole"]["logits"], whole(X), atol=1e-6)
    hidden = whole.get_layer("hidden")(np.concatenate([X["image"], X["text"]], 1))
    np.testing.assert_allclose(said["whole"]["hidden"], hidden, atol=1e-6)
    expected = sight({"image": X["image"]})
    np.testing.assert_allclose(said["sight"]["logits"], expected, atol=1e-6)


def test_a_term_for_all_is_read_of_every_teacher_and_only_what_terms_read_is_given():
    both = [teacher(), teacher(7)]
    teachers = listening(both, Hint("hidden"))
    assert [outputs["hidden"].shape for outputs in teachers(X).values()] == [(3, 5), (3, 7)]
    teachers = listening(both, SoftTargets())
    assert [list(outputs) for outputs in teachers(X).values()] == [["logits"]] * 2


def test_teachers_speak_in_inference_mode_without_gradient():
    inputs = {"image": keras.Input([4], name="image")}
    x = layers.BatchNormalization()(layers.Dropout(0.5)(inputs["image"]))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    before = model.get_weights()
    teachers = listening(model, Hint("head"))
    with tf.GradientTape() as tape:
        said = teachers(X)["teacher"]
    expected = model({"image": X["image"]}, training=False)
    np.testing.assert_array_equal(said["logits"], expected)
    np.testing.assert_array_equal(said["head"], expected)
    assert tape.gradient(list(said.values()), model.trainable_variables) == [None] * 4
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_logits_are_in_full_precision():
    said = listening(teacher(dtype="mixed_float16"), Hint("hidden"))(X)["teacher"]
    assert (said["logits"].dtype, said["hidden"].dtype) == ("float32", "float16")


def test_a_cache_is_read_from_the_batch():
    logits = RNG.normal(size=(3, 2)).astype("float16")
    hidden = RNG.normal(size=(3, 2, 2, 5)).astype("float16")
    kept = cache(logits=np.zeros((4, 9, 2)), hidden=np.zeros((4, 9, 2, 2, 5)))
    teachers = listening({"big": kept, "live": teacher()}, Hint("hidden", teacher="big"))
    assert teachers.shapes("big") == {"logits": (2,), "hidden": (2, 2, 5)}
    said = teachers({**X, "big/logits": logits, "big/hidden": hidden, "big/other": logits})
    assert list(said) == ["big", "live"]
    assert list(said["big"]) == ["logits", "hidden"]
    assert said["big"]["logits"].dtype == "float32"
    np.testing.assert_array_equal(said["big"]["logits"], logits.astype("float32"))
    np.testing.assert_array_equal(said["big"]["hidden"], hidden)


@pytest.mark.parametrize("x", [X, X["image"]], ids=["dict", "array"])
def test_says_what_a_batch_without_cached_outputs_lacks(x):
    kept = cache(logits=np.zeros((1, 9, 2)), hidden=np.zeros((1, 9, 5)))
    teachers = listening(kept, Hint("hidden"))
    with pytest.raises(ValueError, match=r"`x`: .*\['teacher/logits', 'teacher/hidden'\].*zip"):
        teachers(x)


def test_lists_every_teacher_that_is_not_there():
    terms = [SoftTargets(teacher="ear"), Hint("hidden", teacher="nose")]
    with pytest.raises(ValueError, match=r"(?s)\['eye'\].*'soft_target' with.*'ear'.*'nose'"):
        listening({"eye": teacher()}, *terms)


def test_lists_the_layers_of_a_cache_or_of_a_model_that_lacks_one():
    kept = cache(logits=np.zeros((1, 9, 2)), hidden=np.zeros((1, 9, 5)))
    with pytest.raises(ValueError, match=r"`kept`: a cache.*without \['map'\].*\['logits', 'hid"):
        listening({"live": teacher(), "kept": kept}, Hint("map", teacher="kept"))
    with pytest.raises(ValueError, match=r"`live`: .*without \['map'\].*'hidden', 'head'\]"):
        listening({"live": teacher(), "kept": kept}, Hint("map", teacher="live"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_an_error_that_names_their_source(value):
    x = {**X, "image": X["image"].copy()}
    x["image"][1, 2] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite: 'sight/logits'"):
        listening({"text": teacher(names=["text"]), "sight": teacher(names=["image"])})(x)

    kept = cache(logits=np.zeros((1, 9, 2)), hidden=np.zeros((1, 9, 5)))
    said = {"teacher/logits": np.zeros((3, 2)), "teacher/hidden": np.full((3, 5), value)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite: 'teacher/hidden'"):
        listening(kept, Hint("hidden"))(said)


def test_layers_of_integers_are_finite():
    inputs = {"text": keras.Input([4], dtype="int32", name="text")}
    model = keras.Model(inputs, layers.Dense(2)(layers.Embedding(9, 3)(inputs["text"])[:, 0]))
    said = listening(model, Hint("text"))({"text": np.ones((3, 4), "int32")})
    np.testing.assert_array_equal(said["teacher"]["text"], np.ones((3, 4)))
