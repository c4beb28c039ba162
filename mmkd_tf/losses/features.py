"""Losses between features of a teacher's and a student's layer.

The student's features have the teacher's shape, by a projection where need be; attention transfer
takes any number of channels. Features that vanish have finite gradients.
"""

import math

from keras import ops

from mmkd_tf.losses.checks import GREATEST, LEAST, beyond, differ, feature_problems, refuse

_LOG_LEAST_VARIANCE = math.log(1e-5)
# Below this length a vector counts as zero. A direction's gradient grows as 1 / length: from
# 1e-4 on it fits float16, whose largest number is 65504.
LEAST_LENGTH = 1e-4


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


def contrastive_loss(
    *, teacher_features, student_features, logit_scale: float = 1 / 0.07, queue=None
):
    """Cross-entropy of finding the teacher's feature of the same example among all others.

    `logits[i, j] = logit_scale * cos(student_features[i], teacher_features[j])`, where `j` goes
    over the batch and then over the queue; an example's value is `-log_softmax(logits[i])[i]`.

    This is contrastive representation distillation (CRD) with the batch, and a queue of earlier
    features if wanted, as negatives and one softmax over all (InfoNCE). The authors draw
    thousands of negatives by index from a memory of the whole data and use noise-contrastive
    estimation with two learned projections; a batch needs no indices, and projections are the
    caller's. Negatives here may be of the example's own class.

    Features shorter than 1e-4 have no direction: cosine 0 with all others, no gradient.

    Args:
        teacher_features: float `[batch, width]`.
        student_features: float `[batch, width]`, projected to the teacher's width.
        logit_scale: Factor of the cosines, above 0: 1 over what the papers call temperature;
            1 / 0.07 is CRD's. A scalar tensor, if it is learned, is taken as it is.
        queue: float `[queue_size, width]`, the teacher's features of earlier examples, which are
            negatives only; None for none.

    Returns:
        float32 `[batch]`, nats, 0 or more; `log(batch + queue_size)` when nothing is told apart.
        A batch of one without a queue gives 0.

    Raises:
        ValueError: If `logit_scale` is not a positive finite number or shapes differ.

    Examples:
        >>> import numpy as np
        >>> features = np.eye(2)
        >>> loss = contrastive_loss(
        ...     teacher_features=features, student_features=features, logit_scale=1.0
        ... )
        >>> [round(float(value), 3) for value in loss]
        [0.313, 0.313]

    References:
        Tian, Krishnan, Isola: Contrastive Representation Distillation, 2020.
        van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding,
        2018 (InfoNCE).
        He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation
        Learning, 2020 (the queue).
    """
    teacher_features = ops.cast(teacher_features, "float32")
    student_features = ops.cast(student_features, "float32")
    queue = None if queue is None else ops.cast(queue, "float32")
    problems = feature_problems(
        teacher_features, student_features, least_rank=2, same_axes=slice(1, None)
    )
    refuse(_scale_problems(logit_scale) + problems + _queue_problems(queue, teacher_features))
    candidates = directions(teacher_features)
    if queue is not None:
        candidates = ops.concatenate([candidates, directions(queue)], axis=0)
    cosines = ops.matmul(directions(student_features), ops.transpose(candidates))
    log_probs = ops.log_softmax(ops.cast(logit_scale, "float32") * cosines, axis=1)
    return -ops.diagonal(log_probs)


def _scale_problems(logit_scale) -> list[str]:
    if ops.is_tensor(logit_scale):
        return []
    if isinstance(logit_scale, int | float) and LEAST <= logit_scale <= GREATEST:
        return []
    return [
        f"`logit_scale`: a finite number above 0. Received: logit_scale={logit_scale!r}."
        + beyond(logit_scale)
    ]


def _queue_problems(queue, teacher_features) -> list[str]:
    if queue is None or not differ(queue.shape, (None, *teacher_features.shape[1:])):
        return []
    return [
        f"`queue`: float `[queue_size, width]`, features of the same teacher. Received: queue of "
        f"shape {tuple(queue.shape)} beside teacher_features of shape "
        f"{tuple(teacher_features.shape)}. Fill it with earlier teacher_features."
    ]


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
