"""Checks of what a Distiller is given, before any step is made."""

import math
import numbers
from collections.abc import Mapping

import keras

from mmkd_tf import losses
from mmkd_tf.distill.feature_terms import Relation
from mmkd_tf.distill.schedules import greatest_value, schedule_problems
from mmkd_tf.distill.terms import SoftTargets, arguments_of
from mmkd_tf.losses.checks import refuse, weight_problems
from mmkd_tf.models.inputs import check_gives_logits
from mmkd_tf.tasks import task_of_loss

_OVER_CLASSES = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)
# Of these Keras repeats labels of fewer columns for the others.
_OF_NUMBERS = (
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.Huber,
    keras.losses.LogCosh,
)
ON_WRONG_TEACHER = ("keep", "skip", "correct")


def check_models(*, student: keras.Model, teachers: Mapping) -> None:
    """Refuses models that can't be distilled into each other; all problems at once."""
    if not teachers:
        raise ValueError("`teacher`: at least one. Received: none.")
    unusable = [name for name in teachers if not isinstance(name, str) or not name or "/" in name]
    if unusable:
        raise ValueError(
            "`teacher`: names that are strings without '/', which separates a teacher's name from "
            f"that of its layer. Received: {unusable}."
        )
    # A list, because a teacher may be called 'student'.
    models = [("student", student)]
    for name, teacher in teachers.items():
        if not isinstance(getattr(teacher, "outputs", None), Mapping):  # not a cache
            models.append((name, teacher))
    problems, kinds = [], set()
    for name, model in models:
        try:
            check_gives_logits(model, argument=name)
        except (TypeError, ValueError) as error:
            problems.append(str(error))
            kinds.add(type(error))
    if problems:
        raise (kinds.pop() if len(kinds) == 1 else ValueError)("\n".join(problems))
    for name, model in models[1:]:
        problems += _class_problems(student, name, model.outputs[0].shape[-1])
        problems += _weight_problems(student, name, model)
    for name, cache in teachers.items():
        if name not in dict(models[1:]):
            problems += _class_problems(student, name, cache.outputs["logits"].shape[-1])
    refuse(problems)


def _class_problems(student, name: str, num_teacher: int) -> list[str]:
    num_student = student.outputs[0].shape[-1]
    if num_student == num_teacher:
        return []
    return [
        f"`student`, `{name}`: the same classes in the same order. Received: student "
        f"'{student.name}' with {num_student} classes, {name} with {num_teacher}. Build the "
        f"student's last layer with {num_teacher} units."
    ]


def _weight_problems(student, name: str, teacher) -> list[str]:
    problems = []
    shared = {id(weight) for weight in student.weights} & {id(w) for w in teacher.weights}
    if shared:
        problems.append(
            "`student`: a model with weights of its own, because training it would change the "
            f"teacher. Received: student '{student.name}', which shares {len(shared)} weights "
            f"with {name} '{teacher.name}'. Use keras.models.clone_model for the shared part."
        )
    return problems + broken_weight_problems(teacher, argument=name)


def broken_weight_problems(teacher: keras.Model, *, argument: str) -> list[str]:
    """Weights of a teacher that are NaN or infinite."""
    broken = [w.path for w in teacher.weights if not keras.ops.all(keras.ops.isfinite(w))]
    if not broken:
        return []
    return [
        f"`{argument}`: a trained model whose weights are finite numbers. Received: model "
        f"'{teacher.name}' with NaN or infinity in {broken[:5]}. Train it again with a lower "
        "learning rate or with gradient clipping."
    ]


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


def check_terms(terms, hard_label_weight) -> None:
    """Refuses weights that are negative or all zero, and terms that can't be told apart."""
    if not (isinstance(terms, list | tuple) and all(map(_is_term, terms))):
        raise TypeError(
            "`terms`: a list of SoftTargets, Hint, Relation, ModalityTerm or objects like them. "
            f"Received: terms={terms!r}."
        )
    problems = schedule_problems(hard_label_weight, argument="hard_label_weight", above_zero=False)
    names = [term.name for term in terms]
    if len({"hard_label", *names}) != len(names) + 1:
        problems.append(
            "`terms`: terms with different names, since losses are logged by name, and none "
            f"called 'hard_label'. Received: {names}. Give them a `name`."
        )
    weights = [hard_label_weight, *(term.weight for term in terms)]
    if not problems and not any(greatest_value(weight) for weight in weights):
        problems.append(
            "`terms`, `hard_label_weight`: at least one weight above 0, or there is nothing to "
            f"learn. Received: hard_label_weight={hard_label_weight}, weights of the terms "
            f"{weights[1:]}."
        )
    refuse(problems)


