"""DIST: the student keeps the teacher's correlations over classes and over the batch."""

from keras import ops

from mmkd_tf.losses.checks import logits_problems, refuse, temperature_problems, weight_problems

# A spread below this counts as this: what is nearly constant has no correlation to speak of, but
# a student whose head starts at zero still gets a gradient, and one that fits half precision.
_LEAST_SPREAD = 1e-3


def dist_loss(
    *,
    teacher_logits,
    student_logits,
    temperature: float = 4.0,
    inter_class_weight: float = 1.0,
    intra_class_weight: float = 1.0,
):
    """Distances by correlation of softened probabilities, over classes and over the batch.

    `temperature**2 * (inter_class_weight * inter_class + intra_class_weight * intra_class)`. With
    `r` for Pearson's correlation and the softened probabilities `teacher_probs`, `student_probs`,

    - `inter_class[i] = 1 - r(teacher_probs[i, :], student_probs[i, :])`, each example's own;
    - `intra_class = mean over classes c of 1 - r(teacher_probs[:, c], student_probs[:, c])`,
      one number for the batch, which every example's value contains.

    So the mean over the batch is the published loss. Correlation ignores shift and scale: the
    student need not be as sure as the teacher, which helps with teachers much stronger than it.

    `1 - r` is computed as half the squared distance of the standardised vectors: the same number
    without cancellation. Probabilities are divided by the largest of their row or column while
    still logarithms, so that columns of tiny probabilities correlate too; public code adds 1e-8
    to the denominator instead and loses them. Where a row or column is constant (a batch of one,
    say), `r` is not defined: it then counts as a vector of zeros, at distance 0 from another
    constant one and 0.5 from any other.

    Args:
        teacher_logits: float `[batch, num_classes]`, unnormalised.
        student_logits: float `[batch, num_classes]`, unnormalised.
        temperature: Softening, above 0, or a scalar tensor. Public code has 1 or 4.
        inter_class_weight: Factor of the correlation over classes, 0 or more.
        intra_class_weight: Factor of the correlation over the batch, 0 or more.

    Returns:
        float32 `[batch]`, from 0 to `2 * temperature**2` times the sum of the weights; 0 where
        the logits are equal up to a constant for each example.

    Raises:
        ValueError: If the temperature is not a positive finite number, a weight is negative or
            both are 0, or shapes differ.

    Examples:
        >>> import numpy as np
        >>> loss = dist_loss(
        ...     teacher_logits=np.array([[2.0, 0.0], [0.0, 2.0]]),
        ...     student_logits=np.array([[0.0, 1.0], [1.0, 0.0]]),
        ...     temperature=1.0,
        ... )
        >>> [round(float(value), 3) for value in loss]
        [4.0, 4.0]

    References:
        Huang, You, Wang, Qian, Xu: Knowledge Distillation from A Stronger Teacher, 2022.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    refuse(
        temperature_problems(temperature)
        + weight_problems(
            inter_class_weight=inter_class_weight, intra_class_weight=intra_class_weight
        )
        + logits_problems(teacher_logits, student_logits)
    )
    temperature = ops.cast(temperature, "float32")
    teacher_log_probs = ops.log_softmax(teacher_logits / temperature, axis=1)
    student_log_probs = ops.log_softmax(student_logits / temperature, axis=1)
    inter_class = _correlation_distance(teacher_log_probs, student_log_probs, axis=1)
    intra_class = ops.mean(_correlation_distance(teacher_log_probs, student_log_probs, axis=0))
    return temperature**2 * (inter_class_weight * inter_class + intra_class_weight * intra_class)


def _correlation_distance(teacher_log_probs, student_log_probs, *, axis: int):
    gaps = _standardized(teacher_log_probs, axis) - _standardized(student_log_probs, axis)
    return ops.sum(ops.square(gaps), axis=axis) / 2


def _standardized(log_probs, axis: int):
    """Probabilities along an axis, of mean 0 and length 1."""
    largest = ops.stop_gradient(ops.max(log_probs, axis=axis, keepdims=True))
    probs = ops.exp(log_probs - largest)
    centred = probs - ops.mean(probs, axis=axis, keepdims=True)
    squares = ops.sum(ops.square(centred), axis=axis, keepdims=True)
    return centred / ops.sqrt(ops.maximum(squares, _LEAST_SPREAD**2))
