"""Metrics of classifiers from labels and logits, in NumPy: what a run reports."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassMetrics:
    """How well one class is told apart; all values 0 to 1, `support` counts examples."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Metrics:
    """How good a classifier is on a split.

    Attributes:
        accuracy: Share of the examples whose most probable class is the label, 0 to 1.
        macro_recall: Mean recall of the classes that the split has, 0 to 1.
        macro_f1: Mean F1 of the classes that the split has or the model names, 0 to 1.
        expected_calibration_error: Mean gap between confidence and accuracy, 0 to 1; see
            `expected_calibration_error`.
        per_class: Precision, recall and F1 of each class.
        confusion_matrix: Counts, rows are labels and columns predictions.
    """

    accuracy: float
    macro_recall: float
    macro_f1: float
    expected_calibration_error: float
    per_class: list[ClassMetrics]
    confusion_matrix: list[list[int]]


def classification_metrics(
    *, labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str]
) -> Metrics:
    """Measures a classifier.

    Args:
        labels: int `[n]`, n at least 1.
        logits: float `[n, num_classes]`, finite.
        class_names: Name of each class.

    Returns:
        The metrics.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or logits are not finite.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    num_classes = len(class_names)
    if logits.shape != (len(labels), num_classes) or not len(labels):
        raise ValueError(
            "`logits`: shape (examples, classes), at least one example. Received: logits of "
            f"shape {logits.shape} for {len(labels)} labels and {num_classes} class names."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            "`logits`: finite numbers. Received: NaN or infinity in "
            f"{int((~np.isfinite(logits)).any(axis=1).sum())} of {len(labels)} rows; the model "
            "diverged: train it again with a lower learning rate."
        )
    predictions = logits.argmax(axis=1)
    confusion = np.zeros([num_classes, num_classes], int)
    np.add.at(confusion, (labels, predictions), 1)
    hits = np.diag(confusion).astype(float)
    support, named = confusion.sum(axis=1), confusion.sum(axis=0)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, support + named)
    columns = (class_names, _ratio(hits, named), recall, f1, support)
    return Metrics(
        accuracy=float(hits.sum() / len(labels)),
        macro_recall=float(recall[support > 0].mean()),
        macro_f1=float(f1[support + named > 0].mean()),
        expected_calibration_error=expected_calibration_error(labels=labels, logits=logits),
        per_class=[
            ClassMetrics(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(*columns, strict=True)
        ],
        confusion_matrix=confusion.tolist(),
    )


def expected_calibration_error(
    *, labels: np.ndarray, logits: np.ndarray, num_bins: int = 15
) -> float:
    """Measures how far a classifier's confidence is from its accuracy.

    The examples are put into bins of equal width by the probability of the predicted class;
    the result is the mean over the examples of `|accuracy - confidence|` of their bin.

    Args:
        labels: int `[n]`.
        logits: float `[n, num_classes]`.
        num_bins: Number of bins.

    Returns:
        0 (the probabilities can be taken at their word) to 1.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    log_probs = log_softmax(logits)
    confidence = np.exp(log_probs.max(axis=1))
    correct = log_probs.argmax(axis=1) == labels
    # Bins are open on the left, so that a confidence of 1 falls into the last one.
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.zeros(num_bins)
    np.add.at(gaps, bins, correct - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of the examples whose most probable class is the label, 0 to 1."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def agreement(*, teacher_logits: np.ndarray, student_logits: np.ndarray) -> float:
    """Share of the examples for which both models name the same class, 0 to 1."""
    return float(np.mean(np.argmax(teacher_logits, axis=1) == np.argmax(student_logits, axis=1)))


def gap_closed(*, teacher: float, student_alone: float, student: float) -> float | None:
    """Share of the way from the student alone to the teacher that distillation went.

    Args:
        teacher: Headline figure of the teacher, such as its accuracy; see `mmkd_tf.tasks`.
        student_alone: That of the student trained without the teacher.
        student: That of the distilled student.

    Returns:
        1 at the teacher's figure, 0 where distillation gained nothing, below 0 where it
        hurt; None where the teacher is no better than the student alone: there is no gap.
    """
    gap = teacher - student_alone
    return (student - student_alone) / gap if gap > 0 else None


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities in float64, over the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(len(part)), where=np.asarray(whole) > 0)