def check_soft_targets(terms, loss: keras.losses.Loss) -> None:
    """Refuses soft targets over classes beside a loss on labels that are none."""
    task = task_of_loss(loss)
    fitting = task.soft_targets(loss)
    temperature = "temperature=None, " if fitting.temperature is None else ""
    refuse(
        [
            f"`terms`: with {type(loss).__name__}, "
            f"SoftTargets({temperature}loss=losses.{fitting.loss.__name__}), since outputs are "
            f"{task.words.truth} and not one of several classes. Received: '{term.name}' with "
            f"{term.loss.__name__}."
            for term in terms
            if isinstance(term, SoftTargets) and term.loss in task.unfit_soft_targets
        ]
    )


def _is_term(term) -> bool:
    attributes = ("name", "weight", "teacher", "teacher_layers", "student_layers", "projection")
    return callable(term) and all(hasattr(term, attribute) for attribute in attributes)


def check_trainable(student: keras.Model) -> None:
    """Refuses a student in which nothing learns."""
    if not student.trainable_weights:
        raise ValueError(
            "`student`: a model with weights that learn. Received: student "
            f"'{student.name}', {'which is frozen' if student.weights else 'without weights'}. "
            "Set student.trainable = True before compile, or trainable of the layers that are to "
            "learn."
        )


def check_replicas(terms, loss: keras.losses.Loss, num_replicas: int) -> None:
    """Refuses losses between the examples of a batch where each replica sees a part of it alone."""
    if num_replicas < 2:
        return
    between = [f"term '{term.name}' with {term.loss.__name__}" for term in terms if _between(term)]
    if getattr(loss, "between_examples", False):
        between.append(f"loss {type(loss).__name__}")
    if between:
        raise ValueError(
            "`terms`, `loss`: under a tf.distribute strategy of several replicas losses of each "
            "example alone, because those between the examples of a batch would see a replica's "
            f"part of it and become other ones. Received: {', '.join(between)}, {num_replicas} "
            "replicas. Train on one device, or with soft_target_loss and hints."
        )


def _between(term) -> bool:
    """Whether a term's loss compares the examples of a batch with each other."""
    loss, options = getattr(term, "loss", None), getattr(term, "loss_options", {})
    if loss is losses.dist_loss:
        return options.get("intra_class_weight", 1.0) > 0
    if loss is losses.embedding_loss:
        return options.get("relation_weight", 1.0) > 0
    return isinstance(term, Relation) or loss in (losses.affinity_loss, losses.contrastive_loss)


def check_keras_arguments(arguments: Mapping) -> None:
    """Refuses an argument of `keras.Model.compile` that would have no effect."""
    if "loss_weights" in arguments:
        raise ValueError(
            "`loss_weights`: none, because each loss has its own weight. Received: loss_weights="
            f"{arguments['loss_weights']!r}. Use `hard_label_weight` and the terms' `weight`."
        )


def check_labels(y, logits, loss) -> None:
    """Refuses labels that the loss can't take, in words, while the step is traced."""
    if isinstance(loss, _OVER_CLASSES) and logits.shape[-1] == 1:
        raise ValueError(
            f"`student`: two logits or more for {type(loss).__name__}, since one alone always has "
            "probability 1. Received: a student with one output. For yes or no compile with "
            "loss=keras.losses.BinaryCrossentropy(from_logits=True)."
        )
    sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    shape: tuple = getattr(y, "shape", ())
    if sparse and len(shape) == 2 and shape[1] == logits.shape[-1]:
        raise ValueError(
            f"`y`: integer labels of shape (batch,) for {type(loss).__name__}. Received: shape "
            f"{tuple(shape)}, as one-hot labels have. Compile with "
            "loss=keras.losses.CategoricalCrossentropy(from_logits=True)."
        )
    if isinstance(loss, _OF_NUMBERS) and shape[1:] != logits.shape[1:]:
        same = (*shape, 1)[1:] == logits.shape[1:] or shape[1:] == (*logits.shape, 1)[1:]
        if not same:
            raise ValueError(
                f"`y`: a number for each output, of shape {(None, *logits.shape[1:])}, for "
                f"{type(loss).__name__}. Received: shape {(None, *shape[1:])}. Give a column for "
                "each output; for the numbers of classes compile with another loss."
            )


