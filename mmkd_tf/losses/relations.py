"""Relational losses: what lies between a batch's examples is the same for teacher and student.

Distances, angles or similarities are compared, so features may differ in width and shape.
"""

from keras import ops

from mmkd_tf.losses.checks import feature_problems, refuse
from mmkd_tf.losses.features import directions, lengths, relative

# The constant that the authors add to probabilities before the logarithm.
_EPSILON = 1e-7


def relational_distance_loss(*, teacher_features, student_features):
    """Differences between the relative distances of examples.

    `distances[i, j] = |features[i] - features[j]|`, divided by their mean over all pairs of two
    different rows. An example's value is the mean over `j` (all rows, itself among them, which
    adds 0) of `huber(teacher_distances[i, j] - student_distances[i, j])` with delta 1, so that
    the mean over the batch is the mean over all pairs.

    Public implementations disagree: some scale the features to length 1 first, which is another
    loss, and the authors' code leaves pairs at distance 0 out of the mean, which makes the loss
    jump where two rows meet. Here, as in the paper, such pairs count. Equal rows give no
    gradient to their distance; features that lie closer together than 1e-4 on average count as
    one point.

    Takes `batch**2 * width` numbers of memory: differences are exact for rows that are close.

    Args:
        teacher_features: float `[batch, ...]`, flattened to one row an example.
        student_features: float `[batch, ...]`, flattened likewise; widths may differ.

    Returns:
        float32 `[batch]`, 0 or more, of no unit; 0 if the student's features are the teacher's
        up to translation, rotation and scale. A batch of one gives 0.

    Raises:
        ValueError: If a tensor has no features or the batches differ.

    Examples:
        >>> import numpy as np
        >>> loss = relational_distance_loss(
        ...     teacher_features=np.array([[0.0], [1.0], [2.0]]),
        ...     student_features=np.array([[0.0], [1.0], [5.0]]),
        ... )
        >>> [round(float(value), 2) for value in loss]
        [0.03, 0.07, 0.03]

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, 2019 (section 3.2).
    """
    teacher_features, student_features = _rows(
        teacher_features=teacher_features, student_features=student_features
    )
    gaps = _relative_distances(teacher_features) - _relative_distances(student_features)
    return ops.mean(_huber(gaps), axis=1)


def relational_angle_loss(*, teacher_features, student_features):
    """Differences between the angles that examples form.

    `cosines[i, j, k]` is the cosine of the angle at `features[i]` between the directions to
    `features[j]` and `features[k]`. An example's value is the mean over `j` and `k` of
    `huber(teacher_cosines[i, j, k] - student_cosines[i, j, k])` with delta 1, the example being
    the vertex, so that the mean over the batch is the mean over all triples. As in the authors'
    code all `j` and `k` count, equal ones among them, which add 0.

    Rows closer than 1e-4 have no direction from one to the other: it counts as zeros and gets
    no gradient.

    Takes `batch**2 * width + batch**3` numbers of memory.

    Args:
        teacher_features: float `[batch, ...]`, flattened to one row an example.
        student_features: float `[batch, ...]`, flattened likewise; widths may differ.

    Returns:
        float32 `[batch]`, 0 to 1.5, of no unit; 0 if the student's features are the teacher's up
        to translation, rotation and scale. Batches of one and two give 0.

    Raises:
        ValueError: If a tensor has no features or the batches differ.

    Examples:
        >>> import numpy as np
        >>> loss = relational_angle_loss(
        ...     teacher_features=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        ...     student_features=np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]),
        ... )
        >>> [round(float(value), 4) for value in loss]
        [0.1111, 0.2682, 0.0095]

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, 2019 (section 3.2).
    """
    teacher_features, student_features = _rows(
        teacher_features=teacher_features, student_features=student_features
    )
    return ops.mean(_huber(_cosines(teacher_features) - _cosines(student_features)), axis=(1, 2))


def _differences(features):
    """`[i, j]`: from row i to row j."""
    return features[None, :] - features[:, None]


def _relative_distances(features):
    distances = lengths(_differences(features))[..., 0]
    batch = ops.cast(ops.shape(features)[0], "float32")
    num_pairs = ops.maximum(batch * (batch - 1.0), 1.0)
    return relative(distances, ops.sum(distances) / num_pairs)


def _cosines(features):
    towards = directions(_differences(features))
    return ops.matmul(towards, ops.transpose(towards, (0, 2, 1)))


def _huber(gaps):
    sizes = ops.abs(gaps)
    return ops.where(sizes < 1.0, ops.square(gaps) / 2, sizes - 0.5)


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
    teacher_features, student_features = _rows(
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
    teacher_features, student_features = _rows(
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


def _rows(*, teacher_features, student_features):
    """Flattens both to float32 rows; refuses what has no features or other examples."""
    teacher_features = ops.cast(teacher_features, "float32")
    student_features = ops.cast(student_features, "float32")
    refuse(
        feature_problems(teacher_features, student_features, least_rank=2, same_axes=slice(0, 1))
    )
    return _flat(teacher_features), _flat(student_features)


def _flat(features):
    if len(features.shape) == 2:
        return features
    return ops.reshape(features, (ops.shape(features)[0], -1))
