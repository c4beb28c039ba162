"""Losses of pairs: a picture and a text that belong together find each other in the batch.

A pair is one row, `[2 * width]`: the embedding of the one modality and that of the other, side by
side. The logit of the first of row i belonging to the second of row j is their scalar product, so
whatever scale the embeddings have is the logits' scale.
"""

from keras import ops

from mmkd_tf.losses.checks import differ, logits_problems, refuse, temperature_problems
from mmkd_tf.losses.logits import categorical_divergence

# Added to the logits of what is no negative: gone after the softmax, and finite.
_OUT = -1e9


def matching_loss(*, pairs, items):
    """Cross-entropy of finding each picture's text in the batch, and each text's picture.

    `logits = first @ transpose(second)`; an example's value is the mean of
    `-log_softmax(logits)[i, i]` along the row, where the first seeks the second, and along the
    column. Unlike in the paper, rows of the same item are no negatives of each other: two
    pictures with one text are both right, so they are left out of the softmax.

    Args:
        pairs: float `[batch, 2 * width]`.
        items: int `[batch]`; rows with the same number belong together.

    Returns:
        float32 `[batch]`, nats, 0 or more; `log(batch)` when nothing is told apart.

    Raises:
        ValueError: If the width is odd or the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> pairs = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
        >>> [round(float(value), 3) for value in matching_loss(pairs=pairs, items=[0, 1])]
        [0.313, 0.313]
        >>> [abs(round(float(value), 3)) for value in matching_loss(pairs=pairs, items=[0, 0])]
        [0.0, 0.0]

    References:
        Radford et al.: Learning Transferable Visual Models From Natural Language Supervision,
        2021 (CLIP, figure 3).
    """
    pairs, items = ops.cast(pairs, "float32"), ops.cast(items, "int32")
    problems = _pair_problems(pairs=pairs)
    if len(items.shape) != 1 or differ(items.shape, pairs.shape[:1]):
        problems.append(
            "`items`: int `[batch]`, a number for each pair. Received: items of shape "
            f"{tuple(items.shape)} beside pairs of shape {tuple(pairs.shape)}."
        )
    refuse(problems)
    itself = ops.eye(ops.shape(items)[0], dtype="bool")
    same = ops.logical_and(items[:, None] == items[None, :], ops.logical_not(itself))
    logits = ops.where(same, _OUT, _logits(pairs))
    rows, columns = (ops.diagonal(ops.log_softmax(logits, axis=axis)) for axis in (1, 0))
    return -(rows + columns) / 2


def affinity_loss(*, teacher_logits, student_logits, temperature: float = 1.0):
    """Divergence of whom the student takes to belong together from whom the teacher does.

    `affinities = first @ transpose(second)` for each of them. An example's value is
    `temperature**2` times the mean of two divergences, `KL(softmax(teacher_affinities /
    temperature) || softmax(student_affinities / temperature))`: that of row i, where the first of
    pair i seeks its second, and that of column i, where the second seeks its first. The published
    forms are cross-entropies, which differ by the teacher's entropy and have the same gradient,
    with a temperature of 1.

    It is computed in log space: right for any gap between affinities.

    Args:
        teacher_logits: float `[batch, 2 * width]`, a two-tower model's output: pairs as the
            module says, at the teacher's scale.
        student_logits: float `[batch, 2 * width]`, at the student's scale.
        temperature: Softening, above 0, or a scalar tensor.

    Returns:
        float32 `[batch]`, nats times `temperature**2`, 0 or more; 0 if the affinities are equal. A
        batch of one gives 0.

    Raises:
        ValueError: If the temperature is not a positive finite number, the width is odd or the
            shapes differ.

    Examples:
        >>> import numpy as np
        >>> teacher = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
        >>> student = np.ones([2, 4])
        >>> loss = affinity_loss(teacher_logits=teacher, student_logits=student)
        >>> [round(float(value), 3) for value in loss]
        [0.111, 0.111]

    References:
        Wu et al.: TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight Inheritance, 2023.
        Yang et al.: CLIP-KD: An Empirical Study of CLIP Model Distillation, 2024 (contrastive
        relational distillation).
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    student_logits = ops.cast(student_logits, "float32")
    problems = logits_problems(teacher_logits, student_logits)
    problems = problems or _pair_problems(
        teacher_logits=teacher_logits, student_logits=student_logits
    )
    refuse(temperature_problems(temperature) + problems)
    temperature = ops.cast(temperature, "float32")
    theirs, ours = _logits(teacher_logits) / temperature, _logits(student_logits) / temperature
    rows = categorical_divergence(teacher_logits=theirs, student_logits=ours)
    columns = categorical_divergence(
        teacher_logits=ops.transpose(theirs), student_logits=ops.transpose(ours)
    )
    return temperature**2 * (rows + columns) / 2


def _logits(pairs):
    first, second = ops.split(pairs, 2, axis=1)
    return ops.matmul(first, ops.transpose(second))


def _pair_problems(**pairs) -> list[str]:
    return [
        f"`{name}`: float `[batch, 2 * width]`, two embeddings of one width side by side. "
        f"Received: {name} of shape {tuple(values.shape)}."
        for name, values in pairs.items()
        if len(values.shape) != 2 or values.shape[1] is None or values.shape[1] % 2
    ]