def check_sample_weight(sample_weight) -> None:
    """Refuses weights that are not one an example, while the step is traced."""
    shape = tuple(getattr(sample_weight, "shape", ()))
    if any(size != 1 for size in shape[1:]):
        raise ValueError(
            "`sample_weight`: one number for each example, of shape (batch,). Received: shape "
            f"{(None, *shape[1:])}."
        )


def check_class_weight(class_weight, num_outputs: int, loss) -> None:
    """Refuses weights of what is no class: Keras would leave them out without a word."""
    if class_weight is None:
        return
    if not task_of_loss(loss).has_one_class:  # Keras weighs an example by its first or largest
        raise ValueError(
            "`class_weight`: for a loss of one class an example. Received: it with "
            f"{type(loss).__name__}. Weigh examples by `sample_weight`."
        )
    fits = isinstance(class_weight, Mapping) and all(
        isinstance(number, numbers.Integral) and 0 <= int(number) < num_outputs
        for number in class_weight
    )
    if fits and all(
        isinstance(weight, numbers.Real) and 0 <= float(weight) < math.inf
        for weight in class_weight.values()
    ):
        return
    raise ValueError(
        f"`class_weight`: a dict from the number of a class, 0 to {num_outputs - 1}, to a finite "
        f"number, 0 or more; 1 for classes that it lacks. Received: {class_weight!r:.200}."
    )


def check_unlabelled(arguments: Mapping) -> None:
    """Refuses batches without labels where an argument of `Distiller.compile` asks for labels."""
    weight, problems = arguments["hard_label_weight"], []
    if greatest_value(weight):
        problems.append(
            f"`y`: labels, because hard_label_weight is {weight}. Received: none. To learn from "
            "the teachers alone compile with hard_label_weight=0.0; where some rows have labels "
            'give x["labels/weight"], 0 for those that have none.'
        )
    problems += [
        f"`y`: labels, because {term.loss.__name__} of '{term.name}' reads them. Received: none."
        for term in arguments["terms"]
        if isinstance(term, SoftTargets) and "labels" in arguments_of(term.loss)
    ]
    if arguments["on_wrong_teacher"] != "keep":
        problems.append(
            f"`y`: labels, because on_wrong_teacher is '{arguments['on_wrong_teacher']}'. "
            "Received: none. Keep what teachers say: on_wrong_teacher='keep'."
        )
    if arguments["teacher_weights"] == "label_loss":
        problems.append(
            "`y`: labels, because teacher_weights is 'label_loss'. Received: none. Take "
            "'confidence', which needs none."
        )
    refuse(problems)


def check_teacher_options(teacher_weights, on_wrong_teacher: str, names, terms, loss) -> None:
    """Refuses weights of teachers that name others, or that say nothing."""
    problems = []
    by_label = {"on_wrong_teacher": on_wrong_teacher, "teacher_weights": teacher_weights}
    by_label = {k: v for k, v in by_label.items() if v in ("skip", "correct", "label_loss")}
    if by_label and not task_of_loss(loss).has_one_class:
        problems.append(
            f"`{'`, `'.join(by_label)}`: none that asks for the label, because with "
            f"{type(loss).__name__} an example may have several or none. Received: {by_label}."
        )
    shared = len(names) > 1 and any(term.teacher is None for term in terms)
    if on_wrong_teacher not in ON_WRONG_TEACHER:
        problems.append(
            f"`on_wrong_teacher`: one of {ON_WRONG_TEACHER}. Received: {on_wrong_teacher!r}."
        )
    if teacher_weights is not None and not shared:
        problems.append(
            "`teacher_weights`: None where no term has several teachers, because the share "
            f"of one is 1 in any case. Received: {teacher_weights!r}."
        )
    elif isinstance(teacher_weights, Mapping):
        if set(teacher_weights) != set(names):
            problems.append(
                f"`teacher_weights`: a weight for each teacher, {sorted(names)}. Received: "
                f"{dict(teacher_weights)}."
            )
        problems += weight_problems(**teacher_weights)
    elif teacher_weights not in (None, "confidence", "label_loss"):
        problems.append(
            "`teacher_weights`: None, 'confidence', 'label_loss' or a dict of weights by teacher. "
            f"Received: {teacher_weights!r}."
        )
    refuse(problems)
