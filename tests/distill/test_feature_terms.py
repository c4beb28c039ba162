import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf import losses
from mmkd_tf.distill.feature_terms import Hint, Relation
from mmkd_tf.distill.schedules import Linear


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def taught(term, teacher, student):
    """The term's values of features in a layer called `layer`, and its projection."""
    shapes = {"teacher": teacher.shape[1:], "student": student.shape[1:]}
    projection = term.projection(
        teacher_shapes={"layer": shapes["teacher"]}, student_shapes={"layer": shapes["student"]}
    )
    outputs = {
        "teacher": {"layer": tf.constant(teacher)},
        "student": {"layer": tf.constant(student)},
    }
    values = term(**outputs, labels=None, step=0, projection=projection)
    return np.asarray(values), projection


def squares(teacher, student):
    return ((teacher - student) ** 2).reshape(len(teacher), -1).mean(1)


def test_equal_shapes_are_compared_as_they_are():
    teacher, student = drawn(3, 4, 4, 5), drawn(3, 4, 4, 5, seed=1)
    for term in (Hint("layer"), Hint("layer", projection=None)):
        values, projection = taught(term, teacher, student)
        assert projection is None
        np.testing.assert_allclose(values, squares(teacher, student), rtol=1e-5)


def test_another_width_is_matched_by_a_dense_layer():
    teacher, student = drawn(3, 7), drawn(3, 4, seed=1)
    values, projection = taught(Hint("layer"), teacher, student)
    kernel, bias = projection.get_weights()
    np.testing.assert_allclose(values, squares(teacher, student @ kernel + bias), rtol=1e-5)


def test_another_width_of_maps_is_matched_by_a_1x1_convolution():
    teacher, student = drawn(3, 2, 4, 7), drawn(3, 2, 4, 5, seed=1)
    values, projection = taught(Hint("layer"), teacher, student)
    convolution = keras.layers.Conv2D(7, 1)
    convolution.build((None, 2, 4, 5))
    kernel, bias = projection.get_weights()
    convolution.set_weights([kernel.reshape(1, 1, 5, 7), bias])
    np.testing.assert_allclose(
        values, squares(teacher, np.asarray(convolution(student))), rtol=1e-4
    )


@pytest.mark.parametrize("finer", ["teacher", "student", "each in one axis"])
def test_the_finer_map_is_averaged(finer):
    sizes = {"teacher": [(4, 6), (2, 3)], "student": [(2, 3), (4, 6)]}
    teacher_size, student_size = sizes.get(finer, [(4, 3), (2, 6)])
    teacher, student = drawn(2, *teacher_size, 7), drawn(2, *student_size, 5, seed=1)
    values, projection = taught(Hint("layer"), teacher, student)
    kernel, bias = projection.get_weights()

    def coarse(features):
        height, width = features.shape[1] // 2, features.shape[2] // 3
        return features.reshape(2, 2, height, 3, width, -1).mean((2, 4))

    expected = squares(coarse(teacher), coarse(student) @ kernel + bias)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_map_beside_a_vector_is_averaged_over_all_positions():
    vector, features = drawn(3, 7), drawn(3, 4, 5, 7, seed=1)
    expected = squares(vector, features.mean((1, 2)))
    np.testing.assert_allclose(taught(Hint("layer"), vector, features)[0], expected, rtol=1e-4)
    np.testing.assert_allclose(taught(Hint("layer"), features, vector)[0], expected, rtol=1e-4)


def test_the_variational_hint_learns_a_spread():
    teacher, student = drawn(3, 7), drawn(3, 7, seed=1)
    term = Hint("layer", loss=losses.variational_information_loss)
    _, projection = taught(term, teacher, student)
    kernel, bias = projection.dense.get_weights()
    projection.log_scale.assign(drawn(7, seed=2))
    assert any(weight is projection.log_scale for weight in projection.trainable_weights)
    values = term(teacher={"layer": teacher}, student={"layer": student}, projection=projection)
    variance = np.exp(2 * drawn(7, seed=2)) + 1e-5
    gaps = teacher - (student @ kernel + bias)
    expected = (np.log(variance) / 2 + gaps**2 / (2 * variance)).mean(1)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_attention_transfer_compares_the_students_own_channels():
    teacher, student = drawn(3, 4, 4, 7), drawn(3, 2, 2, 5, seed=1)
    values, projection = taught(
        Hint("layer", loss=losses.attention_transfer_loss), teacher, student
    )
    assert projection is None

    def attention(features):
        strength = (features**2).mean(-1).reshape(3, -1)
        return strength / np.linalg.norm(strength, axis=1, keepdims=True)

    coarse = teacher.reshape(3, 2, 2, 2, 2, 7).mean((2, 4))
    expected = squares(attention(coarse), attention(student))
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_options_reach_the_loss():
    teacher, student = drawn(3, 7), drawn(3, 7, seed=1)
    term = Hint("layer", loss=losses.contrastive_loss, loss_options={"logit_scale": 2.0})
    expected = losses.contrastive_loss(
        teacher_features=teacher, student_features=student, logit_scale=2.0
    )
    np.testing.assert_array_equal(taught(term, teacher, student)[0], expected)


