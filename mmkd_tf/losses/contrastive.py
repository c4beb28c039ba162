"""Contrastive distillation: the student's feature finds its teacher's among others."""

import math

from keras import ops

from mmkd_tf.losses.checks import differ, feature_problems, refuse
from mmkd_tf.losses.norms import directions


def contrastive_loss(
    *, teacher_features, student_features, logit_scale: float = 1 / 0.07, queue=None
):
    """Cross-entropy of finding the teacher's feature of the same example among all others.

    `logits[i, j] = logit_scale * cos(student_features[i], teacher_features[j])`, where `j` goes
    over the batch and then over the queue; an example's value is `-log_softmax(logits[i])[i]`.

    This is contrastive representation distillation (CRD) with the batch, and a queue of earlier
    features if wanted, as negatives and one softmax over all (InfoNCE). The authors draw
    thousands of negatives by index from a memory of the whole data and use noise-contrastive
    estimation with two learned projections; a batch needs no indices, and projections are the
    caller's. Negatives here may be of the example's own class.

    Features shorter than 1e-4 have no direction: cosine 0 with all others, no gradient.

    Args:
        teacher_features: float `[batch, width]`.
        student_features: float `[batch, width]`, projected to the teacher's width.
        logit_scale: Factor of the cosines, above 0: 1 over what the papers call temperature;
            1 / 0.07 is CRD's. A scalar tensor, if it is learned, is taken as it is.
        queue: float `[queue_size, width]`, the teacher's features of earlier examples, which are
            negatives only; None for none.

    Returns:
        float32 `[batch]`, nats, 0 or more; `log(batch + queue_size)` when nothing is told apart.
        A batch of one without a queue gives 0.

    Raises:
        ValueError: If `logit_scale` is not a positive finite number or shapes differ.

    Examples:
        >>> import numpy as np
        >>> features = np.eye(2)
        >>> loss = contrastive_loss(
        ...     teacher_features=features, student_features=features, logit_scale=1.0
        ... )
        >>> [round(float(value), 3) for value in loss]
        [0.313, 0.313]

    References:
        Tian, Krishnan, Isola: Contrastive Representation Distillation, 2020.
        van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding,
        2018 (InfoNCE).
        He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation
        Learning, 2020 (the queue).
    """
    teacher_features = ops.cast(teacher_features, "float32")
    student_features = ops.cast(student_features, "float32")
    queue = None if queue is None else ops.cast(queue, "float32")
    problems = feature_problems(
        teacher_features, student_features, least_rank=2, same_axes=slice(1, None)
    )
    refuse(_scale_problems(logit_scale) + problems + _queue_problems(queue, teacher_features))
    candidates = directions(teacher_features)
    if queue is not None:
        candidates = ops.concatenate([candidates, directions(queue)], axis=0)
    cosines = ops.matmul(directions(student_features), ops.transpose(candidates))
    log_probs = ops.log_softmax(ops.cast(logit_scale, "float32") * cosines, axis=1)
    return -ops.diagonal(log_probs)


def _scale_problems(logit_scale) -> list[str]:
    if ops.is_tensor(logit_scale):
        return []
    if isinstance(logit_scale, int | float) and 0 < logit_scale < math.inf:
        return []
    return [f"`logit_scale`: a finite number above 0. Received: logit_scale={logit_scale!r}."]


def _queue_problems(queue, teacher_features) -> list[str]:
    if queue is None or not differ(queue.shape, (None, *teacher_features.shape[1:])):
        return []
    return [
        f"`queue`: float `[queue_size, width]`, features of the same teacher. Received: queue of "
        f"shape {tuple(queue.shape)} beside teacher_features of shape "
        f"{tuple(teacher_features.shape)}. Fill it with earlier teacher_features."
    ]
