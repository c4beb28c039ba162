"""Faults of a distillation: what a Distiller, terms, schedules and settings are given.

A case is a line: what is given, and a piece of what is said, or None where it works.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from mmkd_tf import losses
from mmkd_tf.config import make_config
from mmkd_tf.distill.checks import check_replicas
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.epochs import DivergedError
from mmkd_tf.distill.feature_terms import Hint, Relation
from mmkd_tf.distill.schedules import Constant, Cosine, Linear, WarmUp
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.tasks.identities import AngularMargin
from mmkd_tf.tasks.regression import ScaledSquaredError, _check_spread, _number
from mmkd_tf.tasks.retrieval import MatchingLoss

CLASSES = 4
KERAS = keras.losses
RNG = np.random.default_rng(0)
X = {"image": RNG.normal(size=(16, 6)).astype("float32")}
Y = np.arange(16) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]


def classifier(units, *, seed=0, behind=None):
    inputs = {"image": keras.Input([6], name="image")}
    initial = keras.initializers.GlorotUniform(seed=seed)
    x = layers.Dense(units, activation="relu", kernel_initializer=initial, name="hidden")(
        inputs["image"]
    )
    x = layers.Dense(CLASSES, kernel_initializer=initial)(x)
    for layer in behind or ():
        x = layer(x)
    return keras.Model(inputs, x)


def distiller(*, student=None, teacher=None, **arguments):
    made = Distiller(student=student or classifier(5), teacher=teacher or classifier(9, seed=7))
    made.compile(keras.optimizers.SGD(0.1), **{"run_eagerly": True, **arguments})
    return made


def expect(said, call):
    if said is None:
        return call()
    with pytest.raises(ValueError, match=f"(?s){said}"):
        call()


OUT_OF_RANGE = {
    "temperature 1e-30": (lambda: SoftTargets(1e-30), "`temperature`: .*float32"),
    "temperature 1e-46": (lambda: SoftTargets(1e-46), "`temperature`: .*float32"),
    "temperature 1e38": (lambda: SoftTargets(1e38), "`temperature`: .*float32"),
    "temperature inf": (lambda: SoftTargets(float("inf")), "`temperature`"),
    "temperature 0": (lambda: SoftTargets(0.0), "`temperature`"),
    "temperature 1000": (lambda: SoftTargets(1000.0), None),
    "temperature falls to 1e-30": (lambda: SoftTargets(Linear(1.0, 1e-30, 9)), "1e-30|float32"),
    "temperature falls to 0": (lambda: SoftTargets(Linear(1.0, 0.0, 9)), "`temperature`"),
    "weight 1e-30": (lambda: SoftTargets(4.0, 1e-30), "`weight`: .*float32"),
    "weight 1e-46": (lambda: SoftTargets(4.0, 1e-46), "`weight`: .*float32"),
    "weight 1e38": (lambda: SoftTargets(4.0, 1e38), "`weight`: .*float32"),
    "weight nan": (lambda: SoftTargets(4.0, float("nan")), "`weight`"),
    "weight -1": (lambda: SoftTargets(4.0, -1.0), "`weight`"),
    "weight 0": (lambda: SoftTargets(4.0, 0.0), None),
    "weight 1e-6": (lambda: SoftTargets(4.0, 1e-6), None),
    "weight falls to 0": (lambda: SoftTargets(4.0, Cosine(1.0, 0.0, 9)), None),
    "weight of True": (lambda: SoftTargets(4.0, True), "`weight`"),
    "weight of text": (lambda: SoftTargets(4.0, "1"), "`weight`"),
    "constant 1e-46": (lambda: Constant(1e-46), "`value`: .*float32"),
    "constant 1e39": (lambda: Constant(1e39), "`value`: .*float32"),
    "line to 1e38": (lambda: Linear(0.0, 1e38, 9), "`end`: .*float32"),
    "cosine from 1e-46": (lambda: Cosine(1e-46, 0.0, 9), "`start`: .*float32"),
    "warm-up to 1e38": (lambda: WarmUp(1e38, 9), "`schedule`: .*float32"),
    "hint of 1e-46": (lambda: Hint("hidden", 1e-46), "`weight`: .*float32"),
    "relation of 1e38": (lambda: Relation("hidden", 1e38), "`weight`: .*float32"),
    "scale 1e-46": (lambda: AngularMargin(scale=1e-46), "`scale`: .*float32"),
    "target in 1e-46": (lambda: losses.squared_loss(**_logits(), scale=1e-46), "`scale`"),
    "loss at 1e-30": (lambda: losses.soft_target_loss(**_logits(), temperature=1e-30), "float32"),
    "loss at 1e38": (lambda: losses.dist_loss(**_logits(), temperature=1e38), "float32"),
    "part of 1e-46": (lambda: losses.dist_loss(**_logits(), intra_class_weight=1e-46), "float32"),
    "target 1e38": (lambda: _number("1e38", "price"), "price '?1e38.*too large for float32"),
    "target 1e17": (lambda: _number("1e17", "price"), None),
    "labels' weight 1e-46": (
        lambda: distiller(hard_label_weight=1e-46),
        "`hard_label_weight`: .*fl",
    ),
    "labels' weight 1e38": (
        lambda: distiller(hard_label_weight=1e38),
        "`hard_label_weight`: .*flo",
    ),
    "setting weight 1e-46": (
        lambda: make_config({"hard_label_weight": 1e-46}),
        "hard_label_weight",
    ),
    "setting weight 1e38": (
        lambda: make_config({"soft_target_weight": 1e38}),
        "soft_target_weight",
    ),
    "setting temperature": (
        lambda: make_config({"temperature": 1e-30}),
        "distillation.temperature",
    ),
    "setting rate 1e-46": (lambda: make_config({"learning_rate": 1e-46}), "learning_rate"),
    "setting decay 1e-46": (lambda: make_config({"weight_decay": 1e-46}), "weight_decay"),
    "setting class 1e38": (
        lambda: make_config({"training.class_weight": {"a": 1e38}}),
        "training.class_weight",
    ),
    "setting weight 0": (lambda: make_config({"relation_weight": 0}), None),
}


def _logits():
    return {"teacher_logits": np.float32([[1, 2]]), "student_logits": np.float32([[2, 1]])}


@pytest.mark.parametrize("case", OUT_OF_RANGE)
def test_numbers_that_float32_turns_to_nothing_are_refused_where_they_are_given(case):
    call, said = OUT_OF_RANGE[case]
    expect(said, call)


def test_targets_that_float32_can_not_tell_apart_are_said():
    (problem,) = _check_spread("items.csv", [[1e-30], [2e-30]], ["price"])
    assert "price has a standard deviation of 5e-31, too small for float32" in problem
    assert not _check_spread("items.csv", [[1e-30], [1.0]], ["price"])


softmax = layers.Softmax
BEHIND = {
    "a cast": ([layers.Softmax(), layers.Identity(dtype="float16")], "logits, the values before"),
    "a rescaling": ([softmax(), layers.Rescaling(100.0)], "logits, the values before a softmax"),
    "a Lambda": ([layers.Lambda(lambda x: ops.softmax(x))], "logits, the values before a softmax"),
    "a Lambda behind": ([softmax(), layers.Lambda(lambda x: x + 0.0)], "logits, the values before"),
    "clipping": ([softmax(), layers.Lambda(lambda x: ops.clip(x, 0, 1))], "logits, the values"),
    "nothing but logits": ([], None),
    "logarithms": ([layers.Lambda(lambda x: ops.log_softmax(x))], None),
    "logits above 0": ([layers.Lambda(lambda x: ops.abs(x))], None),
    "logits of labels": ([layers.Lambda(lambda x: 8.0 * ops.one_hot(ops.argmax(x, -1), 4))], None),
}


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("case", BEHIND)
def test_probabilities_are_found_by_the_first_batch(case, role):
    behind, said = BEHIND[case]
    if role == "student" and case == "logits of labels":
        pytest.skip("no gradient")

    def fit():
        distiller(**{role: classifier(9, seed=3, behind=behind)}).fit(X, Y, verbose=0)

    expect(said and f"`{role}`: {said}", fit)


def test_probabilities_of_several_labels_are_found_by_the_first_batch():
    behind = [layers.Lambda(lambda x: ops.sigmoid(x))]
    model = distiller(
        teacher=classifier(9, behind=behind), loss=KERAS.BinaryCrossentropy(from_logits=True)
    )
    expect("`teacher`: logits", lambda: model.fit(X, ONE_HOT, verbose=0))


def test_probabilities_are_found_in_a_graph_too():
    behind = [layers.Lambda(lambda x: ops.softmax(x))]
    model = distiller(teacher=classifier(9, behind=behind), run_eagerly=False)
    expect("`teacher`: logits", lambda: model.fit(X, Y, batch_size=8, verbose=0))


sparse, binary = KERAS.SparseCategoricalCrossentropy, KERAS.BinaryCrossentropy
LABELS = {
    "from 1 on": (sparse, Y + 1, "whole numbers from 0 to 3.*from 1 to 4"),
    "negative": (sparse, Y - 1, "whole numbers from 0 to 3.*from -1 to 2"),
    "halves": (sparse, Y + 0.5, "whole numbers from 0 to 3"),
    "nan": (sparse, np.where(Y == 1, np.nan, Y), "whole numbers from 0 to 3"),
    "far out": (sparse, Y + 10_000, "from 10000 to 10003"),
    "floats": (sparse, Y.astype("float32"), None),
    "a column": (sparse, Y[:, None], None),
    "one-hot": (sparse, ONE_HOT, "integer labels of shape.*CategoricalCrossentropy"),
    "classes for labels": (binary, ONE_HOT * 3, "0 or 1 for each output.*to 3"),
    "shares": (binary, ONE_HOT * 0.9, None),
    "negative shares": (binary, -ONE_HOT, "0 or 1 for each output.*from -1"),
    "counts": (KERAS.CategoricalCrossentropy, ONE_HOT * 2, "0 or 1 for each output"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_none_are_said_in_words(case):
    loss, labels, said = LABELS[case]
    model = distiller(loss=loss(from_logits=True), hard_label_weight=1.0)
    expect(said, lambda: model.train_on_batch(X, labels))
    expect(said, lambda: model.evaluate(X, labels, verbose=0))


# Labels for four outputs, a loss, the size of a batch, and a piece of what is said.
SHAPES = {
    "one column": (ONE_HOT[:, :1], KERAS.MeanSquaredError, 8, r"shape \(None, 4\).*\(None, 1\)"),
    "no column": (
        Y,
        KERAS.MeanAbsoluteError,
        CLASSES,
        r"shape \(None, 4\), for MeanAbs.*\(None,\)",
    ),
    "three columns": (ONE_HOT[:, :3], KERAS.Huber, 8, r"\(None, 4\), for Huber.*\(None, 3\)"),
    "a last size of 1": (ONE_HOT[..., None], KERAS.MeanSquaredError, 8, None),
}


@pytest.mark.parametrize("case", SHAPES)
def test_labels_that_would_be_repeated_for_other_outputs_are_refused(case):
    labels, loss, size, said = SHAPES[case]
    model = distiller(loss=loss(), terms=[], metrics=None)
    expect(said and f"`y`: .*{said}", lambda: model.fit(X, labels, batch_size=size, verbose=0))


# Weights of `fit`, and a piece of what is said.
WEIGHTS = {
    "two columns": ({"sample_weight": np.ones([16, 2])}, r"`sample_weight`: one.*\(None, 2\)"),
    "as many as a batch": ({"sample_weight": np.ones([16, 16])}, "`sample_weight`: one number"),
    "a column": ({"sample_weight": np.ones([16, 1])}, None),
    "names": ({"class_weight": {"cup": 5}}, "`class_weight`: a dict from the number .* 0 to 3"),
    "numbers as texts": ({"class_weight": {"0": 5}}, "`class_weight`: .*Received: {'0': 5}"),
    "a class too many": ({"class_weight": {0: 1, 4: 5}}, "`class_weight`"),
    "a part of a class": ({"class_weight": {0.5: 5}}, "`class_weight`"),
    "a list": ({"class_weight": [1, 1, 1, 1]}, "`class_weight`"),
    "below 0": ({"class_weight": {0: -1}}, "`class_weight`"),
    "no number": ({"class_weight": {0: np.nan}}, "`class_weight`"),
    "of NumPy": ({"class_weight": {np.int64(0): np.float32(2)}}, None),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_without_effect_are_refused(case):
    given, said = WEIGHTS[case]
    expect(said, lambda: distiller().fit(X, Y, verbose=0, **given))


def test_weights_of_classes_are_for_one_class_an_example():
    model = distiller(loss=KERAS.BinaryCrossentropy(from_logits=True), terms=[], metrics=None)
    expect(
        "`class_weight`: for a loss of one class.*BinaryCrossentropy",
        lambda: model.fit(X, ONE_HOT, class_weight={0: 2.0}, verbose=0),
    )


def test_a_metric_may_be_alone():
    for metric in ("accuracy", keras.metrics.SparseCategoricalAccuracy("accuracy")):
        assert "accuracy" in distiller(metrics=metric).evaluate(X, Y, verbose=0, return_dict=True)


def test_a_last_step_that_breaks_the_weights_is_said():
    model = distiller()
    model.optimizer.learning_rate = np.nan
    with pytest.raises(DivergedError, match="diverged: the student's weights hold NaN"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e19])
def test_numbers_that_are_none_are_said_in_words(value):
    model = distiller(loss=KERAS.MeanSquaredError(), terms=[])
    expect(
        "`y`: finite numbers", lambda: model.train_on_batch(X, np.where(Y[:, None], value, ONE_HOT))
    )


def test_an_ignored_class_is_no_label_out_of_range():
    model = distiller(loss=sparse(from_logits=True, ignore_class=-1), metrics=[])
    logs = model.train_on_batch(X, np.where(Y == 1, -1, Y), return_dict=True)
    assert np.isfinite(logs["loss"])


@pytest.mark.parametrize(("wrong", "eager"), [(Y + 4, True), (ONE_HOT, False), (Y[:7], True)])
def test_fit_works_after_a_refused_fit(wrong, eager):
    model = distiller(run_eagerly=eager)
    before = model.student.get_weights()
    with pytest.raises(ValueError):
        model.fit(X, wrong, batch_size=8, shuffle=False, verbose=0)
    for old, now in zip(before, model.student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][1] < history["loss"][0]


def test_a_frozen_student_is_said():
    student = classifier(5)
    student.trainable = False
    model = distiller(student=student)
    said = "`student`: a model with weights that learn.*which is frozen"
    expect(said, lambda: model.fit(X, Y))
    expect(said, lambda: model.train_on_batch(X, Y))


def test_a_distillation_that_diverges_ends_at_once():
    seen = []
    model = distiller(loss=KERAS.MeanSquaredError(), terms=[])
    model.optimizer.learning_rate = 1e12
    each = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    with pytest.raises(
        DivergedError, match="the training diverged: in epoch 1 the loss was (nan|inf)"
    ):
        model.fit(X, 1e3 * ONE_HOT, batch_size=1, epochs=9, callbacks=each, verbose=0)
    assert len(seen) < 16


REPLICAS = {
    "dist": ([SoftTargets(1.0, 1.0, losses.dist_loss)], "term 'soft_target' with dist_loss"),
    "dist of each row": (
        [SoftTargets(1.0, 1.0, losses.dist_loss, loss_options={"intra_class_weight": 0.0})],
        None,
    ),
    "RKD": ([Relation("hidden", 1.0)], "with relational_distance_loss"),
    "angles": ([Relation("hidden", 1.0, losses.relational_angle_loss)], "relational_angle_loss"),
    "SP": ([Relation("hidden", 1.0, losses.similarity_preserving_loss)], "similarity_preserving"),
    "PKT": ([Relation("hidden", 1.0, losses.pkt_loss)], "with pkt_loss"),
    "InfoNCE": ([Hint("hidden", 1.0, losses.contrastive_loss)], "with contrastive_loss"),
    "embeddings": ([SoftTargets(None, 1.0, losses.embedding_loss)], "with embedding_loss"),
    "affinities": ([SoftTargets(1.0, 1.0, losses.affinity_loss)], "with affinity_loss"),
    "soft targets": ([SoftTargets()], None),
    "a hint": ([Hint("hidden", 1.0)], None),
}


@pytest.mark.parametrize("case", REPLICAS)
def test_losses_between_examples_are_refused_with_several_replicas(case):
    terms, said = REPLICAS[case]
    check_replicas(terms, KERAS.MeanSquaredError(), 1)
    expect(said, lambda: check_replicas(terms, KERAS.MeanSquaredError(), 2))


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (MatchingLoss(), "loss MatchingLoss, 2 replicas"),
        (AngularMargin(), "loss AngularMargin"),
        (ScaledSquaredError([1.0]), None),
    ],
)
def test_losses_of_labels_between_examples_too(loss, said):
    expect(said, lambda: check_replicas([], loss, 2))


def test_a_distiller_of_two_replicas_says_so_and_stays_as_it_was():
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        model = Distiller(student=classifier(5), teacher=classifier(9, seed=7))
        model.compile("sgd", terms=[SoftTargets()])
        kept = model.terms
        expect("several replicas", lambda: model.compile("sgd", terms=[Relation("hidden")]))
    assert model.terms is kept