def test_without_projection_other_widths_are_refused_by_the_loss():
    with pytest.raises(ValueError, match="`teacher_features`, `student_features`: equal sizes"):
        taught(Hint("layer", projection=None), drawn(3, 7), drawn(3, 5))


def test_says_which_hint_has_layers_that_can_not_be_compared():
    with pytest.raises(ValueError, match="`hint_layer`: two vectors, two sequences or two maps"):
        taught(Hint("layer"), drawn(3, 4, 7), drawn(3, 4, 4, 7))


@pytest.mark.parametrize(
    "loss",
    [
        losses.relational_distance_loss,
        losses.relational_angle_loss,
        losses.similarity_preserving_loss,
        losses.pkt_loss,
    ],
)
def test_a_relation_takes_any_widths_as_they_are(loss):
    teacher, student = drawn(5, 3, 3, 2), drawn(5, 4, seed=1)
    values, projection = taught(Relation("layer", loss=loss), teacher, student)
    assert projection is None
    expected = loss(teacher_features=teacher, student_features=student)
    np.testing.assert_array_equal(values, expected)
    assert np.max(values) > 1e-3


@pytest.mark.parametrize("kind", [Hint, Relation])
def test_a_pair_of_layers_is_named(kind):
    term = kind({"teacher": "late", "student": "early"})
    assert (term.teacher_layers, term.student_layers) == (("late",), ("early",))
    assert term.name == f"{kind.__name__.lower()}_early"
    teacher, student = drawn(4, 6), drawn(4, 6, seed=1)
    values = term(teacher={"late": teacher}, student={"early": student})
    swapped = kind({"teacher": "early", "student": "late"})(
        teacher={"early": teacher}, student={"late": student}
    )
    np.testing.assert_array_equal(values, swapped)
    for layer in (("late", "early"), {"teacher": "late"}, None):
        with pytest.raises(TypeError, match="`layer`: the name of a layer.*Received: layer="):
            kind(layer)


@pytest.mark.parametrize("kind", [Hint, Relation])
def test_config_mirrors_the_arguments(kind):
    pair = {"teacher": "late", "student": "early"}
    loss = losses.cosine_hint_loss if kind is Hint else losses.pkt_loss
    extra = {"projection": None} if kind is Hint else {}
    term = kind(pair, Linear(1.0, 0.0, num_steps=3), loss, teacher="image", name="n", **extra)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(term))
    names = ("layer", "weight", "loss", "loss_options", "teacher", "name", "teacher_layers")
    for name in (*names, *(["projected"] if kind is Hint else [])):
        assert getattr(again, name) == getattr(term, name)


@pytest.mark.parametrize("kind", [Hint, Relation])
def test_refuses_weights_losses_and_options_together(kind):
    with pytest.raises(
        ValueError, match=r"(?s)`weight`: a finite.*weight=-1.*`loss_options`.*\['x"
    ):
        kind("layer", -1, loss_options={"x": 1})
    for loss in (losses.soft_target_loss, "mse", keras.losses.MeanSquaredError()):
        with pytest.raises(ValueError, match="`loss`: .*`teacher_features` and.*Received: loss="):
            kind("layer", loss=loss)


def test_refuses_projections_and_losses_that_do_not_go_together():
    with pytest.raises(ValueError, match="`projection`: 'auto' or None.*projection='dense'"):
        Hint("layer", projection="dense")
    with pytest.raises(ValueError, match="`projection`: 'auto' for.*projection=None"):
        Hint("layer", loss=losses.variational_information_loss, projection=None)
    with pytest.raises(ValueError, match="`loss`: .*needs \\['log_scale'\\].*take Hint"):
        Relation("layer", loss=losses.variational_information_loss)
