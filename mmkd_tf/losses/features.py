"""Losses between features of a teacher's and a student's layer, value by value.

The student's features have the teacher's shape, by a projection where need be.
"""

import math

from keras import ops

from mmkd_tf.losses.checks import differ, feature_problems, refuse
from mmkd_tf.losses.norms import directions

_LOG_LEAST_VARIANCE = math.log(1e-5)


def hint_loss(*, teacher_features, student_features):
    """Mean squared difference between features.

    `mean over all values of (teacher_features - student_features)**2`. The paper writes half of
    the sum; the mean, which public implementations take, keeps the weight's meaning for layers
    of any size.

    Args:
        teacher_features: float `[batch, ...]`, the hint.
        student_features: float `[batch, ...]` of the same shape.

    Returns:
        float32 `[batch]`, in the square of the features' unit, 0 or more; 0 if and only if the
        features are equal.

    Raises:
        ValueError: If shapes differ.

    Examples:
        >>> import numpy as np
        >>> loss = hint_loss(
        ...     teacher_features=np.array([[1.0, 2.0]]), student_features=np.array([[1.0, 4.0]])
        ... )
        >>> float(loss[0])
        2.0

    References:
        Romero, Ballas, Kahou, Chassang, Gatta, Bengio: FitNets: Hints for Thin Deep Nets, 2015.
    """
    teacher_features, student_features = _comparable(teacher_features, student_features)
    return _mean_of_each(ops.square(teacher_features - student_features))


def cosine_hint_loss(*, teacher_features, student_features):
    """One minus the cosine between features, over the last axis.

    `1 - cos(teacher_features, student_features)`, the mean over positions where there are any.
    It ignores length, so it suits features whose scale has no meaning. Computed as half the
    squared distance of the directions: the same number without cancellation. Features shorter
    than 1e-4 have no direction: they count as zeros, at distance 0 from each other and 0.5 from
    all others, and get no gradient.

    Args:
        teacher_features: float `[batch, ..., width]`, the hint.
        student_features: float `[batch, ..., width]` of the same shape.

    Returns:
        float32 `[batch]`, 0 to 2; 0 if and only if directions are equal.

    Raises:
        ValueError: If shapes differ.

    Examples:
        >>> import numpy as np
        >>> loss = cosine_hint_loss(
        ...     teacher_features=np.array([[1.0, 0.0]]), student_features=np.array([[0.0, 3.0]])
        ... )
        >>> round(float(loss[0]), 6)
        1.0

    References:
        Sanh, Debut, Chaumond, Wolf: DistilBERT, a distilled version of BERT, 2019 (between
        hidden states).
    """
    teacher_features, student_features = _comparable(teacher_features, student_features)
    gaps = directions(teacher_features) - directions(student_features)
    return _mean_of_each(ops.sum(ops.square(gaps), axis=-1, keepdims=True)) / 2


def variational_information_loss(*, teacher_features, student_features, log_scale):
    """Negative log-likelihood of the teacher's features around the student's.

    `mean over all values of log(variance) / 2 + (teacher_features - student_features)**2 /
    (2 * variance)` with `variance = exp(log_scale)**2 + 1e-5`: a normal distribution whose mean
    the student gives and whose spread is learned with it. Minimising it maximises a lower bound
    of the mutual information between the layers. Channels that the student can't predict get a
    large spread and little weight, so it is the hint to use where the scales of a teacher's
    channels differ; that it needs no normalisation of the features is why it is the one here.

    The paper sums over values and writes the variance as a softplus with a small constant, and
    public implementations take the mean; the constant `log(2 * pi) / 2` is left out.

    Args:
        teacher_features: float `[batch, ..., channels]`, the hint.
        student_features: float `[batch, ..., channels]` of the same shape, the student's
            prediction after its projection.
        log_scale: float `[channels]` or a scalar: logarithm of each channel's standard deviation,
            trained with the student. Start at 0 for features of about unit size.

    Returns:
        float32 `[batch]`, nats a value, above -5.8; it may be negative, and equal features do
        not give 0.

    Raises:
        ValueError: If shapes differ or `log_scale` fits no channels.

    Examples:
        >>> import numpy as np
        >>> loss = variational_information_loss(
        ...     teacher_features=np.array([[1.0, 2.0]]),
        ...     student_features=np.array([[1.0, 4.0]]),
        ...     log_scale=np.zeros(2),
        ... )
        >>> round(float(loss[0]), 3)
        1.0

    References:
        Ahn, Hu, Damianou, Lawrence, Dai: Variational Information Distillation for Knowledge
        Transfer, 2019.
    """
    log_scale = ops.cast(log_scale, "float32")
    teacher_features, student_features = _comparable(
        teacher_features, student_features, log_scale=log_scale
    )
    # The constant bounds the likelihood, or a feature that is predicted exactly had none.
    log_variance = ops.logaddexp(2.0 * log_scale, _LOG_LEAST_VARIANCE)
    squares = ops.square(teacher_features - student_features) * ops.exp(-log_variance)
    return _mean_of_each(log_variance + squares) / 2


def _comparable(teacher_features, student_features, *, log_scale=None):
    """Both as float32, or one error for all that keeps them from being compared."""
    teacher_features = ops.cast(teacher_features, "float32")
    student_features = ops.cast(student_features, "float32")
    problems = feature_problems(
        teacher_features, student_features, least_rank=2, same_axes=slice(1, None)
    )
    sizes = () if log_scale is None else tuple(log_scale.shape)
    if sizes and differ(sizes, teacher_features.shape[-1:]):
        problems.append(
            "`log_scale`: a scalar or one value a channel. Received: log_scale of shape "
            f"{sizes} beside teacher_features of shape {tuple(teacher_features.shape)}. Make a "
            f"weight of shape {tuple(teacher_features.shape[-1:])}."
        )
    refuse(problems)
    return teacher_features, student_features


def _mean_of_each(values):
    """Mean over all axes but the batch's."""
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))
