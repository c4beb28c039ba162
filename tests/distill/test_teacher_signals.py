import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.distill.feature_terms import Hint, Projection
from mmkd_tf.distill.teacher_signals import TeacherSignals, class_ids, corrected, is_wrong, shares
from mmkd_tf.distill.terms import SoftTargets

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 3, 3, 0], "int32")
LOGITS = {name: 3 * RNG.normal(size=(6, 4)).astype("float32") for name in ("a", "b", "c")}
STUDENT = 3 * RNG.normal(size=(6, 4)).astype("float32")
ROWS = np.arange(6)
for _name in ("a", "b"):  # each right on some examples, wrong on others
    LOGITS[_name][::2, :] += 9 * np.eye(4)[LABELS][::2]


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def divergence(teacher_logits, temperature=4.0):
    p, q = log_softmax(teacher_logits / temperature), log_softmax(STUDENT / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).sum(-1)


def exchanged(logits):
    """The label's logit and the largest one exchanged, row by row."""
    logits = logits.copy()
    for row, label in zip(logits, LABELS, strict=True):
        first = row.argmax()
        row[first], row[label] = row[label], row[first]
    return logits


def taught(terms, names=("a", "b"), labels=LABELS, projections=None, features=None, **arguments):
    """The values of each term, from teachers of these names."""
    features = features or {}
    said = {n: {"logits": tf.constant(LOGITS[n]), **features.get(n, {})} for n in names}
    student = {"logits": tf.constant(STUDENT), **features.get("student", {})}
    teaching = TeacherSignals(terms, projections or {}, **arguments)
    values = teaching(teachers=said, student=student, labels=labels, step=0)
    return [np.asarray(value) for value in values]


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None], LABELS.astype("uint8"), LABELS.astype("float32"), np.eye(4)[LABELS]],
    ids=["[batch]", "[batch, 1]", "uint8", "float", "one-hot"],
)
def test_labels_in_every_form(labels):
    ids = class_ids(labels, 4)
    np.testing.assert_array_equal(ids, LABELS)
    assert ids.dtype == "int32"
    graph = tf.function(
        lambda x: class_ids(x, 4),
        input_signature=[tf.TensorSpec([None, *labels.shape[1:]], labels.dtype)],
    )
    np.testing.assert_array_equal(graph(labels), LABELS)


def test_a_teacher_is_wrong_where_its_first_class_is_not_the_label():
    logits = np.array([[3.0, 1, 0], [3, 1, 0], [0, 1, 2]], "float32")
    np.testing.assert_array_equal(is_wrong(logits, np.array([0, 1, 1])), [False, True, True])


def test_correcting_exchanges_two_logits_of_wrong_rows():
    logits = np.array([[3.0, 1, 0], [3, 1, 0], [-5, -9, -7], [2, 2, 1]], "float32")
    expected = [[3, 1, 0], [1, 3, 0], [-9, -5, -7], [2, 2, 1]]
    np.testing.assert_array_equal(corrected(logits, np.array([0, 1, 1, 1])), expected)
    for name in LOGITS:
        np.testing.assert_array_equal(corrected(LOGITS[name], LABELS), exchanged(LOGITS[name]))


def expected_shares(names, by):
    if by is None:
        return {name: np.full(6, 1 / len(names)) for name in names}
    if isinstance(by, dict):
        return {name: np.full(6, by[name] / sum(by[n] for n in names)) for name in names}
    uncertain = []
    for name in names:
        log_probs = log_softmax(LOGITS[name].astype("float64"))
        entropy = -(np.exp(log_probs) * log_probs).sum(1)
        uncertain.append(entropy if by == "confidence" else -log_probs[ROWS, LABELS])
    powers = np.exp(uncertain)
    parts = (1 - powers / powers.sum(0)) / (len(names) - 1)
    return dict(zip(names, parts, strict=True))


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids="".join)
@pytest.mark.parametrize("by", [None, {"a": 1, "b": 3.0, "c": 0}, "confidence", "label_loss"])
def test_shares_of_teachers(names, by):
    logits = {name: LOGITS[name] for name in names}
    parts, expected = shares(logits, LABELS, by), expected_shares(names, by)
    assert list(parts) == list(names)
    for name in names:
        np.testing.assert_allclose(np.broadcast_to(parts[name], 6), expected[name], rtol=1e-4)
    np.testing.assert_allclose(sum(np.broadcast_to(p, 6) for p in parts.values()), 1, rtol=1e-5)


