"""What holds for each public loss; a new loss needs a case here."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf import losses

LOGITS, ONE_LOGIT, ROWS, MAPS = (6,), (1,), (5,), (3, 3, 4)
# name of the case: the loss, the shape of an example, further arguments
CASES = {
    "soft_target_loss": ("soft_target_loss", LOGITS, {}),
    "standardized": ("soft_target_loss", LOGITS, {"standardize": True}),
    "soft_target_cross_entropy": ("soft_target_cross_entropy", LOGITS, {}),
    "decoupled_loss": ("decoupled_loss", LOGITS, {}),
    "dist_loss": ("dist_loss", LOGITS, {}),
    "sigmoid_soft_target_loss": ("sigmoid_soft_target_loss", LOGITS, {}),
    "sigmoid of one logit": ("sigmoid_soft_target_loss", ONE_LOGIT, {}),
    "squared_loss": ("squared_loss", LOGITS, {}),
    "hint_loss": ("hint_loss", MAPS, {}),
    "cosine_hint_loss": ("cosine_hint_loss", MAPS, {}),
    "variational_information_loss": ("variational_information_loss", MAPS, {"log_scale": 0.0}),
    "attention_transfer_loss": ("attention_transfer_loss", MAPS, {}),
    "relational_distance_loss": ("relational_distance_loss", ROWS, {}),
    "relational_angle_loss": ("relational_angle_loss", ROWS, {}),
    "similarity_preserving_loss": ("similarity_preserving_loss", MAPS, {}),
    "pkt_loss": ("pkt_loss", ROWS, {}),
    "contrastive_loss": ("contrastive_loss", ROWS, {}),
    "affinity_loss": ("affinity_loss", LOGITS, {}),
    "embedding_loss": ("embedding_loss", LOGITS, {}),
    "relations alone": ("embedding_loss", LOGITS, {"cosine_weight": 0.0}),
    "with a queue": ("contrastive_loss", ROWS, {"queue": np.eye(5)[:2]}),
}
SYMMETRIC = {
    "dist_loss",
    "squared_loss",
    "hint_loss",
    "cosine_hint_loss",
    "variational_information_loss",
    "attention_transfer_loss",
    "relational_distance_loss",
    "relational_angle_loss",
    "similarity_preserving_loss",
    "embedding_loss",
}
NOT_ZERO_AT_EQUALITY = {"soft_target_cross_entropy", "contrastive_loss"}
every_loss = pytest.mark.parametrize("case", CASES)


def prepared(case):
    """The loss as a function of teacher, student and labels, and the shape of an example."""
    name, shape, arguments = CASES[case]
    kind = "logits" if shape in (LOGITS, ONE_LOGIT) else "features"

    def loss(teacher, student, labels):
        both = {f"teacher_{kind}": teacher, f"student_{kind}": student}
        extra = {"labels": labels} if name == "decoupled_loss" else {}
        return getattr(losses, name)(**both, **extra, **arguments)

    return loss, shape


def drawn(shape, batch=6):
    rng = np.random.default_rng(7)
    pair = [2 * rng.normal(size=(batch, *shape)).astype("float32") for _ in range(2)]
    return *pair, rng.integers(0, 6, batch)


def value_and_gradient(loss, teacher, student, labels):
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = loss(teacher, student, labels)
    return value, tape.gradient(value, student)


def in_dtype(dtype, teacher, student, labels):
    return tf.cast(teacher, dtype), tf.cast(student, dtype), tf.constant(labels)


def test_every_public_loss_has_a_case():
    assert {name for name, _, _ in CASES.values()} == set(losses.__all__)


@pytest.mark.parametrize("name", losses.__all__)
def test_arguments_are_keyword_only_and_both_roles_are_spelled_out(name):
    parameters = inspect.signature(getattr(losses, name)).parameters
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert len(parameters) <= 7
    assert [x.split("_")[0] for x in list(parameters)[:2]] == ["teacher", "student"]


@every_loss
def test_one_finite_float32_value_an_example_not_negative(case):
    loss, shape = prepared(case)
    for batch in (1, 6):
        values = loss(*drawn(shape, batch))
        assert values.shape == (batch,) and values.dtype == "float32"
        assert np.isfinite(values).all() and np.min(values) > -1e-6


@every_loss
def test_zero_at_equality(case):
    loss, shape = prepared(case)
    teacher, _, labels = drawn(shape)
    values = np.abs(loss(teacher, teacher, labels))
    if CASES[case][0] in NOT_ZERO_AT_EQUALITY:
        assert values.max() > 1e-3
    else:  # the variational form too, at a log_scale of 0
        np.testing.assert_allclose(values, np.zeros(6), atol=1e-5)


@every_loss
def test_swapped_roles(case):
    loss, shape = prepared(case)
    teacher, student, labels = drawn(shape)
    right, swapped = loss(teacher, student, labels), loss(student, teacher, labels)
    if CASES[case][0] in SYMMETRIC:
        np.testing.assert_allclose(swapped, right, rtol=1e-4)
    else:
        assert np.abs(swapped - right).max() > 1e-3 * np.abs(right).max()


@every_loss
def test_values_follow_their_examples(case):
    loss, shape = prepared(case)
    inputs = drawn(shape)
    order = np.array([3, 0, 5, 1, 4, 2])
    moved = loss(*(x[order] for x in inputs))
    np.testing.assert_allclose(moved, np.asarray(loss(*inputs))[order], rtol=1e-4, atol=1e-6)


@every_loss
def test_graph_of_unknown_batch_size_and_xla_equal_eager(case):
    loss, shape = prepared(case)
    inputs = in_dtype("float32", *drawn(shape))
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in inputs]
    both = tf.function(lambda *x: value_and_gradient(loss, *x), input_signature=signature)
    xla = tf.function(lambda *x: value_and_gradient(loss, *x), jit_compile=True)
    fewer = [x[:3] for x in inputs]
    for run, given in ((both, inputs), (both, fewer), (xla, inputs)):
        for got, expected in zip(run(*given), value_and_gradient(loss, *given), strict=True):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * scale + 1e-7)


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(case, dtype):
    loss, shape = prepared(case)
    half = in_dtype(dtype, *drawn(shape))
    value, gradient = value_and_gradient(loss, *half)
    single, single_gradient = value_and_gradient(loss, *in_dtype("float32", *half))
    np.testing.assert_allclose(value, single, rtol=1e-6)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, tf.cast(single_gradient, dtype))
    assert np.abs(tf.cast(gradient, "float32")).max() > 1e-4


def extremes(shape):
    teacher, student, labels = drawn(shape)
    gap = np.zeros_like(student)
    gap[:, ..., 0] = 1e4
    doubled = student.copy()
    doubled[1::2] = student[::2]
    some = np.array([0, 1, 0, 1, 1, 1], "float32").reshape(-1, *[1] * len(shape))
    yield "both zero", 0 * teacher, 0 * student, labels
    yield "student zero", teacher, 0 * student, labels
    yield "some zero", teacher, some * student, labels
    yield "identical rows", doubled, doubled, labels
    yield "identical rows of the student", teacher, doubled, labels
    yield "one row for all", teacher, np.ones_like(student), labels
    yield "gap", gap, np.roll(gap, 1, axis=-1), labels
    yield "gap to one side", teacher, -gap, labels
    yield "large", 5e3 * np.sign(teacher), 5e3 * np.sign(student), labels
    yield "tiny", teacher, 1e-4 * student, labels
    yield "vanishing", teacher, 1e-7 * student, labels
    yield "one example", gap[:1], np.roll(gap, 1, axis=-1)[:1], labels[:1]


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_finite_with_gradient_at_extremes(case, dtype):
    loss, shape = prepared(case)
    for name, *inputs in extremes(shape):
        value, gradient = value_and_gradient(loss, *in_dtype(dtype, *inputs))
        assert np.isfinite(value).all(), name
        assert np.isfinite(tf.cast(gradient, "float32")).all(), name
        assert np.min(value) > -1e-3, name


@every_loss
def test_nan_of_a_model_shows_in_the_loss(case):
    loss, shape = prepared(case)
    teacher, student, labels = drawn(shape)
    student[2] = np.nan
    assert np.isnan(np.asarray(loss(teacher, student, labels))[2])


@every_loss
def test_refuses_other_examples(case):
    loss, shape = prepared(case)
    teacher, student, labels = drawn(shape)
    with pytest.raises(ValueError, match="the same examples in the same order"):
        loss(teacher, student[:1], labels)


@every_loss
def test_refuses_a_single_example_without_its_batch(case):
    loss, _ = prepared(case)
    with pytest.raises(ValueError, match=r"(?s)`teacher_\w+`: float .*`student_\w+`: float "):
        loss(np.zeros(6), np.zeros(6), np.zeros(6, int))
