"""Losses between the similarities that teacher and student see among the batch's examples.

Features of teacher and student may differ in width and shape; only examples are compared.
"""

from keras import ops

from mmkd_tf.losses.norms import directions
from mmkd_tf.losses.rows import rows

# The constant that the authors add to probabilities before the logarithm.
_EPSILON = 1e-7


def similarity_preserving_loss(*, teacher_features, student_features):
    """Differences between the rows of similarity matrices.

    `similarities = features @ transpose(features)`, each row scaled to length 1 (L2). An
    example's value is `sum over j of (teacher_similarities[i, j] - student_similarities[i, j])**2
    / batch`, so that the mean over the batch is the published squared Frobenius norm divided by
    `batch**2`.

    Public implementations disagree: some scale rows by the sum of absolute values (L1) instead
    of the length, which is another loss. Features shorter than 1e-4 count as zeros and get no
    gradient.

    Args:
        teacher_features: float `[batch, ...]`, flattened to one row an example.
        student_features: float `[batch, ...]`, flattened likewise; widths may differ.

    Returns:
        float32 `[batch]`, 0 to `4 / batch`; 0 if the student's features are the teacher's up to
        rotation and scale.

    Raises:
        ValueError: If a tensor has no features or the batches differ.

    Examples:
        >>> import numpy as np
        >>> loss = similarity_preserving_loss(
        ...     teacher_features=np.array([[1.0, 0.0], [0.0, 1.0]]),
        ...     student_features=np.array([[1.0, 0.0], [1.0, 0.0]]),
        ... )
        >>> [round(float(value), 3) for value in loss]
        [0.293, 0.293]

    References:
        Tung, Mori: Similarity-Preserving Knowledge Distillation, 2019.
    """
    teacher_features, student_features = rows(
        teacher_features=teacher_features, student_features=student_features
    )
    gaps = _scaled_similarities(teacher_features) - _scaled_similarities(student_features)
    return ops.mean(ops.square(gaps), axis=1)


def pkt_loss(*, teacher_features, student_features):
    """Divergence between the probabilities that one example picks another as its neighbour.

    `kernel[i, j] = (1 + cos(features[i], features[j])) / 2`, and `probs` is the kernel with rows
    that sum to 1. An example's value is the mean over `j` of `teacher_probs[i, j] *
    log((teacher_probs[i, j] + 1e-7) / (student_probs[i, j] + 1e-7))`, so that the mean over the
    batch is that over all pairs, as in the authors' code. Their paper sums over pairs of
    different examples; the code, and this function, take the example itself in as well.

    Features shorter than 1e-4 have no direction: cosine 0 with all others, no gradient.

    Args:
        teacher_features: float `[batch, ...]`, flattened to one row an example.
        student_features: float `[batch, ...]`, flattened likewise; widths may differ.

    Returns:
        float32 `[batch]`, nats divided by the size of the batch, 0 or more (up to 1e-6, which
        the constant can take away); 0 if all cosines are equal.

    Raises:
        ValueError: If a tensor has no features or the batches differ.

    Examples:
        >>> import numpy as np
        >>> loss = pkt_loss(
        ...     teacher_features=np.array([[1.0, 0.0], [0.0, 1.0]]),
        ...     student_features=np.array([[1.0, 0.0], [1.0, 0.0]]),
        ... )
        >>> [round(float(value), 4) for value in loss]
        [0.0283, 0.0283]

    References:
        Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer,
        2018.
    """
    teacher_features, student_features = rows(
        teacher_features=teacher_features, student_features=student_features
    )
    teacher_probs = _neighbour_probs(teacher_features)
    student_probs = _neighbour_probs(student_features)
    log_ratios = ops.log(teacher_probs + _EPSILON) - ops.log(student_probs + _EPSILON)
    return ops.mean(teacher_probs * log_ratios, axis=1)


def _scaled_similarities(features):
    # Scaling the rows of the product takes the length of the row's own feature out of it anyway;
    # taking it out first keeps short features exact and their gradients within half precision.
    return directions(ops.matmul(directions(features), ops.transpose(features)))


def _neighbour_probs(features):
    features = directions(features)
    # Rounding may take a cosine below -1, and the logarithm of a negative number is NaN.
    kernel = ops.maximum((1.0 + ops.matmul(features, ops.transpose(features))) / 2, 0.0)
    return kernel / ops.sum(kernel, axis=1, keepdims=True)