def test_the_surer_and_the_righter_teacher_counts_more():
    logits = {"sure": np.array([[9.0, 0, 0]], "float32"), "unsure": np.zeros((1, 3), "float32")}
    by_confidence = shares(logits, np.array([1]), "confidence")
    assert by_confidence["sure"][0] > 0.7
    by_label = shares(logits, np.array([1]), "label_loss")  # the sure one is sure of class 0
    assert by_label["unsure"][0] > 0.99


def test_shares_are_finite_where_teachers_are_certain():
    logits = {"a": 1e4 * np.eye(4, dtype="float32")[LABELS], "b": LOGITS["b"], "c": LOGITS["c"]}
    for by in ("confidence", "label_loss"):
        for part in shares(logits, (LABELS + 1) % 4, by).values():
            assert np.isfinite(part).all()


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")], ids="".join)
@pytest.mark.parametrize("by", [None, {"a": 1, "b": 3.0, "c": 0.5}, "confidence", "label_loss"])
@pytest.mark.parametrize("on_wrong_teacher", ["keep", "skip", "correct"])
def test_a_term_is_shared_among_teachers_right_and_wrong(names, by, on_wrong_teacher):
    (values,) = taught(
        [SoftTargets()], names, teacher_weights=by, on_wrong_teacher=on_wrong_teacher
    )
    # One teacher has the whole share; what it says of the label does not change how much it has.
    parts = {"a": np.ones(6)} if len(names) == 1 else expected_shares(names, by)
    expected = np.zeros(6)
    for name in names:
        wrong = LOGITS[name].argmax(1) != LABELS
        assert 0 < wrong.sum() < 6
        logits = exchanged(LOGITS[name]) if on_wrong_teacher == "correct" else LOGITS[name]
        listens = ~wrong if on_wrong_teacher == "skip" else np.ones(6)
        expected += parts[name] * listens * divergence(logits.astype("float64"))
    np.testing.assert_allclose(values, expected, rtol=1e-3)


def test_a_term_for_one_teacher_hears_it_alone():
    terms = [SoftTargets(teacher="b", name="one"), SoftTargets(2.0)]
    for by in (None, "confidence", {"a": 1.0, "b": 0.0}):
        one, _ = taught(terms, teacher_weights=by)
        np.testing.assert_allclose(one, divergence(LOGITS["b"]), rtol=1e-3)


def test_each_teacher_has_its_own_projection():
    widths, rng = {"a": 3, "b": 7}, np.random.default_rng(1)
    features = {n: {"layer": rng.normal(size=(6, w)).astype("float32")} for n, w in widths.items()}
    features["student"] = {"layer": rng.normal(size=(6, 5)).astype("float32")}
    projections, expected = {}, np.zeros(6)
    for name, width in widths.items():
        projections[f"hint_layer/{name}"] = layer = Projection(width)
        layer.build((None, 5))
        kernel, bias = layer.get_weights()
        gaps = features[name]["layer"] - (features["student"]["layer"] @ kernel + bias)
        expected += 0.5 * (gaps**2).mean(1)
    features = {n: {k: tf.constant(v) for k, v in f.items()} for n, f in features.items()}
    (values,) = taught([Hint("layer")], projections=projections, features=features)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_skipping_leaves_out_the_hints_of_a_wrong_teacher_too():
    layer = RNG.normal(size=(6, 5)).astype("float32")
    features = {"a": {"layer": layer}, "student": {"layer": np.zeros_like(layer)}}
    (values,) = taught([Hint("layer")], ("a",), features=features, on_wrong_teacher="skip")
    right = LOGITS["a"].argmax(1) == LABELS
    np.testing.assert_allclose(values, (layer**2).mean(1) * right, rtol=1e-5)


def test_every_form_of_labels_teaches_the_same():
    arguments = {"teacher_weights": "label_loss", "on_wrong_teacher": "correct"}
    (expected,) = taught([SoftTargets()], **arguments)
    for labels in (LABELS[:, None], np.eye(4, dtype="float32")[LABELS]):
        (values,) = taught([SoftTargets()], labels=labels, **arguments)
        np.testing.assert_array_equal(values, expected)
