"""Kullback-Leibler divergences from logits, in log space and without clipping."""

from keras import ops


def categorical_divergence(*, teacher_logits, student_logits):
    """`KL(softmax(teacher_logits) || softmax(student_logits))` over the last axis.

    Args:
        teacher_logits: float32 `[..., num_classes]`.
        student_logits: float32 `[..., num_classes]`.

    Returns:
        float32 `[...]`, nats, 0 or more.
    """
    teacher_log_probs = ops.log_softmax(teacher_logits, axis=-1)
    student_log_probs = ops.log_softmax(student_logits, axis=-1)
    gaps = teacher_log_probs - student_log_probs
    return ops.sum(ops.exp(teacher_log_probs) * gaps, axis=-1)


def bernoulli_divergence(*, teacher_logits, student_logits):
    """`KL(Bernoulli(sigmoid(teacher_logits)) || Bernoulli(sigmoid(student_logits)))`.

    Args:
        teacher_logits: float32 of any shape.
        student_logits: float32 of the same shape.

    Returns:
        float32 of that shape, nats, 0 or more.
    """
    yes = ops.log_sigmoid(teacher_logits) - ops.log_sigmoid(student_logits)
    no = ops.log_sigmoid(-teacher_logits) - ops.log_sigmoid(-student_logits)
    return ops.sigmoid(teacher_logits) * yes + ops.sigmoid(-teacher_logits) * no
