"""What exported files answer, and how it is compared with Keras."""

import numpy as np
import pytest

from mmkd_tf.export.parity import difference
from mmkd_tf.tasks import find_task

CLASSES, LABELS, VALUES, PAIRS = map(
    find_task, ("single_label", "multi_label", "regression", "retrieval")
)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def test_labels_are_compared_in_nats():
    logits = np.array([[3.0, -40], [-2, 1]])
    same = difference(logits=logits, probabilities=sigmoid(logits), task="multi_label")
    assert same.max_abs_logit_difference < 1e-6 and same.top1_agreement == 1
    assert same.scale == 40 and not same.exceeds(exact=True)
    other = difference(logits=logits, probabilities=sigmoid(logits - 1), task="multi_label")
    expected = np.log(sigmoid(logits)) - np.log(sigmoid(logits - 1))
    assert other.max_abs_logit_difference == pytest.approx(np.abs(expected).max())
    assert other.exceeds(exact=True)


def test_the_same_labels_are_an_f1():
    logits = np.array([[1.0, 1, -1, -1], [1, -1, -1, 0]])
    expected, found, _ = LABELS.comparable(logits, sigmoid([[1.0, -1, -1, -1], [1, -1, 1, 0.1]]))
    # Keras gives 3, the file 4 of which one that Keras holds undecided: then it counts as given.
    assert LABELS.same_answers(expected, found) == pytest.approx(2 * 3 / (4 + 4))
    nothing = np.log(np.full([2, 2], 0.1))
    assert LABELS.same_answers(nothing, nothing) == 1


def test_what_keras_holds_nearly_as_likely_is_as_good():
    # The file gives the second class; Keras holds it 0.04 or 0.06 less likely than the first.
    expected = np.log([[0.52, 0.48], [0.53, 0.47]])
    found = np.log([[0.4, 0.6], [0.4, 0.6]])
    assert CLASSES.same_answers(expected, found) == 0
    assert CLASSES.good_answers(expected, found) == 0.5
    # The file gives all labels; Keras holds the first two at 0.46 and 0.44.
    expected, found = np.log([[0.46, 0.44, 0.9]]), np.log([[0.6, 0.6, 0.9]])
    assert LABELS.same_answers(expected, found) == pytest.approx(2 * 1 / (1 + 3))
    assert LABELS.good_answers(expected, found) == pytest.approx(2 * 2 / (2 + 3))
    values = np.array([[0.0], [1.0]])
    assert VALUES.good_answers(values, values + 0.2) == VALUES.same_answers(values, values + 0.2)


def test_values_are_compared_in_standard_deviations():
    values = np.array([[1.0, 1000], [3, 3000]])
    expected, found, scale = VALUES.comparable(values, values + [[0.5, 0]])
    np.testing.assert_allclose(found - expected, [[0.5, 0], [0.5, 0]])
    assert scale == 1
    assert VALUES.same_answers(expected, found) == 0.5
    assert VALUES.spread(expected) == pytest.approx(1)
    # The same in another unit.
    other = difference(logits=values * 1e4, probabilities=values * 1e4 + 5e3, task="regression")
    assert other.max_abs_logit_difference == pytest.approx(0.5)


def test_values_of_a_model_that_says_nearly_nothing_are_measured_by_the_targets():
    values, targets = np.array([[5.0], [5.001]]), np.array([[1.0], [9.0]])
    options = {"logits": values, "probabilities": values + 0.004, "task": "regression"}
    assert difference(**options).top1_agreement == 0
    found = difference(**options, labels=targets)
    assert found.top1_agreement == 1
    assert found.max_abs_logit_difference == pytest.approx(0.001)


def test_float32_rounds_large_values():
    values = 1e6 + np.arange(4.0)[:, None]
    found = difference(logits=values, probabilities=values + 0.06, task="regression")
    assert not found.exceeds(exact=True)
    assert difference(logits=values, probabilities=values + 5, task="regression").exceeds(
        exact=True
    )


def test_constant_values():
    values = np.full([3, 1], 7.0)
    assert not difference(logits=values, probabilities=values, task="regression").exceeds(
        exact=True
    )
    assert difference(logits=values, probabilities=values + 1, task="regression").exceeds(
        exact=True
    )


def test_embeddings_are_compared_by_cosine_and_number_by_number():
    embeddings = np.array([[1.0, 0], [0.6, 0.8], [0, 0]])
    turned = np.array([[np.cos(0.1), np.sin(0.1)], [0.8, 0.6], [0, 0]])
    expected, found, scale = PAIRS.comparable(embeddings, turned)
    assert scale == 1 and np.abs(found - expected).max() == pytest.approx(0.2)
    # The first is off by 0.1 radians, a cosine of 0.995; what is absent is absent in both.
    assert PAIRS.same_answers(expected, found) == pytest.approx(2 / 3)
    wrongly_there = PAIRS.same_answers(np.zeros([1, 2]), np.array([[1.0, 0]]))
    assert wrongly_there == 0
    same = difference(logits=embeddings, probabilities=embeddings + 1e-5, task="retrieval")
    assert not same.exceeds(exact=True)
    assert difference(logits=embeddings, probabilities=turned, task="retrieval").exceeds(exact=True)


def test_labels_fit_the_task():
    assert PAIRS.label_problems(np.zeros([4, 8], np.float32), 0) == []
    for wrong in (np.zeros(4), np.zeros([4, 8], int), np.full([4, 8], np.nan)):
        assert "embeddings" in PAIRS.label_problems(wrong, 0)[0]
    assert VALUES.label_problems(np.zeros([40, 3]), 3) == []
    assert "numbers [n, 2]" in VALUES.label_problems(np.zeros(40), 2)[0]
    assert "numbers [n, 1] for regression" in VALUES.label_problems(np.array([[np.inf]]), 1)[0]
    assert LABELS.label_problems(np.array([[0, 1], [1, 1]]), 2) == []
    assert LABELS.label_problems(np.full([4, 2], 0.5), 2)[0].endswith("[4, 2], with other values.")
    assert CLASSES.label_problems(np.array([0, 2]), 3) == []
    assert "from 0 to 1, for 2 class names" in CLASSES.label_problems(np.array([0, 2]), 2)[0]
    assert "argmax(axis=1)" in CLASSES.label_problems(np.eye(2), 2)[0]


def test_probabilities_are_not_meant_as_logits():
    probs = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert "after a softmax" in CLASSES.output_problems(probs)
    assert "after a sigmoid" in LABELS.output_problems(probs)
    for task in (CLASSES, LABELS):
        assert task.output_problems(probs - 0.5) is None
    assert VALUES.output_problems(probs) is PAIRS.output_problems(probs) is None


def test_names_of_outputs():
    assert CLASSES.name_problems(["a", "b"], 2) == PAIRS.name_problems([], 8) == []
    assert "one for each of the model's 3 outputs" in LABELS.name_problems(["a"], 3)[0]
    assert "none for retrieval" in PAIRS.name_problems(["a"], 8)[0]


def test_activation_is_undone():
    logits = np.array([[2.0, -1, 0.5]])
    np.testing.assert_allclose(LABELS.deactivate(sigmoid(logits)), logits)
    np.testing.assert_allclose(VALUES.deactivate(logits), logits)


def test_sentences():
    assert CLASSES.purpose("text", 3) == "A classifier for text into 3 classes"
    assert LABELS.purpose("text", 3) == "A model that gives text any number of 3 labels"
    assert VALUES.purpose("text", 1) == "A model that tells a number from text"
    assert CLASSES.agreement_sentence(0.5) == "It names the same class as its teacher for 50.0%."
