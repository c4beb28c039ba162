"""Attention transfer: the student looks where the teacher looks."""

from keras import ops

from mmkd_tf.losses.checks import feature_problems, refuse
from mmkd_tf.losses.norms import LEAST_LENGTH, directions


def attention_transfer_loss(*, teacher_features, student_features):
    """Mean squared difference between maps of where the activations are strong.

    A layer's map is the mean of its squared channels at each position, scaled to length 1 over
    the positions: `map = unit(mean over channels of features**2)`. The loss is the mean over
    positions of `(teacher_map - student_map)**2`.

    So the authors' code has it. Their paper writes the length of the difference instead of the
    mean of its square, which public implementations follow as well, under the same name. A map
    of no activation counts as zeros and gets no gradient.

    Args:
        teacher_features: float `[batch, ..., channels]`, with height and width or any other
            positions in between.
        student_features: float `[batch, ..., channels]`, the same positions; the number of
            channels is free.

    Returns:
        float32 `[batch]`, 0 to `2 / positions`, since maps have no negative values; 0 if and
        only if maps are equal up to a factor.

    Raises:
        ValueError: If there are no positions or they differ.

    Examples:
        >>> import numpy as np
        >>> loss = attention_transfer_loss(
        ...     teacher_features=np.array([[[3.0, 0.0], [0.0, 0.0]]]),
        ...     student_features=np.array([[[0.0], [2.0]]]),
        ... )
        >>> float(loss[0])
        1.0

    References:
        Zagoruyko, Komodakis: Paying More Attention to Attention, 2017 (section 3.1, `p = 2`).
    """
    teacher_features = ops.cast(teacher_features, "float32")
    student_features = ops.cast(student_features, "float32")
    refuse(
        feature_problems(teacher_features, student_features, least_rank=3, same_axes=slice(1, -1))
    )
    gaps = _attention_map(teacher_features) - _attention_map(student_features)
    return ops.mean(ops.square(gaps), axis=1)


def _attention_map(features):
    strength = ops.mean(ops.square(features), axis=-1)
    strength = ops.reshape(strength, (ops.shape(strength)[0], -1))
    return directions(strength, least=LEAST_LENGTH**2)
