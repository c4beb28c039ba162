"""Losses of embeddings: examples of one identity lie near each other, and as a teacher has them."""

import math

from keras import ops

from mmkd_tf.losses.checks import (
    beyond,
    differ,
    is_weight,
    logits_problems,
    refuse,
    weight_problems,
)
from mmkd_tf.losses.features import cosine_hint_loss, directions
from mmkd_tf.losses.relations import relational_angle_loss, relational_distance_loss

MARGIN = 0.5  # radians, the authors' of ArcFace
SCALE = 32.0  # theirs is 64, of tens of thousands of identities
_LEAST_SQUARE = 1e-7  # of a sine, whose root has no gradient at 0
_OUT = -1e9  # a logit of what does not count: gone after the softmax, and finite


def angular_margin_loss(*, cosines, labels, margin: float = MARGIN, scale: float = SCALE):
    """Cross-entropy of classes by angle, of which the right one is made harder by a margin.

    `-log_softmax(scale * cosines')[label]`, where `cosines'` are the cosines `cos(t)` but for the
    label's, which is `cos(t + margin)`. Beyond `t + margin = pi` that would rise again, and push an
    example that is wholly wrong further away: there `cos(t) - margin * sin(margin)` goes on
    falling, as in the authors' code.

    Args:
        cosines: float `[batch, num_classes]`, -1 to 1, of embeddings with each class's direction.
        labels: int `[batch]`, 0 to `num_classes - 1`.
        margin: Radians, 0 up to pi; 0 is a plain softmax.
        scale: Above 0; the logits lie between it and its negative.

    Returns:
        float32 `[batch]`, nats, 0 or more.

    Raises:
        ValueError: If a number is out of its range or the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> cosines = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> for margin in (0.0, 0.5):
        ...     loss = angular_margin_loss(cosines=cosines, labels=[0, 1], margin=margin, scale=2)
        ...     print(round(float(loss[0]), 2))
        0.13
        0.16

    References:
        Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
        2019 (section 3, equation 3).
    """
    cosines, labels = ops.cast(cosines, "float32"), ops.cast(labels, "int32")
    problems = margin_problems(margin, scale)
    if len(cosines.shape) != 2 or len(labels.shape) != 1 or differ(labels.shape, cosines.shape[:1]):
        problems.append(
            "`cosines`, `labels`: float [batch, num_classes] and int [batch]. Received: "
            f"{tuple(cosines.shape)} and {tuple(labels.shape)}."
        )
    refuse(problems)
    right = ops.arange(ops.shape(cosines)[1])[None, :] == labels[:, None]
    logits = scale * ops.where(right, _widened(cosines, margin), cosines)
    return -ops.sum(ops.where(right, ops.log_softmax(logits), 0.0), axis=1)


def same_identity_loss(*, embeddings, identities, margin: float = MARGIN, scale: float = SCALE):
    """`angular_margin_loss` of the identities of a batch, for which nothing has been learnt.

    The direction of an example's class is the mean of the batch's other examples of its identity;
    each example of another identity is a class by itself. So it can be asked of identities that
    nobody has seen in training. Examples that are alone with their identity cost nothing: they
    only stand against others.

    Args:
        embeddings: float `[batch, width]`, of length 1, or zeros for an example without inputs.
        identities: int `[batch]`; equal numbers belong together.
        margin: As of `angular_margin_loss`.
        scale: As of `angular_margin_loss`.

    Returns:
        float32 `[batch]`, nats, 0 or more.

    Raises:
        ValueError: If a number is out of its range or the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> near, far = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        >>> loss = same_identity_loss(
        ...     embeddings=np.stack([near, near, far]), identities=[0, 0, 1], margin=0.0, scale=2
        ... )
        >>> [round(abs(float(value)), 3) for value in loss]
        [0.127, 0.127, 0.0]
    """
    embeddings, identities = ops.cast(embeddings, "float32"), ops.cast(identities, "int32")
    problems = margin_problems(margin, scale)
    shapes = embeddings.shape, identities.shape
    if len(shapes[0]) != 2 or len(shapes[1]) != 1 or differ(shapes[1], shapes[0][:1]):
        problems.append(
            "`embeddings`, `identities`: float [batch, width] and int [batch]. Received: "
            f"{tuple(shapes[0])} and {tuple(shapes[1])}."
        )
    refuse(problems)
    alike = identities[:, None] == identities[None, :]
    itself = ops.eye(ops.shape(identities)[0], dtype="bool")
    mates = ops.cast(ops.logical_and(alike, ops.logical_not(itself)), "float32")
    means = directions(ops.matmul(mates, embeddings))
    own = ops.sum(embeddings * means, axis=1, keepdims=True)
    others = ops.where(alike, _OUT, scale * ops.matmul(embeddings, ops.transpose(embeddings)))
    logits = ops.concatenate([scale * _widened(own, margin), others], axis=1)
    alone = ops.sum(mates, axis=1) <= 0
    return ops.where(alone, 0.0, -ops.log_softmax(logits)[:, 0])


def embedding_loss(
    *, teacher_logits, student_logits, cosine_weight: float = 1.0, relation_weight: float = 1.0
):
    """Differences of embeddings from a teacher's: each by itself, and what lies between them.

    `cosine_weight * cosine_hint_loss + relation_weight * (relational_distance_loss + 2 *
    relational_angle_loss)` of the batch; distances count to angles as 1 to 2, as the authors have
    them. The first asks for the teacher's very directions, so that embeddings of both may be
    compared; the second for the same neighbours alone.

    Args:
        teacher_logits: float `[batch, width]`, the teacher's embeddings.
        student_logits: float `[batch, width]`, the student's.
        cosine_weight: 0 or more.
        relation_weight: 0 or more.

    Returns:
        float32 `[batch]`, of no unit, 0 or more; 0 if the embeddings are equal.

    Raises:
        ValueError: If shapes differ or a weight is negative.

    Examples:
        >>> import numpy as np
        >>> turned = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> loss = embedding_loss(teacher_logits=turned, student_logits=turned[::-1])
        >>> [round(float(value), 3) for value in loss]
        [1.0, 1.0]

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, 2019 (section 3.2).
    """
    teacher = ops.cast(teacher_logits, "float32")
    student = ops.cast(student_logits, "float32")
    problems = weight_problems(cosine_weight=cosine_weight, relation_weight=relation_weight)
    refuse(problems + logits_problems(teacher, student))
    both = {"teacher_features": teacher, "student_features": student}
    total = ops.zeros_like(student[:, 0])
    if cosine_weight:
        total += cosine_weight * cosine_hint_loss(**both)
    if relation_weight:
        relations = relational_distance_loss(**both) + 2 * relational_angle_loss(**both)
        total += relation_weight * relations
    return total


def margin_problems(margin: float, scale: float) -> list[str]:
    """What is wrong with the numbers of an angular margin."""
    problems = []
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < math.pi:
        problems.append(f"`margin`: radians, 0 up to pi. Received: margin={margin!r}.")
    if isinstance(scale, bool) or not (is_weight(scale) and scale):
        problems.append(
            f"`scale`: a finite number above 0. Received: scale={scale!r}.{beyond(scale)}"
        )
    return problems


def _widened(cosines, margin: float):
    """Cosines of the angles with a margin added, falling all the way."""
    sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), _LEAST_SQUARE))
    widened = cosines * math.cos(margin) - sines * math.sin(margin)
    # cos(t + margin) where t + margin <= pi, that is where cos(t) >= -cos(margin).
    beyond = cosines < -math.cos(margin)
    return ops.where(beyond, cosines - margin * math.sin(margin), widened)
