"""Metrics by task: what a run reports of a model's outputs on a split."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from mmkd_tf.evaluate.metrics import agreement as class_agreement
from mmkd_tf.evaluate.metrics import classification_metrics
from mmkd_tf.evaluate.multi_label import label_agreement, multi_label_metrics
from mmkd_tf.evaluate.regression import regression_metrics
from mmkd_tf.evaluate.retrieval import first_agreement, retrieval_metrics
from mmkd_tf.tasks import headline, r2_scores


def measure(
    task: str, *, labels: np.ndarray, outputs: np.ndarray, class_names: Sequence[str]
) -> dict:
    """Measures a model.

    Args:
        task: A key of `mmkd_tf.tasks.HEADLINES`.
        labels: As `Examples.labels` has them.
        outputs: float `[n, num_outputs]`, logits or values.
        class_names: Name of each output.

    Returns:
        The task's metrics as a dict; its headline is among the keys.
    """
    if task == "single_label":
        return asdict(
            classification_metrics(labels=labels, logits=outputs, class_names=class_names)
        )
    if task == "multi_label":
        return asdict(multi_label_metrics(labels=labels, logits=outputs, label_names=class_names))
    if task == "retrieval":
        return asdict(retrieval_metrics(pairs=outputs, items=labels))
    return asdict(regression_metrics(labels=labels, values=outputs, target_names=class_names))


def score(task: str, outputs: np.ndarray, labels: np.ndarray) -> float:
    """Gives the headline of `measure` alone, in less time.

    Args:
        task: As for `measure`.
        outputs: As for `measure`.
        labels: As for `measure`.
    """
    if task == "retrieval":
        return retrieval_metrics(pairs=outputs, items=labels).recall_at_10
    return headline(task, labels=labels, outputs=outputs)


def agreement(task: str, *, teacher_outputs: np.ndarray, student_outputs: np.ndarray) -> float:
    """How much a student says what its teacher says, 1 if it says the same.

    Returns:
        Of single_label the share of the examples with the same class; of multi_label
        `label_agreement`; of retrieval `first_agreement`; of regression the mean R2 of the
        student's values for the teacher's.
    """
    if task == "single_label":
        return class_agreement(teacher_logits=teacher_outputs, student_logits=student_outputs)
    if task == "multi_label":
        return label_agreement(teacher_logits=teacher_outputs, student_logits=student_outputs)
    if task == "retrieval":
        return first_agreement(teacher_pairs=teacher_outputs, student_pairs=student_outputs)
    return float(np.mean(r2_scores(labels=teacher_outputs, values=student_outputs)))
