"""A Distiller that is given inputs alone learns what its teachers say of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses import decoupled_loss


def classifier(units: int, seed: int) -> keras.Model:
    inputs = {"image": keras.Input([6], name="image")}
    initial = keras.initializers.GlorotUniform(seed=seed)
    hidden = layers.Dense(units, activation="relu", kernel_initializer=initial)(inputs["image"])
    return keras.Model(inputs, layers.Dense(4, kernel_initializer=initial)(hidden))


def distiller(num_teachers: int = 1, **arguments) -> Distiller:
    teachers = [classifier(9, seed) for seed in range(2, 2 + num_teachers)]
    model = Distiller(student=classifier(5, seed=1), teacher=teachers)
    model.compile(keras.optimizers.SGD(0.1), **{"hard_label_weight": 0.0, **arguments})
    return model


@pytest.fixture
def x():
    return {"image": np.random.default_rng(0).normal(size=[32, 6]).astype("float32")}


def test_inputs_alone_teach_what_they_teach_with_labels_that_do_not_count(x):
    alone, labelled = distiller(), distiller()
    said = alone.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    zeros = np.zeros(32, "int32")
    known = labelled.fit(x, zeros, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    assert set(said) == {"loss", "soft_target_loss"}
    assert said["soft_target_loss"] == pytest.approx(known["soft_target_loss"])
    assert said["loss"] == pytest.approx(known["loss"])
    for one, other in zip(alone.student.weights, labelled.student.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_batches_of_tf_data_are_measured_on_validation_rows_with_labels(x):
    model = distiller()
    batches = tf.data.Dataset.from_tensor_slices(x).batch(8)
    labelled = (x, np.argmax(classifier(9, seed=2)(x), axis=1))
    history = model.fit(batches, epochs=3, validation_data=labelled, verbose=0).history
    assert set(history) == {"loss", "soft_target_loss", "val_loss", "val_accuracy"}
    assert history["val_loss"][-1] < history["val_loss"][0]
    # Then on labels again, whose metrics are then logged.
    logged = model.fit(*labelled, verbose=0).history
    assert set(logged) == {"loss", "hard_label_loss", "soft_target_loss", "accuracy"}


def test_one_step_on_inputs_alone(x):
    logs = distiller().train_on_batch(x, return_dict=True)
    assert set(logs) == {"loss", "soft_target_loss"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"hard_label_weight": 0.5}, "hard_label_weight is 0.5.*hard_label_weight=0.0.*weight"),
        ({"terms": [SoftTargets(loss=decoupled_loss)]}, "decoupled_loss of 'soft_target'"),
        ({"on_wrong_teacher": "skip"}, "on_wrong_teacher is 'skip'"),
        ({"teacher_weights": "label_loss"}, "teacher_weights is 'label_loss'.*'confidence'"),
    ],
)
def test_what_needs_labels_says_so(x, arguments, problem):
    with pytest.raises(ValueError, match=f"`y`: labels, because {problem}"):
        distiller(2, **arguments).fit(x, verbose=0)


def test_all_that_needs_labels_is_said_at_once(x):
    model = distiller(hard_label_weight=1.0, on_wrong_teacher="correct")
    with pytest.raises(ValueError) as caught:
        model.fit(x, verbose=0)
    assert str(caught.value).count("`y`: labels") == 2


def test_an_evaluation_needs_labels(x):
    with pytest.raises(ValueError, match="`y`: labels, on which a student is evaluated"):
        distiller().evaluate(x, verbose=0)
