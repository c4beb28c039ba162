"""Metrics of models that give an example any number of labels, from labels and logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.evaluate.outputs import check_outputs
from mmkd_tf.tasks import average_precisions, mean_of_known


@dataclass(frozen=True)
class LabelMetrics:
    """How well one label is told; all values 0 to 1, `support` counts the examples that have it.

    `average_precision` is None where none has.
    """

    name: str
    average_precision: float | None
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class MultiLabelMetrics:
    """How good a model of several labels is on a split; all values 0 to 1.

    A label is given where its probability is above a half. Average precision looks at the order
    of the probabilities alone.

    Attributes:
        average_precision: Mean over the labels that the split has.
        micro_average_precision: Of all pairs of example and label together.
        micro_f1: F1 of all pairs together; 0 where no label is there or given.
        macro_f1: Mean F1 of the labels that the split has or the model gives.
        subset_accuracy: Share of the examples whose labels are all right, and no other given.
        per_label: The same label by label.
    """

    average_precision: float
    micro_average_precision: float
    micro_f1: float
    macro_f1: float
    subset_accuracy: float
    per_label: list[LabelMetrics]


def multi_label_metrics(
    *, labels: np.ndarray, logits: np.ndarray, label_names: Sequence[str]
) -> MultiLabelMetrics:
    """Measures a model.

    Args:
        labels: 0 or 1, `[n, num_labels]`, n at least 1.
        logits: float `[n, num_labels]`, finite.
        label_names: Name of each label.

    Returns:
        The metrics.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or logits are not finite.
    """
    labels, logits = check_outputs(labels, logits, len(label_names), argument="logits")
    labels, given = labels > 0, logits > 0
    right = (labels & given).sum(axis=0)
    support, named = labels.sum(axis=0), given.sum(axis=0)
    f1 = _ratio(2 * right, support + named)
    precisions = average_precisions(labels=labels, scores=logits)
    pairs = {"labels": labels.reshape(-1, 1), "scores": logits.reshape(-1, 1)}
    columns = (label_names, precisions, _ratio(right, named), _ratio(right, support), f1, support)
    return MultiLabelMetrics(
        average_precision=mean_of_known(precisions),
        micro_average_precision=mean_of_known(average_precisions(**pairs)),
        micro_f1=float(_ratio(2 * right.sum(), support.sum() + named.sum())),
        macro_f1=float(f1[support + named > 0].mean()) if (support + named).any() else 0.0,
        subset_accuracy=float(np.mean((labels == given).all(axis=1))),
        per_label=[
            LabelMetrics(
                name, None if np.isnan(area) else float(area), float(p), float(r), float(f), int(n)
            )
            for name, area, p, r, f, n in zip(*columns, strict=True)
        ],
    )


def label_agreement(*, teacher_logits: np.ndarray, student_logits: np.ndarray) -> float:
    """How far two models give the same labels: F1 of one's for the other's, 1 if neither does."""
    teacher, student = np.asarray(teacher_logits) > 0, np.asarray(student_logits) > 0
    given = teacher.sum() + student.sum()
    return float(2 * (teacher & student).sum() / given) if given else 1.0


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
