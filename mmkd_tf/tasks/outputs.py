"""Arithmetic and checks of outputs that several tasks share."""

import numpy as np

from mmkd_tf.tasks.task import Task

# Outputs closer than this are equal up to float32 rounding.
TIE = 1e-6
# Probabilities below this are lost in float32, so logits are compared no further down.
SMALLEST = 1e-30


def check_outputs(
    labels: np.ndarray, outputs: np.ndarray, num_outputs: int, *, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """Refuses labels and outputs that do not fit each other.

    Args:
        labels: float `[n, num_outputs]`.
        outputs: float `[n, num_outputs]`.
        num_outputs: How many outputs have a name.
        argument: What the message calls the outputs.

    Returns:
        Both in float64.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or outputs are not finite.
    """
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
