"""Lengths and directions of feature vectors, with finite gradients where they vanish."""

from keras import ops

# Below this length a vector counts as zero. A direction's gradient grows as 1 / length: from
# 1e-4 on it fits float16, whose largest number is 65504.
LEAST_LENGTH = 1e-4


def lengths(vectors, *, axis: int = -1):
    """Euclidean length along an axis, which is kept with size 1.

    A vector of zeros has length 0 and gives no gradient; plain roots give NaN there.
    """
    squares = ops.sum(ops.square(vectors), axis=axis, keepdims=True)
    zero = squares <= 0
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squares)))


def relative(values, sizes, *, least: float = LEAST_LENGTH):
    """`values / sizes`; 0 without gradient where a size is below `least`."""
    # `<` and not `>=`: NaN must come through instead of turning into 0.
    vanishing = sizes < least
    return ops.where(vanishing, 0.0, values / ops.where(vanishing, 1.0, sizes))


def directions(vectors, *, axis: int = -1, least: float = LEAST_LENGTH):
    """Vectors scaled to length 1 along an axis; zeros where a length is below `least`."""
    return relative(vectors, lengths(vectors, axis=axis), least=least)
