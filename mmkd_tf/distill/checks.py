"""Checks of what a Distiller is given, before any step is made."""

import keras

from mmkd_tf.distill.terms import check_weight


def check_pair(*, student: keras.Model, teacher: keras.Model) -> None:
    """Refuses models over different classes, and a student that shares the teacher's weights."""
    num_student, num_teacher = student.output_shape[-1], teacher.output_shape[-1]
    if num_student != num_teacher:
        raise ValueError(
            "`student`, `teacher`: the same classes in the same order. Received: student "
            f"'{student.name}' with {num_student} classes, teacher '{teacher.name}' with "
            f"{num_teacher}. Build the student's last layer with {num_teacher} units."
        )
    shared = {id(weight) for weight in student.weights} & {id(w) for w in teacher.weights}
    if shared:
        raise ValueError(
            "`student`: a model with weights of its own, because training it would change the "
            f"teacher. Received: student '{student.name}', which shares {len(shared)} weights "
            f"with teacher '{teacher.name}'. Use keras.models.clone_model for the shared part."
        )


def check_loss(loss) -> None:
    """Refuses a loss by name or one that takes probabilities: the student gives logits."""
    hint = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
    if not isinstance(loss, keras.losses.Loss):
        raise TypeError(
            "`loss`: a keras.losses.Loss object, because a loss given by name takes "
            f"probabilities and the student gives logits. Received: loss={loss!r}. Use for "
            f"example {hint}."
        )
    if loss.get_config().get("from_logits") is False:
        raise ValueError(
            "`loss`: one that takes logits, which the student gives. Received: "
            f"{type(loss).__name__}(from_logits=False). Use {type(loss).__name__}"
            "(from_logits=True)."
        )


def check_terms(terms, hard_label_weight: float) -> None:
    """Refuses weights that are negative or all zero, and terms that can't be told apart."""
    check_weight(hard_label_weight, argument="hard_label_weight")
    names = [term.name for term in terms]
    if len(set(names)) != len(names):
        raise ValueError(
            f"`terms`: terms with different names, since losses are logged by name. Received: "
            f"{names}."
        )
    if hard_label_weight == 0 and not any(term.weight for term in terms):
        raise ValueError(
            "`terms`, `hard_label_weight`: at least one weight above 0, or there is nothing to "
            f"learn. Received: hard_label_weight={hard_label_weight}, weights of the terms "
            f"{[term.weight for term in terms]}."
        )
