"""Follows the numbers that say shapes through the operators of a TFLite model."""

import math
from collections.abc import Callable

import numpy as np

from mmkd_tf.edge.operator_shapes import RANK, SHAPE, Shape, Step, axis_of, sliced

MOST_NUMBERS = 64  # of a tensor whose values are followed; shapes have some four
DTYPES = {0: "<f4", 2: "<i4", 4: "<i8", 6: "?"}  # of these, by type of a tensor
_MOST = 2**31  # of a value; larger ones are cut off in other ways by other processors


def values_of(step: Step, shape: Shape, kind: int) -> np.ndarray | None:
    """The values of an operator's first result, where they follow from what is known.

    Args:
        step: The operator.
        shape: The shape of that result.
        kind: The type of its tensor.
    """
    if kind not in DTYPES or step.kind not in _VALUES or math.prod(shape) > MOST_NUMBERS:
        return None
    if step.kind not in (SHAPE, RANK):
        if any(values is None for values in step.known):
            return None
        is_exact = all(step.is_exact(index) for index in range(len(step.known)))
        if not is_exact and (step.kind not in _GROWING or any((v < 0).any() for v in step.known)):
            return None
    with np.errstate(all="ignore"):
        values = _VALUES[step.kind](step, shape)
    return None if values is None else small(np.asarray(values).reshape(shape), kind)


def small(values: np.ndarray, kind: int) -> np.ndarray | None:
    """Values as they are followed, whole ones in int64; None if one is large, infinite or NaN."""
    if not (np.abs(values.astype(np.float64)) <= _MOST).all():
        return None
    return values.astype(np.float32 if kind == 0 else np.int64)


def _by(function: Callable) -> Callable[[Step, Shape], np.ndarray | None]:
    """Values of operators on all values; those that clip the result too are not followed."""
    return lambda step, shape: None if step.flag(4) else function(*step.known)


def _reduced(function: Callable) -> Callable[[Step, Shape], np.ndarray]:
    def apply(step: Step, shape: Shape) -> np.ndarray:
        axes = tuple({axis_of(axis, step.known[0].ndim) for axis in step.numbers(1)})
        return function(step.known[0].astype(np.float64), axis=axes)  # which does not wrap

    return apply


def _gathered(step: Step, shape: Shape) -> np.ndarray | None:
    if step.option(6) or not step.is_exact(1):
        return None
    return np.take(step.known[0], step.known[1], axis=step.option(4))


def _as_they_are(step: Step, shape: Shape) -> np.ndarray | None:
    return step.known[0]


# By which values of shapes are followed: SHAPE, RANK, CAST, RESHAPE, SQUEEZE, EXPAND_DIMS, PACK,
# CONCATENATION, STRIDED_SLICE, GATHER, FILL, BROADCAST_TO, ADD, SUB, MUL, MAXIMUM, MINIMUM,
# FLOOR_DIV, FLOOR_MOD, REDUCE_PROD, SUM.
_VALUES: dict[int, Callable[[Step, Shape], np.ndarray | None]] = {
    SHAPE: lambda step, shape: np.array(step.shape(0), np.int64),
    RANK: lambda step, shape: np.array(len(step.shape(0))),
    **dict.fromkeys((53, 22, 43, 70), _as_they_are),
    83: lambda step, shape: np.stack(step.known, axis=step.option(6)),
    2: lambda step, shape: np.concatenate(step.known, axis=step.option(4)),
    45: lambda step, shape: sliced(step, step.known[0]),
    36: _gathered,
    94: lambda step, shape: np.full(shape, step.known[1]),
    130: lambda step, shape: np.broadcast_to(step.known[0], shape),
    0: _by(np.add),
    41: _by(np.subtract),
    18: _by(np.multiply),
    55: lambda step, shape: np.maximum(*step.known),
    57: lambda step, shape: np.minimum(*step.known),
    90: lambda step, shape: np.floor_divide(*step.known),
    95: lambda step, shape: np.mod(*step.known),
    81: _reduced(np.prod),
    74: _reduced(np.sum),
}
# SHAPE, CAST, RESHAPE, SQUEEZE, EXPAND_DIMS, PACK, CONCATENATION, STRIDED_SLICE, GATHER, FILL,
# BROADCAST_TO, ADD, MUL, MAXIMUM, MINIMUM, REDUCE_PROD, SUM.
_GROWING = (77, 53, 22, 43, 70, 83, 2, 45, 36, 94, 130, 0, 18, 55, 57, 81, 74)
