"""Losses between a teacher's and a student's outputs, one value an example, in log space."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from mmkd_tf.losses.checks import logits_problems, refuse, temperature_problems

# Logits that spread less than this are divided by it: a head that starts at zero still gets a
# gradient, and one that fits half precision.
_LEAST_STANDARD_DEVIATION = 1e-3


def soft_target_loss(
    *, teacher_logits, student_logits, temperature: float = 4.0, standardize: bool = False
):
    """Divergence of the student's softened probabilities from the teacher's.

    `temperature**2 * KL(softmax(teacher_logits / temperature) ||
    softmax(student_logits / temperature))`. The square keeps the size of the gradient
    independent of the temperature, so the weight beside the hard labels keeps its meaning.

    With `standardize`, each example's logits are first replaced by
    `(logits - mean(logits)) / std(logits)`, so that the student learns the teacher's relations
    between classes and not the size of its logits. The standard deviation is the unbiased one
    (divided by `num_classes - 1`), as in the authors' code; the biased one, which `tf.math` and
    NumPy give by default, is another loss. A standard deviation below 1e-3 counts as 1e-3.

    It is computed from log-probabilities without clipping: right for any gap between logits.
    Half precision is computed in float32.

    Public implementations disagree: some leave out the square, some average over the classes
    instead of summing, and some clip the probabilities, which stops the gradient at large gaps.

    Args:
        teacher_logits: float `[batch, num_classes]`, unnormalised; no gradient is stopped
            here, the caller decides.
        student_logits: float `[batch, num_classes]`, unnormalised.
        temperature: Softening, above 0; 1 compares the plain probabilities. A scalar tensor,
            as a schedule gives, is taken as it is.
        standardize: Whether logits are standardised before they are softened.

    Returns:
        float32 `[batch]`, nats times `temperature**2`, 0 or more; 0 if and only if the logits
        are equal up to a constant for each example (and, standardised, up to a factor).

    Raises:
        ValueError: If the temperature is not a positive finite number, the shapes or the
            numbers of classes differ, or there is only one class.

    Examples:
        >>> import numpy as np
        >>> teacher = np.array([[5.0, 0.0, 0.0]])
        >>> student = np.array([[0.0, 5.0, 0.0]])
        >>> loss = soft_target_loss(
        ...     teacher_logits=teacher, student_logits=student, temperature=1.0
        ... )
        >>> round(float(loss[0]), 3)
        4.9

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (section 2;
        the paper writes the cross-entropy, which differs by the teacher's entropy and has the
        same gradient).
        Sun, Ren, Li, Wang, Cao: Logit Standardization in Knowledge Distillation, 2024.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    refuse(
        temperature_problems(temperature) + logits_problems(teacher_logits, student_logits),
    )
    if standardize:
        teacher_logits, student_logits = map(_standardized, (teacher_logits, student_logits))
    temperature = ops.cast(temperature, "float32")
    divergence = categorical_divergence(
        teacher_logits=teacher_logits / temperature, student_logits=student_logits / temperature
    )
    return temperature**2 * divergence


def soft_target_cross_entropy(*, teacher_logits, student_logits, temperature: float = 4.0):
    """Cross-entropy of the student's softened probabilities with the teacher's soft targets.

    `-temperature**2 * sum(softmax(teacher_logits / temperature) *
    log_softmax(student_logits / temperature))`: the form that is published. It is
    `soft_target_loss` plus the teacher's entropy times `temperature**2`, so the student's
    gradient is the same; only the value does not end at zero, which makes it harder to read.

    Args:
        teacher_logits: float `[batch, num_classes]`, unnormalised.
        student_logits: float `[batch, num_classes]`, unnormalised.
        temperature: Softening, above 0, or a scalar tensor.

    Returns:
        float32 `[batch]`, nats times `temperature**2`, at least the teacher's entropy times
        `temperature**2`.

    Raises:
        ValueError: As `soft_target_loss`.

    Examples:
        >>> import numpy as np
        >>> same = np.array([[0.0, 0.0]])
        >>> loss = soft_target_cross_entropy(
        ...     teacher_logits=same, student_logits=same, temperature=1.0
        ... )
        >>> round(float(loss[0]), 3)
        0.693

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    refuse(temperature_problems(temperature) + logits_problems(teacher_logits, student_logits))
    temperature = ops.cast(temperature, "float32")
    soft_targets = ops.softmax(teacher_logits / temperature, axis=-1)
    student_log_probs = ops.log_softmax(student_logits / temperature, axis=-1)
    return -(temperature**2) * ops.sum(soft_targets * student_log_probs, axis=-1)


def _standardized(logits):
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    degrees = ops.cast(ops.shape(logits)[-1] - 1, "float32")
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / degrees
    return centred / ops.sqrt(ops.maximum(variance, _LEAST_STANDARD_DEVIATION**2))


def sigmoid_soft_target_loss(*, teacher_logits, student_logits, temperature: float = 4.0):
    """Divergence of the student's softened probabilities, each logit a yes-or-no of its own.

    `temperature**2 * mean over labels of KL(Bernoulli(p) || Bernoulli(q))` with
    `p = sigmoid(teacher_logits / temperature)`, `q = sigmoid(student_logits / temperature)`.
    For multi-label heads and for binary heads of one logit, over which a softmax is always 1 and
    `soft_target_loss` would always be 0.

    It is the mean over the labels, as `keras.losses.BinaryCrossentropy` takes it for the hard
    labels beside it, so that the two weights keep their meaning for any number of labels; public
    implementations sum as often. Computed from logarithms of sigmoids without clipping.

    Args:
        teacher_logits: float `[batch, num_labels]`, unnormalised; `[batch, 1]` for a binary head.
        student_logits: float `[batch, num_labels]`, unnormalised.
        temperature: Softening, above 0, or a scalar tensor.

    Returns:
        float32 `[batch]`, nats times `temperature**2` a label, 0 or more; 0 if and only if the
        logits are equal.

    Raises:
        ValueError: If the temperature is not a positive finite number or shapes differ.

    Examples:
        >>> import numpy as np
        >>> loss = sigmoid_soft_target_loss(
        ...     teacher_logits=np.array([[5.0]]), student_logits=np.array([[0.0]]), temperature=1.0
        ... )
        >>> round(float(loss[0]), 3)
        0.653

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (the softmax
        over two classes with logits `logit` and 0 is this sigmoid).
        Yang, Xie, Zong, Feng, Niu, Sugiyama, Huang: Multi-Label Knowledge Distillation, 2023
        (one-versus-all).
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    refuse(
        temperature_problems(temperature)
        + logits_problems(teacher_logits, student_logits, one_logit=True)
    )
    temperature = ops.cast(temperature, "float32")
    divergence = bernoulli_divergence(
        teacher_logits=teacher_logits / temperature, student_logits=student_logits / temperature
    )
    return temperature**2 * ops.mean(divergence, axis=1)


