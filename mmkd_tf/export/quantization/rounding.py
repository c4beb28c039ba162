"""Rounds weights so that what a layer computes changes least, not the single weight."""

import numpy as np

_DAMPING = 0.01


def row_steps(weights: np.ndarray, *, bits: int) -> np.ndarray:
    """Gives the step between values of the grid that reaches to each row's largest weight.

    Args:
        weights: float32 `[rows, columns]`.
        bits: 2 to 8; the grid has `2^bits - 1` values, symmetric about zero.

    Returns:
        float64 `[rows, 1]`, above 0.
    """
    steps = np.abs(weights.astype(np.float64)).max(axis=1, keepdims=True) / _levels(bits)
    return np.where(steps > 0, steps, 1.0)


def round_to_grid(
    weights: np.ndarray, *, steps: np.ndarray, bits: int, moments: np.ndarray | None = None
) -> np.ndarray:
    """Moves weights to multiples of a step.

    Weights at the end of the grid stay there, so that a quantizer which takes its scale from the
    largest weight finds the very same grid. With `moments`, columns are rounded one after the
    other, and the error of each is made up for by those that are still to come: it is the error
    of `inputs @ weights.T` that becomes small then.

    Args:
        weights: float32 `[rows, columns]`.
        steps: `[rows, 1]`, see `row_steps`.
        bits: 2 to 8.
        moments: Mean or sum of `outer(inputs, inputs)`, `[columns, columns]` for all rows or
            `[rows, columns, columns]`; None rounds each weight to its nearest value.

    Returns:
        float32 `[rows, columns]`.

    References:
        Frantar, Ashkboos, Hoefler, Alistarh: GPTQ: Accurate Post-Training Quantization for
        Generative Pre-trained Transformers, 2023.

    Examples:
        >>> weights = np.array([[7.0, 2.6], [-1.75, 0.3]], np.float32)
        >>> round_to_grid(weights, steps=row_steps(weights, bits=4), bits=4).tolist()
        [[7.0, 3.0], [-1.75, 0.25]]
    """
    levels = _levels(bits)
    left = weights.astype(np.float64)
    if moments is None:
        return (_nearest(left / steps, levels) * steps).astype(np.float32)
    moments = moments if moments.ndim == 3 else moments[np.newaxis]
    # Columns that matter most go first, while many are left to make up for them.
    order = np.argsort(-np.diagonal(moments, axis1=1, axis2=2), axis=1, kind="stable")
    shares = _error_shares(moments, order)
    order = np.broadcast_to(order, left.shape)
    left = np.take_along_axis(left, order, axis=1)
    ends = np.where(np.abs(left) > (levels - 1e-3) * steps, np.sign(left) * levels, 0)
    for column in range(left.shape[1]):
        here = slice(column, column + 1)
        nearest = _nearest(left[:, here] / steps, levels)
        rounded = np.where(ends[:, here] != 0, ends[:, here], nearest) * steps
        error = left[:, here] - rounded
        left[:, column + 1 :] -= error * shares[:, column, column + 1 :]
        left[:, here] = rounded
    return np.take_along_axis(left, np.argsort(order, axis=1), axis=1).astype(np.float32)


def _levels(bits):
    return 2 ** (bits - 1) - 1


def _nearest(values, levels):
    return np.clip(np.rint(values), -levels, levels)


def _error_shares(moments, order):
    """How much of a column's error each later one takes: `[n, columns, columns]`, in `order`."""
    which = np.arange(len(moments))[:, np.newaxis, np.newaxis]
    ordered = moments[which, order[:, :, np.newaxis], order[:, np.newaxis, :]]
    mean_diagonal = np.diagonal(moments, axis1=1, axis2=2).mean(axis=1)[:, np.newaxis, np.newaxis]
    # Inputs that never varied would make the matrix singular.
    damped = ordered + np.eye(moments.shape[-1]) * (_DAMPING * mean_diagonal + 1e-12)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)
    return factor / np.diagonal(factor, axis1=1, axis2=2)[:, :, np.newaxis]
