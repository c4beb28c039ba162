"""Arithmetic, checks and figures that several tasks share."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf import losses
from mmkd_tf.tasks.task import Task

# Losses on logits of classes, which make no sense of other outputs.
LOSSES_OF_CLASSES = (losses.soft_target_loss, losses.dist_loss, losses.decoupled_loss)
# What is said of each class or label.
CLASS_COLUMNS = (
    ("precision", "precision", ".3f"),
    ("recall", "recall", ".3f"),
    ("F1", "f1", ".3f"),
    ("test examples", "support", ""),
)

# Outputs closer than this are equal up to float32 rounding.
TIE = 1e-6
# Of a probability: answers that Keras holds so nearly as likely as its own are equally good.
NEAR_TIE = 0.05
# Probabilities below this are lost in float32, so logits are compared no further down.
SMALLEST = 1e-30


def check_outputs(
    labels: np.ndarray, outputs: np.ndarray, num_outputs: int, *, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both `[n, num_outputs]` in float64, refused if they don't fit each other or aren't finite."""
    labels, outputs = np.asarray(labels, np.float64), np.asarray(outputs, np.float64)
    if outputs.ndim != 2 or outputs.shape != labels.shape or outputs.shape[1] != num_outputs:
        raise ValueError(
            f"`{argument}`: shape (examples, {num_outputs}), as the labels. Received: {argument} "
            f"of shape {outputs.shape}, labels of shape {labels.shape}, {num_outputs} names."
        )
    if not len(outputs):
        raise ValueError(f"`{argument}`: at least one example. Received: none.")
    check_finite(outputs, argument=argument)
    return labels, outputs


def check_finite(outputs: np.ndarray, *, argument: str) -> None:
    """Refuses outputs `[n, num_outputs]` of a model that diverged."""
    if broken := int((~np.isfinite(outputs)).any(axis=1).sum()):
        raise ValueError(
            f"`{argument}`: finite numbers. Received: NaN or infinity in {broken} of "
            f"{len(outputs)} rows; the model diverged: train it again with a lower learning rate."
        )


def ratio(part, whole) -> np.ndarray:
    """`part / whole`, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


def reliability_bins(
    *, confidence: np.ndarray, right: np.ndarray, num_bins: int = 15
) -> list[dict]:
    """Sorts answers into bins of equal width by how sure a model is of them.

    Args:
        confidence: Probabilities, `[n]`.
        right: Whether that came true, 0 or 1, `[n]`.
        num_bins: How many there are; those without answers are left out.

    Returns:
        For each bin the mean `confidence`, the share of `right` and the `count`.
    """
    # Bins are open on the left, so that a confidence of 1 falls into the last one.
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    return [
        {
            "confidence": float(confidence[bins == place].mean()),
            "right": float(right[bins == place].mean()),
            "count": int((bins == place).sum()),
        }
        for place in np.unique(bins)
    ]


def by_output(columns: Mapping[str, Sequence]) -> list[dict]:
    """A dict of plain Python values for each output, from columns by key."""
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def table_problems(labels: np.ndarray, num_outputs: int, *, task: Task, values: str) -> list[str]:
    """What is wrong with the shape of labels that have a number for each output."""
    numeric = labels.ndim == 2 and labels.dtype.kind in "fiub"
    fits = numeric and labels.shape[1] == num_outputs
    if (
        fits
        and np.isfinite(labels).all()
        and (values == "numbers" or np.isin(labels, (0, 1)).all())
    ):
        return []
    return [
        f"`labels`: {values} [n, {num_outputs}] for {task.name}. "
        f"Received: {labels.dtype} {list(labels.shape)}" + (", with other values." if fits else ".")
    ]
