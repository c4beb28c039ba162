"""Losses between a teacher's and a student's logits, one value an example, in log space."""

import math

from keras import ops


def soft_target_loss(*, teacher_logits, student_logits, temperature: float = 4.0):
    """Divergence of the student's softened probabilities from the teacher's.

    `temperature**2 * KL(softmax(teacher_logits / temperature) ||
    softmax(student_logits / temperature))`. The square keeps the size of the gradient
    independent of the temperature, so the weight beside the hard labels keeps its meaning.

    It is computed from log-probabilities without clipping: right for any gap between logits.
    Half precision is computed in float32.

    Args:
        teacher_logits: float `[batch, num_classes]`, unnormalised; no gradient is stopped
            here, the caller decides.
        student_logits: float `[batch, num_classes]`, unnormalised.
        temperature: Softening, above 0; 1 compares the plain probabilities.

    Returns:
        float32 `[batch]`, nats times `temperature**2`, 0 or more; 0 if and only if the logits
        are equal up to a constant for each example.

    Raises:
        ValueError: If the temperature is not a positive finite number or the numbers of
            classes differ.

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
    """
    check_temperature(temperature)
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    check_same_classes(teacher_logits.shape, student_logits.shape)
    teacher_log_probs = ops.log_softmax(teacher_logits / temperature, axis=-1)
    student_log_probs = ops.log_softmax(student_logits / temperature, axis=-1)
    gaps = teacher_log_probs - student_log_probs
    divergence = ops.sum(ops.exp(teacher_log_probs) * gaps, axis=-1)
    return temperature**2 * divergence


def check_temperature(temperature: float) -> None:
    """Refuses a temperature that is not a positive finite number."""
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
        raise ValueError(
            "`temperature`: a finite number above 0 (1 leaves the probabilities as they are, "
            f"2 to 8 soften them). Received: temperature={temperature!r}."
        )


def check_same_classes(teacher_shape, student_shape) -> None:
    """Refuses logits over different numbers of classes."""
    if teacher_shape[-1] != student_shape[-1]:
        raise ValueError(
            "`teacher_logits`, `student_logits`: the same number of classes in the same order. "
            f"Received: teacher_logits of shape {tuple(teacher_shape)}, student_logits of shape "
            f"{tuple(student_shape)}. Build the student's last layer with "
            f"{teacher_shape[-1]} units."
        )
