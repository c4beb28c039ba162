"""Checks of what metrics are computed from."""

import numpy as np


def check_outputs(
    labels: np.ndarray, outputs: np.ndarray, num_outputs: int, *, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """Refuses labels and outputs that do not fit each other.

    Args:
        labels: float `[n, num_outputs]`.
        outputs: float `[n, num_outputs]`.
        num_outputs: How many outputs have a name.
        argument: What the caller calls the outputs, for the message.

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
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"`{argument}`: finite numbers. Received: NaN or infinity in "
            f"{int((~np.isfinite(outputs)).any(axis=1).sum())} of {len(outputs)} rows; the model "
            "diverged: train it again with a lower learning rate."
        )
    return labels, outputs
