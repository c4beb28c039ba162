"""Teacher signals: the losses of all terms on a batch, over the teachers of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from keras import ops

from mmkd_tf.distill.teachers import LOGITS


@dataclass(frozen=True)
class TeacherSignals:
    """What a student learns from its teachers, as `Distiller.compile` was told.

    Projections are layers that are trained with the student, by `projection_name`.
    """

    terms: list
    projections: Mapping
    teacher_weights: Mapping | str | None = None
    on_wrong_teacher: str = "keep"

    def __call__(self, *, teachers, student, labels, step):
        """Gives each term's loss of each example, before weighting: a float32 `[batch]` a term.

        Outputs of teachers come by teacher and layer, the student's by layer, labels as for
        `class_ids`, or None where nothing asks for them; `step` counts the steps made so far.
        """
        if labels is not None:
            labels = class_ids(labels, student[LOGITS].shape[-1])
        values = []
        for term in self.terms:
            outputs = {name: teachers[name] for name in teachers_of(term, teachers)}
            logits = {name: values[LOGITS] for name, values in outputs.items()}
            parts = shares(logits, labels, self.teacher_weights)
            if self.on_wrong_teacher == "skip":
                parts = {n: ops.where(is_wrong(logits[n], labels), 0.0, parts[n]) for n in parts}
            elif self.on_wrong_teacher == "correct":
                logits = {name: corrected(value, labels) for name, value in logits.items()}
            values.append(
                sum(
                    parts[name]
                    * term(
                        teacher={**outputs[name], LOGITS: logits[name]},
                        student=student,
                        labels=labels,
                        step=step,
                        projection=self.projections.get(projection_name(term, name)),
                    )
                    for name in outputs
                )
            )
        return values


def teachers_of(term, teachers) -> list[str]:
    """Names of the teachers that a term learns from."""
    return list(teachers) if term.teacher is None else [term.teacher]


def projection_name(term, teacher: str) -> str:
    """What the projection from the student to one teacher is called; no teacher has a slash."""
    return f"{term.name}/{teacher}"


def class_ids(labels, num_classes: int):
    """Labels `[batch]`, `[batch, 1]` or one-hot `[batch, num_classes]` as int32 `[batch]`."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[1] == num_classes:
        return ops.cast(ops.argmax(labels, axis=-1), "int32")
    return ops.cast(ops.reshape(labels, [-1]), "int32")


def is_wrong(logits, labels):
    """Where a teacher's first class is not the label: bool `[batch]`."""
    return ops.cast(ops.argmax(logits, axis=-1), "int32") != labels


def corrected(logits, labels):
    """Exchanges the logits of the label and of the first class where a teacher is wrong.

    The logits' values stay what they were, so the teacher stays as certain as it was.

    References:
        Wen, Lai, Qian: Preparing Lessons: Improve Knowledge Distillation with Better
        Supervision, 2021 (probability shift).
    """
    is_label = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    is_first = ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype="bool")
    label_logit = ops.sum(ops.where(is_label, logits, 0.0), axis=-1, keepdims=True)
    first_logit = ops.max(logits, axis=-1, keepdims=True)
    swapped = ops.where(is_label, first_logit, ops.where(is_first, label_logit, logits))
    return ops.where(is_wrong(logits, labels)[:, None], swapped, logits)


def shares(logits: Mapping, labels, by) -> dict:
    """How much each teacher counts: by name, a number or float32 `[batch]`; they add up to 1.

    With `by="label_loss"` a teacher counts less the larger its cross-entropy `u` with the label
    is beside the others': `(1 - softmax(u)) / (num_teachers - 1)`; with `"confidence"` the same
    of the entropy of its own probabilities, which needs no label.

    References:
        Zhang, Chen, Wang: Confidence-Aware Multi-Teacher Knowledge Distillation, 2022 (equation
        for the weights of the logits, by the labels).
        Kwon, Na, Lee, Kim: Adaptive Knowledge Distillation Based on Entropy, 2020.
    """
    if by is None or len(logits) == 1:
        return dict.fromkeys(logits, 1 / len(logits))
    if isinstance(by, Mapping):
        total = sum(by[name] for name in logits)
        return {name: by[name] / total for name in logits}
    log_probs = [ops.log_softmax(values, axis=-1) for values in logits.values()]
    if by == "confidence":
        uncertain = [-ops.sum(ops.exp(values) * values, axis=-1) for values in log_probs]
    else:
        index = labels[:, None]
        uncertain = [-ops.take_along_axis(values, index, axis=1)[:, 0] for values in log_probs]
    part = (1 - ops.softmax(ops.stack(uncertain, axis=1), axis=1)) / (len(logits) - 1)
    return {name: part[:, index] for index, name in enumerate(logits)}
