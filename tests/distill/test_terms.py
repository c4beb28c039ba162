import keras
import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.distill.schedules import Linear
from mmkd_tf.distill.terms import SoftTargets

RNG = np.random.default_rng(0)
TEACHER, STUDENT = (3 * RNG.normal(size=(5, 4)).astype("float32") for _ in range(2))
LABELS = RNG.integers(0, 4, 5).astype("int32")


def value(term, step=0):
    outputs = {"teacher": {"logits": TEACHER}, "student": {"logits": STUDENT}}
    return np.asarray(term(**outputs, labels=LABELS, step=step))


def divergence(temperature):
    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    p, q = log_softmax(TEACHER / temperature), log_softmax(STUDENT / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).sum(1)


def test_is_the_softened_divergence_of_each_example_before_weighting():
    np.testing.assert_allclose(value(SoftTargets()), divergence(4.0), rtol=1e-4)
    np.testing.assert_allclose(value(SoftTargets(2.0, 0.3)), divergence(2.0), rtol=1e-4)


def test_teacher_and_student_are_not_exchanged():
    swapped = SoftTargets()(
        teacher={"logits": STUDENT}, student={"logits": TEACHER}, labels=LABELS, step=0
    )
    assert np.abs(np.asarray(swapped) - value(SoftTargets())).max() > 0.1


def test_the_temperature_follows_its_schedule():
    term = SoftTargets(Linear(4.0, 1.0, num_steps=2))
    for step, temperature in [(0, 4.0), (1, 2.5), (2, 1.0), (9, 1.0)]:
        np.testing.assert_allclose(value(term, step), divergence(temperature), rtol=1e-4)


def test_options_and_labels_reach_the_loss():
    both = {"teacher_logits": TEACHER, "student_logits": STUDENT}
    term = SoftTargets(2.0, loss_options={"standardize": True})
    expected = losses.soft_target_loss(**both, temperature=2.0, standardize=True)
    np.testing.assert_array_equal(value(term), expected)
    assert np.abs(value(term) - divergence(2.0)).max() > 0.1

    term = SoftTargets(2.0, loss=losses.decoupled_loss, loss_options={"non_target_weight": 3.0})
    expected = losses.decoupled_loss(**both, labels=LABELS, temperature=2.0, non_target_weight=3.0)
    np.testing.assert_array_equal(value(term), expected)


def test_a_loss_without_temperature_takes_none():
    term = SoftTargets(None, loss=losses.squared_loss)
    np.testing.assert_allclose(value(term), ((TEACHER - STUDENT) ** 2).mean(1), rtol=1e-5)
    with pytest.raises(ValueError, match="`temperature`: None, because squared_loss has no temp"):
        SoftTargets(4.0, loss=losses.squared_loss)


def test_needs_neither_layers_nor_projection():
    term = SoftTargets()
    assert term.teacher_layers == term.student_layers == ()
    assert term.projection(teacher_shapes={}, student_shapes={}) is None


def test_config_mirrors_the_arguments():
    options = {"target_weight": 2.0}
    schedules = [Linear(4.0, 1.0, num_steps=2), Linear(0.0, 1.0, num_steps=3)]
    term = SoftTargets(
        *schedules, losses.decoupled_loss, loss_options=options, teacher="image", name="dkd"
    )
    config = keras.saving.serialize_keras_object(term)
    again = keras.saving.deserialize_keras_object(config)
    for name in ("temperature", "weight", "loss", "loss_options", "teacher", "name"):
        assert getattr(again, name) == getattr(term, name)
    np.testing.assert_array_equal(value(again, 1), value(term, 1))


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf, "hot", None, True])
def test_refuses_temperatures_that_soften_nothing(temperature):
    with pytest.raises(ValueError, match="`temperature`: a finite number above 0|, above 0.") as e:
        SoftTargets(temperature)
    assert f"temperature={temperature!r}" in str(e.value)


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf, "large", None])
def test_refuses_weights_that_are_no_weights(weight):
    with pytest.raises(ValueError, match="`weight`: a finite number,? 0 or more") as error:
        SoftTargets(weight=weight)
    assert f"weight={weight!r}" in str(error.value)


def test_refuses_schedules_that_go_out_of_range():
    with pytest.raises(ValueError, match="`temperature`: a schedule of finite values, above 0"):
        SoftTargets(Linear(4.0, 0.0, num_steps=2))


def test_lists_all_problems_at_once():
    with pytest.raises(ValueError, match=r"(?s)`weight`.*`temperature`"):
        SoftTargets(0, -1)
    with pytest.raises(ValueError, match=r"(?s)`weight`.*`loss_options`.*\['nonsense'\]"):
        SoftTargets(weight=-1, loss_options={"nonsense": 1})


@pytest.mark.parametrize("name", ["temperature", "labels", "teacher_logits", "sharpness"])
def test_refuses_options_that_the_loss_lacks_or_has_from_the_term(name):
    with pytest.raises(ValueError, match=r"`loss_options`: arguments of decoupled_loss, which has"):
        SoftTargets(loss=losses.decoupled_loss, loss_options={name: 1.0})


@pytest.mark.parametrize(
    "loss", ["kl_divergence", keras.losses.KLDivergence(), losses.hint_loss, None]
)
def test_refuses_what_is_no_loss_of_logits(loss):
    with pytest.raises(ValueError, match="`loss`: .*`teacher_logits` and `student_logits`.*Recei"):
        SoftTargets(None, loss=loss)


def test_refuses_a_loss_that_needs_more_than_it_is_given():
    def loss(*, teacher_logits, student_logits, classes):
        return teacher_logits - student_logits - classes

    with pytest.raises(ValueError, match=r"`loss`: .*needs \['classes'\] too"):
        SoftTargets(None, loss=loss)
    SoftTargets(None, loss=loss, loss_options={"classes": 3})
