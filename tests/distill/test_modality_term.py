import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf import losses
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.feature_terms import ModalityTerm
from mmkd_tf.models.fusion import Presence

RNG = np.random.default_rng(0)
X = {name: RNG.normal(size=(6, 4)).astype("float32") for name in ("image", "text")}
Y = RNG.integers(0, 3, 6)


def classifier(width, *, names=("image", "text"), seed=0):
    """A model with an encoder and a presence for each modality, as ours have."""
    inputs = {name: keras.Input([4], name=name) for name in names}
    features = []
    for name, value in inputs.items():
        initial = keras.initializers.GlorotUniform(seed=seed)
        encoder = layers.Dense(width, kernel_initializer=initial, name=f"{name}_features")
        features.append(encoder(value) * Presence(name=f"{name}_presence")(value))
    fused = layers.Concatenate()(features) if len(features) > 1 else features[0]
    initial = keras.initializers.GlorotUniform(seed=seed + 1)
    return keras.Model(inputs, layers.Dense(3, kernel_initializer=initial, name="logits")(fused))


def features(model, name, x):
    kernel, bias = model.get_layer(f"{name}_features").get_weights()
    return x[name] @ kernel + bias


def test_each_encoder_learns_from_its_counterpart_where_the_modality_is_there():
    x = {name: values.copy() for name, values in X.items()}
    x["image"][1], x["text"][2:4] = 0, 0
    student, teacher = classifier(5), classifier(5, seed=7)
    model = Distiller(student=student, teacher=teacher)
    model.compile("sgd", terms=[ModalityTerm("image"), ModalityTerm("text")], run_eagerly=True)
    assert not model.projections
    logs = model.train_on_batch(x, Y, return_dict=True)
    # The student has made its step, so what was logged is computed with a copy of its first state.
    student = classifier(5)
    for name, present in (("image", [1, 0, 1, 1, 1, 1]), ("text", [1, 1, 0, 0, 1, 1])):
        gaps = features(teacher, name, x) - features(student, name, x)
        expected = ((gaps**2).mean(1) * present).mean()
        assert logs[f"{name}_hint_loss"] == pytest.approx(expected, rel=1e-4)


def test_widths_may_differ_and_a_teacher_may_read_one_modality_only():
    teachers = {n: classifier(7, names=[n], seed=s) for s, n in enumerate(("image", "text"), 3)}
    model = Distiller(student=classifier(5), teacher=teachers)
    terms = [ModalityTerm(name, 2.0, teacher=name) for name in teachers]
    model.compile("sgd", terms=terms, hard_label_weight=0.0, run_eagerly=True)
    assert list(model.projections) == ["image_hint/image", "text_hint/text"]
    projected = {}
    for name, teacher in teachers.items():
        kernel, bias = model.projections[f"{name}_hint/{name}"].get_weights()
        gaps = features(teacher, name, X) - (features(model.student, name, X) @ kernel + bias)
        projected[name] = (gaps**2).mean()
    logs = model.train_on_batch(X, Y, return_dict=True)
    for name, expected in projected.items():
        assert logs[f"{name}_hint_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(2 * sum(projected.values()), rel=1e-4)


def test_an_absent_modality_teaches_its_encoder_nothing():
    x = {**X, "image": np.zeros_like(X["image"])}
    model = Distiller(student=classifier(5), teacher=classifier(7, seed=3))
    model.compile("sgd", terms=[ModalityTerm("image")], hard_label_weight=0.0, run_eagerly=True)
    before = [np.array(weight) for weight in model.weights]
    assert model.train_on_batch(x, Y, return_dict=True)["image_hint_loss"] == 0
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_takes_the_losses_of_hints():
    teacher, student = RNG.normal(size=(2, 6, 4)).astype("float32")
    presence = np.array([1, 1, 0, 1, 0, 1], "float16")[:, None]
    term = ModalityTerm(
        "text", loss=losses.contrastive_loss, loss_options={"logit_scale": 3.0}, name="pairs"
    )
    values = term(
        teacher={"text_features": teacher},
        student={"text_features": student, "text_presence": presence},
    )
    expected = losses.contrastive_loss(
        teacher_features=teacher, student_features=student, logit_scale=3.0
    )
    np.testing.assert_allclose(values, expected * presence[:, 0].astype("float32"), rtol=1e-6)
    assert values.dtype == "float32"
    assert term.name == "pairs"
    assert term.teacher_layers == ("text_features",)
    assert term.student_layers == ("text_features", "text_presence")


def test_config_mirrors_the_arguments():
    options = {"logit_scale": 3.0}
    term = ModalityTerm(
        "text", 0.5, losses.contrastive_loss, loss_options=options, teacher="t", name="n"
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(term))
    for name in ("modality", "weight", "loss", "loss_options", "teacher", "name"):
        assert getattr(again, name) == getattr(term, name)
    assert again.hint.loss_options == options


def test_refuses_what_a_hint_refuses_and_models_without_such_encoders():
    with pytest.raises(ValueError, match=r"(?s)`weight`.*`loss_options`"):
        ModalityTerm("text", -1, loss_options={"x": 1})
    model = Distiller(student=classifier(5), teacher=classifier(7, names=["image"]))
    with pytest.raises(ValueError, match=r"without \['text_features'\].*'image_features'"):
        model.compile(terms=[ModalityTerm("text")])
    inputs = keras.Input([4], name="text")
    hidden = layers.Dense(5, name="text_features")(inputs)
    student = keras.Model({"text": inputs}, layers.Dense(3)(hidden))
    model = Distiller(student=student, teacher=classifier(7))
    with pytest.raises(ValueError, match=r"`student`.*without \['text_presence'\]"):
        model.compile(terms=[ModalityTerm("text")])
