from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.distill.checks import check_labels
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.schedules import Constant, Linear
from mmkd_tf.distill.terms import SoftTargets


def classifier(units, *, classes=4, **last):
    inputs = {"image": keras.Input([6], name="image")}
    hidden = layers.Dense(units, name="hidden")(inputs["image"])
    return keras.Model(inputs, layers.Dense(classes, name="logits", **last)(hidden))


def test_refuses_teachers_with_broken_weights():
    teacher = classifier(9)
    kernel = teacher.get_layer("hidden").kernel
    kernel.assign(np.where(np.eye(6, 9) > 0, np.inf, kernel))
    with pytest.raises(ValueError, match=r"`teacher`: .*finite.*\['hidden/kernel'\]. Train it"):
        Distiller(student=classifier(5), teacher=teacher)


def test_large_weights_in_half_precision_are_not_broken():
    teacher = classifier(2000)
    teacher.get_layer("hidden").kernel.assign(np.full((6, 2000), 40.0))
    keras.config.set_dtype_policy("float16")
    try:
        half = classifier(2000)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(teacher.get_weights())  # their sum is beyond the largest half number
    Distiller(student=classifier(5), teacher=half)


def test_lists_what_is_wrong_with_all_models_at_once():
    teachers = {"small": classifier(9, classes=3), "large": classifier(9, classes=7)}
    with pytest.raises(ValueError, match=r"(?s)with 4 classes, small with 3.*large with 7"):
        Distiller(student=classifier(5), teacher=teachers)
    kept = SimpleNamespace(outputs={"logits": np.zeros((1, 9, 5))})
    with pytest.raises(ValueError, match=r"`student`, `teacher`: the same classes.*teacher with 5"):
        Distiller(student=classifier(5), teacher=kept)
    probabilities = classifier(9, activation="softmax")
    with pytest.raises(ValueError, match=r"(?s)`student`: logits.*`teacher_1`: logits"):
        Distiller(student=probabilities, teacher=[classifier(9), probabilities])


def test_a_teacher_called_student_does_not_hide_the_student():
    with pytest.raises(ValueError, match="`student`: logits"):
        Distiller(student=classifier(5, activation="softmax"), teacher={"student": classifier(9)})


@pytest.mark.parametrize("teacher", [{}, [], None, "big.keras"], ids=str)
def test_refuses_what_is_no_teacher(teacher):
    with pytest.raises((TypeError, ValueError), match="`teacher`: .*Received"):
        Distiller(student=classifier(5), teacher=teacher)


@pytest.mark.parametrize("name", ["big/small", "", 3])
def test_refuses_names_that_a_cached_batch_could_not_hold(name):
    with pytest.raises(ValueError, match=f"`teacher`: names that are strings .*{name!r}"):
        Distiller(student=classifier(5), teacher={name: classifier(9)})


def test_refuses_models_without_symbolic_inputs():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs["image"]

    with pytest.raises(TypeError, match="(?s)`student`: a Functional.*`teacher`: a Functional"):
        Distiller(student=Subclassed(), teacher=Subclassed())


@pytest.mark.parametrize("terms", [SoftTargets(), ["soft"], [SoftTargets], [None]])
def test_refuses_what_are_no_terms(terms):
    model = Distiller(student=classifier(5), teacher=classifier(9))
    with pytest.raises(TypeError, match="`terms`: a list of SoftTargets.*Received: terms="):
        model.compile(terms=terms)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"a": 1.0}, r"a weight for each teacher, \['a', 'b'\]. Received: {'a': 1.0}"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "a weight for each teacher"),
        ({"a": 1.0, "b": -1.0}, "`b`: a finite number, 0 or more. Received: b=-1.0"),
        ({"a": 1.0, "b": np.nan}, "`b`: a finite number, 0 or more. Received: b=nan"),
        ({"a": 0, "b": 0}, "`a`, `b`: at least one above 0"),
        ("entropy", "`teacher_weights`: None, 'confidence', 'label_loss' or a dict.*'entropy'"),
    ],
    ids=str,
)
def test_refuses_weights_of_teachers(weights, problem):
    model = Distiller(student=classifier(5), teacher={"a": classifier(9), "b": classifier(9)})
    with pytest.raises(ValueError, match=problem):
        model.compile(teacher_weights=weights)


@pytest.mark.parametrize("weights", [{"teacher": 2.0}, "confidence"], ids=str)
def test_refuses_arguments_that_would_have_no_effect(weights):
    alone = Distiller(student=classifier(5), teacher=classifier(9))
    with pytest.raises(ValueError, match="`teacher_weights`: None where no term has sev"):
        alone.compile(teacher_weights=weights)
    with pytest.raises(ValueError, match=r"`loss_weights`: none.*Received: loss_weights=\[2.0\]"):
        alone.compile(loss_weights=[2.0])
    both = Distiller(student=classifier(5), teacher={"a": classifier(9), "b": classifier(9)})
    with pytest.raises(ValueError, match="`teacher_weights`: None where no term has sev"):
        both.compile(terms=[SoftTargets(teacher="a")], teacher_weights="label_loss")
    with pytest.raises(ValueError, match="`on_wrong_teacher`: one of.*Received: 'ignore'"):
        both.compile(on_wrong_teacher="ignore")


def test_all_weights_zero_are_refused_in_schedules_too():
    model = Distiller(student=classifier(5), teacher=classifier(9))
    never = Linear(0.0, 0.0, num_steps=5)
    with pytest.raises(ValueError, match="at least one weight above 0"):
        model.compile(terms=[SoftTargets(weight=never)], hard_label_weight=Constant(0.0))
    with pytest.raises(ValueError, match="`hard_label_weight`: a finite number, 0 or more.*nan"):
        model.compile(hard_label_weight=np.nan)


def test_labels_that_the_loss_can_not_take():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits = np.zeros([4, 3])
    check_labels(np.zeros(4), logits, loss)
    check_labels(np.zeros([4, 1]), logits, loss)
    with pytest.raises(ValueError, match=r"`y`: integer labels.*\(4, 3\).*CategoricalCrossentropy"):
        check_labels(np.zeros([4, 3]), logits, loss)


def test_what_asks_for_the_label_wants_one_label():
    model = Distiller(student=classifier(2), teacher=classifier(3))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="`on_wrong_teacher`: none that asks for the label"):
        model.compile(loss=loss, on_wrong_teacher="skip")
    model.compile(loss=loss)