def squared_loss(*, teacher_logits, student_logits, scale: Sequence[float] | float = 1.0):
    """Mean squared difference between outputs: for regression, or for logits themselves.

    `mean over outputs of ((teacher_logits - student_logits) / scale)**2`, where `logits` are
    whatever a head without activation gives; for regression they are the predictions. Half of it is
    what `soft_target_loss` tends to at a high temperature, for logits whose mean is 0; unlike
    that, it sees a constant added to the logits.

    It is the mean over outputs, as `keras.losses.MeanSquaredError` takes it; the paper writes
    half of the sum.

    Args:
        teacher_logits: float `[batch, num_outputs]`.
        student_logits: float `[batch, num_outputs]`.
        scale: Above 0, a number for all outputs or one for each, such as the labels' standard
            deviations: then outputs of any units count alike.

    Returns:
        float32 `[batch]`, in the square of the outputs' unit over `scale`, 0 or more; 0 if and
        only if the outputs are equal.

    Raises:
        ValueError: If shapes differ, or a scale is not above 0.

    Examples:
        >>> import numpy as np
        >>> loss = squared_loss(
        ...     teacher_logits=np.array([[1.0, 2.0]]), student_logits=np.array([[1.0, 4.0]])
        ... )
        >>> float(loss[0])
        2.0

    References:
        Ba, Caruana: Do Deep Nets Really Need to be Deep?, 2014.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    problems = logits_problems(teacher_logits, student_logits, one_logit=True)
    problems += _scale_problems(scale, student_logits.shape[-1])
    refuse(problems)
    difference = (teacher_logits - student_logits) / ops.convert_to_tensor(scale, "float32")
    return ops.mean(ops.square(difference), axis=1)


def _scale_problems(scale, num_outputs: int) -> list[str]:
    scales = np.asarray(scale, np.float64)
    # float32 divides by these, and has squares of what comes of it.
    if scales.shape in ((), (num_outputs,)) and ((scales > 1e-30) & (scales < 1e30)).all():
        return []
    return [
        f"`scale`: a finite number above 0, or one for each of the {num_outputs} outputs. "
        f"Received: scale={scale!r}."
    ]


def categorical_divergence(*, teacher_logits, student_logits):
    """`KL(softmax(teacher_logits) || softmax(student_logits))` over the last axis, in nats."""
    teacher_log_probs = ops.log_softmax(teacher_logits, axis=-1)
    student_log_probs = ops.log_softmax(student_logits, axis=-1)
    gaps = teacher_log_probs - student_log_probs
    return ops.sum(ops.exp(teacher_log_probs) * gaps, axis=-1)


def bernoulli_divergence(*, teacher_logits, student_logits):
    """`KL(Bernoulli(sigmoid(teacher)) || Bernoulli(sigmoid(student)))` of each logit, in nats."""
    yes = ops.log_sigmoid(teacher_logits) - ops.log_sigmoid(student_logits)
    no = ops.log_sigmoid(-teacher_logits) - ops.log_sigmoid(-student_logits)
    return ops.sigmoid(teacher_logits) * yes + ops.sigmoid(-teacher_logits) * no
