"""The models of a run beside each other, with what the choice of the test examples does."""

import numpy as np
import pytest

from mmkd_tf.evaluate.run_comparison import compare_models
from mmkd_tf.evaluate.statistics import Predictions
from mmkd_tf.tasks import TASKS


def answers(labels, num_right):
    """Logits of two classes that are right for so many of the examples."""
    named = np.where(np.arange(len(labels)) < num_right, labels, 1 - labels)
    return np.eye(2)[named] * 4


def compared(**num_right):
    labels = np.arange(200) % 2
    task = TASKS["single_label"]
    said = {n: Predictions(task, labels, answers(labels, r)) for n, r in num_right.items()}
    naive, words = task.naive_outputs(
        training_labels=np.array([0, 1, 1]), labels=labels, names=["cup", "pot"]
    )
    naive = Predictions(task, labels, naive)
    rng = np.random.default_rng(0)
    return compare_models(said, naive=naive, naive_words=words, rng=rng)


def test_differences_are_of_pairs():
    found = compared(teacher=180, student_alone=140, student=160)
    assert found["num_examples"] == 200
    assert found["naive"] == {"words": "always naming pot", "score": 0.5}
    assert sorted(found["differences"]) == ["gap", "over_naive", "teaching", "to_teacher"]
    # 40 of 200 differ, all to one side: a standard error of sqrt(.2 * .8 / 200) = .0283.
    gap = found["differences"]["gap"]
    assert gap["difference"] == pytest.approx(0.2)
    assert gap["interval"] == pytest.approx([0.2 - 0.055, 0.2 + 0.055], abs=0.01)
    # A share of .8 of 200: sqrt(.8 * .2 / 200) = .0283 too, and Wilson draws it to the middle.
    assert found["intervals"]["student"] == pytest.approx([0.745, 0.855], abs=0.01)


def test_a_student_from_scratch_tells_what_inheritance_brought():
    found = compared(teacher=180, student_scratch=100, student_alone=140, student=160)
    assert found["differences"]["inheritance"]["difference"] == pytest.approx(0.2)


@pytest.mark.parametrize("task", ["multi_label", "regression", "retrieval"])
def test_each_task_has_an_answer_that_looks_at_no_input(task):
    rng = np.random.default_rng(1)
    labels = {
        "multi_label": rng.integers(0, 2, [60, 3]).astype(np.float32),
        "regression": rng.normal(size=[60, 3]).astype(np.float32),
        "retrieval": np.arange(60),
    }[task]
    clean = rng.normal(size=[60, 4]) if task == "retrieval" else labels
    outputs = {
        name: clean + rng.normal(scale=scale, size=clean.shape)
        for name, scale in (("teacher", 0.1), ("student_alone", 1.0), ("student", 0.4))
    }
    if task == "retrieval":
        outputs = {name: np.concatenate([clean, each], axis=1) for name, each in outputs.items()}
    task = TASKS[task]
    naive, words = task.naive_outputs(training_labels=labels, labels=labels, names=["a", "b", "c"])
    said = {name: Predictions(task, labels, each) for name, each in outputs.items()}
    found = compare_models(said, naive=Predictions(task, labels, naive), naive_words=words, rng=rng)
    over = found["differences"]["over_naive"]
    assert over["interval"][0] > 0 and found["naive"]["words"] == words
    low, high = found["intervals"]["student"]
    assert low <= said["student"].score <= high
    expected = {"multi_label": labels.mean() if labels.ndim else 0, "regression": 0}
    if task.name in expected:
        assert found["naive"]["score"] == pytest.approx(expected[task.name], abs=1e-6)
    else:  # ten of sixty candidates
        assert found["naive"]["score"] == pytest.approx(10 / 60, abs=0.1)
