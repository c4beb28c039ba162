"""Losses between outputs that don't compete: several labels, one logit, or plain numbers."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from mmkd_tf.losses.checks import logits_problems, refuse, temperature_problems
from mmkd_tf.losses.divergences import bernoulli_divergence


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
    if scales.shape in ((), (num_outputs,)) and np.isfinite(scales).all() and (scales > 0).all():
        return []
    return [
        f"`scale`: a finite number above 0, or one for each of the {num_outputs} outputs. "
        f"Received: scale={scale!r}."
    ]
