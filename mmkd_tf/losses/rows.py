"""Features of teacher and student as one row an example, for losses that compare examples."""

from keras import ops

from mmkd_tf.losses.checks import feature_problems, refuse


def rows(*, teacher_features, student_features):
    """Flattens both to rows; refuses what has no features or other examples.

    Args:
        teacher_features: float `[batch, ...]`.
        student_features: float `[batch, ...]`.

    Returns:
        The teacher's and the student's features, float32 `[batch, width]` of any two widths.
    """
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
