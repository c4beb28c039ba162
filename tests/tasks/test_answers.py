"""What a task says of single examples, and of how sure a model may be."""

import numpy as np
import pytest

from mmkd_tf.tasks import TASKS
from mmkd_tf.tasks.outputs import reliability_bins

NAMES = ["cup", "pot", "pan"]


def test_a_mistake_in_a_class_is_as_bad_as_it_is_sure():
    task, labels = TASKS["single_label"], np.array([0, 1])
    outputs = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    found = task.answers(labels=labels, outputs=outputs, names=NAMES)
    assert found.words == ["cup", "pan"] and found.sure == pytest.approx([0.7, 0.6])
    assert found.mistakes == pytest.approx([0, 0.6])
    assert task.label_words(labels, NAMES) == ["cup", "pot"]
    others = np.log([[0.6, 0.3, 0.1], [0.2, 0.8, 1e-9]])
    apart = task.disagreement(labels=labels, outputs=outputs, others=others)
    assert apart == pytest.approx([0, (0.6 + 0.8) / 2])


def test_a_mistake_in_labels_is_the_surest_of_the_wrong_ones():
    task, labels = TASKS["multi_label"], np.float32([[1, 0, 0], [0, 0, 0]])
    probs = np.array([[0.9, 0.2, 0.3], [0.4, 0.8, 0.6]])
    outputs = np.log(probs / (1 - probs))
    found = task.answers(labels=labels, outputs=outputs, names=NAMES)
    assert found.words == ["cup", "pot, pan"] and found.mistakes == pytest.approx([0, 0.8])
    assert found.sure == pytest.approx([0.7, 0.6])
    assert task.label_words(labels, NAMES) == ["cup", "none of them"]
    apart = task.disagreement(labels=labels, outputs=outputs, others=outputs[::-1])
    assert apart == pytest.approx([0.6, 0.6])


def test_an_error_of_numbers_is_counted_in_deviations():
    task, labels = TASKS["regression"], np.float32([[0, 10], [2, 30]])
    found = task.answers(labels=labels, outputs=labels + [1, 0], names=["size", "price"])
    assert found.words == ["size 1, price 10", "size 3, price 30"] and found.sure is None
    assert found.mistakes == pytest.approx([0.5, 0.5])
    assert task.label_words(labels, ["size", "price"])[1] == "size 2, price 30"


def test_a_pair_is_found_at_a_rank():
    task, labels = TASKS["retrieval"], np.arange(3)
    outputs = np.concatenate([np.eye(3), np.eye(3)[[0, 2, 1]]], axis=1)
    found = task.answers(labels=labels, outputs=outputs, names=[], inputs=["image", "text"])
    assert found.words[0] == "text found at rank 1, image at rank 1"
    assert found.mistakes[0] == 0 and found.mistakes[1] == found.mistakes[2] > 0
    assert task.disagreement(labels=labels, outputs=outputs, others=outputs).tolist() == [0] * 3


def test_bins_say_how_often_what_is_so_sure_is_right():
    found = reliability_bins(
        confidence=np.array([0.1, 0.2, 0.9, 1.0]), right=np.array([0, 1, 1, 1]), num_bins=4
    )
    assert found == [
        {"confidence": pytest.approx(0.15), "right": 0.5, "count": 2},
        {"confidence": pytest.approx(0.95), "right": 1.0, "count": 2},
    ]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_reliability_is_what_the_calibration_error_sums_up(task):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=[50, 3])
    labels = rng.integers(0, 2, [50, 3]) if task.name == "multi_label" else np.arange(50) % 3
    bins = task.reliability(labels=labels, outputs=outputs)
    assert (bins is not None) == task.gives_probabilities
    if bins is None:
        return
    assert sum(each["count"] for each in bins) == labels.size
    if task.name == "single_label":
        error = task.measure(labels=labels, outputs=outputs, names=NAMES)
        gaps = sum(each["count"] * abs(each["right"] - each["confidence"]) for each in bins)
        assert gaps / 50 == pytest.approx(error["expected_calibration_error"])
