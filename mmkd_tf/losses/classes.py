"""Losses over classes that weigh or relate probabilities: decoupled distillation and DIST."""

from keras import ops

from mmkd_tf.losses.checks import logits_problems, refuse, temperature_problems, weight_problems
from mmkd_tf.losses.logits import bernoulli_divergence, categorical_divergence

# Far below any logit, and finite: the difference of two such values is 0, not NaN.
_MASKED = -1e30
# A spread below this counts as this: what is nearly constant has no correlation to speak of, but
# a student whose head starts at zero still gets a gradient, and one that fits half precision.
_LEAST_SPREAD = 1e-3


def decoupled_loss(
    *,
    teacher_logits,
    student_logits,
    labels,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    non_target_weight: float = 8.0,
):
    """Soft targets split into the label's class and the rest, each with its own weight.

    `temperature**2 * (target_weight * target + non_target_weight * non_target)`, where, with
    all logits divided by the temperature,

    - `target` is the divergence between two-way distributions, the label's class against all
      others together: `KL((p, 1 - p) || (q, 1 - q))` with the teacher's probability `p` and the
      student's `q` of the label;
    - `non_target` is `KL` between the softmaxes over the other classes alone.

    `soft_target_loss` weighs `non_target` by `1 - p`, which silences it where the teacher is
    sure; here it counts the same for every example.

    The label's probability enters through its margin `logits[label] - logsumexp(other logits)`,
    and the label's logit is left out of the other softmax, so nothing is clipped or added:
    public code that masks by subtracting 1000 and takes the logarithm of a probability gives
    NaN gradients from a gap of about 200 on.

    Args:
        teacher_logits: float `[batch, num_classes]`, unnormalised.
        student_logits: float `[batch, num_classes]`, unnormalised.
        labels: integer `[batch]`, the hard labels, 0 to `num_classes - 1`; any other label gives
            NaN for its example.
        temperature: Softening, above 0, or a scalar tensor.
        target_weight: Factor of `target`, 0 or more.
        non_target_weight: Factor of `non_target`, 0 or more. The authors choose it for each
            pair of models, on CIFAR-100 up to 8, and raise it from 0 over the first 20 epochs.

    Returns:
        float32 `[batch]`, nats times `temperature**2`, 0 or more; 0 if the logits are equal up
        to a constant for each example.

    Raises:
        TypeError: If the labels are not integers.
        ValueError: If the temperature is not a positive finite number, a weight is negative or
            both are 0, or shapes differ.

    Examples:
        >>> import numpy as np
        >>> loss = decoupled_loss(
        ...     teacher_logits=np.array([[5.0, 0.0, 0.0]]),
        ...     student_logits=np.array([[5.0, 3.0, 0.0]]),
        ...     labels=np.array([0]),
        ...     temperature=1.0,
        ... )
        >>> round(float(loss[0]), 3)
        6.932

    References:
        Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, 2022.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    labels = ops.convert_to_tensor(labels)
    _check_integer(labels)
    refuse(
        temperature_problems(temperature)
        + weight_problems(target_weight=target_weight, non_target_weight=non_target_weight)
        + logits_problems(teacher_logits, student_logits)
        + _label_problems(labels, teacher_logits)
    )
    temperature = ops.cast(temperature, "float32")
    teacher_logits, student_logits = teacher_logits / temperature, student_logits / temperature
    classes = ops.arange(ops.shape(teacher_logits)[1], dtype="int64")
    is_label = ops.equal(ops.cast(labels, "int64")[:, None], classes)
    target = bernoulli_divergence(
        teacher_logits=_margin(teacher_logits, is_label),
        student_logits=_margin(student_logits, is_label),
    )
    non_target = categorical_divergence(
        teacher_logits=ops.where(is_label, _MASKED, teacher_logits),
        student_logits=ops.where(is_label, _MASKED, student_logits),
    )
    loss = temperature**2 * (target_weight * target + non_target_weight * non_target)
    return ops.where(ops.any(is_label, axis=1), loss, float("nan"))


def _margin(logits, is_label):
    """The label's logit above the others' logsumexp: the logit of its probability."""
    own = ops.sum(ops.where(is_label, logits, 0.0), axis=1)
    return own - ops.logsumexp(ops.where(is_label, _MASKED, logits), axis=1)


def _check_integer(labels) -> None:
    dtype = str(getattr(labels.dtype, "name", labels.dtype))
    if "int" not in dtype:
        raise TypeError(
            f"`labels`: integers, the position of each example's class. Received: labels of "
            f"dtype {dtype}. For one-hot labels pass keras.ops.argmax(labels, axis=-1)."
        )


def _label_problems(labels, logits) -> list[str]:
    batch = (*labels.shape, *logits.shape[:1])
    if len(labels.shape) == 1 and (None in batch or batch[0] == batch[1]):
        return []
    return [
        f"`labels`: integer `[batch]`, one for each row of logits. Received: labels of shape "
        f"{tuple(labels.shape)} beside teacher_logits of shape {tuple(logits.shape)}. Reshape "
        "them with keras.ops.reshape(labels, [-1])."
    ]


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
    gaps = _unit_deviations(teacher_log_probs, axis) - _unit_deviations(student_log_probs, axis)
    return ops.sum(ops.square(gaps), axis=axis) / 2


def _unit_deviations(log_probs, axis: int):
    """Probabilities along an axis, of mean 0 and length 1."""
    largest = ops.stop_gradient(ops.max(log_probs, axis=axis, keepdims=True))
    probs = ops.exp(log_probs - largest)
    centred = probs - ops.mean(probs, axis=axis, keepdims=True)
    squares = ops.sum(ops.square(centred), axis=axis, keepdims=True)
    return centred / ops.sqrt(ops.maximum(squares, _LEAST_SPREAD**2))
