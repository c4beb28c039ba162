import keras
import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.kinds import CLASSES, LABELS, NUMBERS, PAIRS, default_terms, kind_of
from mmkd_tf.distill.matching import MatchingLoss
from mmkd_tf.distill.objectives import ScaledSquaredError
from mmkd_tf.distill.terms import SoftTargets

BINARY = keras.losses.BinaryCrossentropy(from_logits=True)
X = {"image": np.random.default_rng(0).normal(size=[32, 4]).astype("float32")}


def model(units, outputs=2, seed=0):
    inputs = {"image": keras.Input([4], name="image")}
    initial = keras.initializers.GlorotUniform(seed=seed)
    hidden = keras.layers.Dense(units, "relu", kernel_initializer=initial)(inputs["image"])
    return keras.Model(inputs, keras.layers.Dense(outputs, kernel_initializer=initial)(hidden))


def test_kinds():
    assert kind_of(BINARY) == LABELS
    assert kind_of(MatchingLoss()) == PAIRS
    assert kind_of(keras.losses.Huber()) == kind_of(ScaledSquaredError([1.0])) == NUMBERS
    assert kind_of(keras.losses.SparseCategoricalCrossentropy(from_logits=True)) == CLASSES


def test_defaults_fit_the_loss():
    assert default_terms(BINARY)[0].loss is losses.sigmoid_soft_target_loss
    assert default_terms(MatchingLoss())[0].loss is losses.affinity_loss
    (term,) = default_terms(ScaledSquaredError([2.0, 4.0]))
    assert term.loss is losses.squared_loss and term.temperature is None
    assert term.loss_options == {"scale": [2.0, 4.0]}
    assert default_terms(keras.losses.Huber())[0].loss_options == {}
    ours = default_terms(keras.losses.CategoricalCrossentropy(from_logits=True))
    assert ours[0].loss is losses.soft_target_loss


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (BINARY, (X["image"][:, :2] > 0).astype("float32")),
        (ScaledSquaredError([2.0, 0.5]), X["image"][:, :2] * [2, 0.5]),
        (keras.losses.MeanSquaredError(), X["image"][:, :1]),
    ],
)
def test_a_student_learns_labels_and_numbers(loss, labels):
    student, teacher = model(4, labels.shape[1]), model(32, labels.shape[1], seed=1)
    teacher.compile(keras.optimizers.Adam(0.05), loss)
    teacher.fit(X, labels, epochs=20, verbose=0)
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.Adam(0.05), loss)
    history = distiller.fit(X, labels, epochs=20, verbose=0).history
    assert set(history) == {"loss", "hard_label_loss", "soft_target_loss"}
    for name in ("hard_label_loss", "soft_target_loss"):
        assert history[name][-1] < 0.5 * history[name][0]


@pytest.mark.parametrize("loss", [BINARY, keras.losses.MeanSquaredError()])
@pytest.mark.parametrize("soft", [losses.soft_target_loss, losses.dist_loss, losses.decoupled_loss])
def test_classes_of_a_teacher_need_classes_of_labels(loss, soft):
    distiller = Distiller(student=model(2), teacher=model(3))
    with pytest.raises(ValueError, match="`terms`: with .* not one of several classes"):
        distiller.compile(loss=loss, terms=[SoftTargets(loss=soft)])


def test_numbers_are_no_probabilities():
    distiller = Distiller(student=model(2), teacher=model(3))
    terms = [SoftTargets(loss=losses.sigmoid_soft_target_loss)]
    with pytest.raises(ValueError, match="outputs are numbers"):
        distiller.compile(loss=keras.losses.Huber(), terms=terms)
    distiller.compile(loss=BINARY, terms=terms)


def test_one_logit_is_no_class():
    distiller = Distiller(student=model(2, 1), teacher=model(3, 1))
    distiller.compile(terms=[SoftTargets(None, loss=losses.squared_loss)])
    with pytest.raises(ValueError, match="`student`: two logits or more"):
        distiller.fit(X, np.zeros(32, "int32"), verbose=0)
