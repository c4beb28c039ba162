"""Relational distillation: the student keeps distances and angles between the batch's examples.

Features of teacher and student may differ in width and shape; only examples are compared.
"""

from keras import ops

from mmkd_tf.losses.norms import directions, lengths, relative
from mmkd_tf.losses.rows import rows


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
    teacher_features, student_features = rows(
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
    teacher_features, student_features = rows(
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
