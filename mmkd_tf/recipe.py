"""The recipe of distillation: which terms a run's settings ask for."""

from mmkd_tf import losses
from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.feature_terms import Hint, Relation
from mmkd_tf.distill.modality_term import ModalityTerm
from mmkd_tf.distill.objectives import objective
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.modalities.forms import student_forms
from mmkd_tf.models.two_tower import embedding_layer

_SOFT_TARGET_LOSSES = {
    "divergence": (losses.soft_target_loss, {}),
    "standardized": (losses.soft_target_loss, {"standardize": True}),
    "decoupled": (losses.decoupled_loss, {}),
    "dist": (losses.dist_loss, {}),
}
# By task, the first is what "auto" means.
_CHOICES = {
    "single_label": ("dist", "divergence", "standardized", "decoupled"),
    "multi_label": ("sigmoid",),
    "regression": ("squared",),
    "retrieval": ("affinity",),
}


# Temperature and weight where the settings leave them open; those of pairs were chosen on emoji's
# validation split.
_SOFTENING = {
    "single_label": (4.0, 0.2),
    "multi_label": (4.0, 0.2),
    "regression": (None, 0.2),
    "retrieval": (1.0, 1.0),
}


def soft_target_settings(config: RunConfig, task: str) -> dict:
    """Gives `soft_target_loss`, `temperature` and `soft_target_weight` as a run takes them."""
    temperature, weight = _SOFTENING[task]
    defaults = {
        "soft_target_loss": _CHOICES[task][0],
        "temperature": temperature,
        "soft_target_weight": weight,
    }
    given = {name: getattr(config, name) for name in defaults}
    return defaults | {name: value for name, value in given.items() if value not in (None, "auto")}


def check_settings(config: RunConfig, task: str) -> None:
    """Refuses settings that would have no effect with the task that the data turned out to be.

    Raises:
        ValueError: Lists all of them.
    """
    problems = []
    if config.soft_target_loss not in ("auto", *_CHOICES[task]):
        problems.append(
            f"`soft_target_loss`: auto or {' or '.join(_CHOICES[task])} for {task}. "
            f"Received: {config.soft_target_loss}."
        )
    if task != "single_label" and config.on_wrong_teacher != "keep":
        problems.append(
            f"`on_wrong_teacher`: keep for {task}, where no class is the right one. "
            f"Received: {config.on_wrong_teacher}."
        )
    fields = RunConfig.model_fields
    if task == "regression" and config.temperature is not None:
        problems.append(
            "`temperature`: none for regression, whose outputs are no probabilities. Received: "
            f"{config.temperature}."
        )
    if task == "regression" and config.teacher == "document":
        problems.append(
            "`teacher`: fusion for regression; the written method's teacher gives classes. "
            "Received: document."
        )
    problems += _retrieval_problems(config) if task == "retrieval" else []
    if task != "retrieval" and config.embedding_dim != fields["embedding_dim"].default:
        problems.append(
            f"`embedding_dim`: only for retrieval; the task is {task}. Received: "
            f"{config.embedding_dim}."
        )
    if task != "multi_label" and config.label_separator != fields["label_separator"].default:
        problems.append(
            f"`label_separator`: only for multi_label; the task is {task}. Received: "
            f"{config.label_separator!r}."
        )
    if problems:
        raise ValueError("\n".join([*problems, "Leave them out, or name another --task."]))


# What two towers lack: a fusion, the layer behind it, and a use for half a pair.
_OF_FUSIONS = ("teacher", "fusion", "relation_weight", "experts", "student_modalities")
_OF_FUSIONS += ("modality_dropout", "teacher_modality_dropout")


def _retrieval_problems(config: RunConfig) -> list[str]:
    """Settings of what two towers lack."""
    fields = RunConfig.model_fields
    problems = [
        f"`{name}`: none for retrieval, whose models read pictures and texts apart. Received: "
        f"{getattr(config, name)}."
        for name in _OF_FUSIONS
        if getattr(config, name) != fields[name].default
    ]
    if config.image is None or config.text is None:
        problems.append(
            "`image`, `text`: both for retrieval, which finds one by the other. Received: "
            f"image={config.image}, text={config.text}."
        )
    return problems


def distillation_terms(config: RunConfig, dataset: Dataset) -> list:
    """Makes the terms that the settings give a weight.

    Args:
        config: The settings of a run.
        dataset: The data that teacher and student read.

    Returns:
        Terms for `Distiller.compile`.
    """
    terms = []
    modalities = config.student_modalities or student_forms(dataset.modalities)
    # Experts are heard on classes alone: of other features than theirs they know nothing.
    whole = "teacher" if config.experts else None
    soft = soft_target_settings(config, dataset.task)
    if weight := soft["soft_target_weight"]:
        goal = objective(dataset)
        default = (goal.soft_target_loss, goal.soft_target_options)
        loss, options = _SOFT_TARGET_LOSSES.get(soft["soft_target_loss"], default)
        terms.append(SoftTargets(soft["temperature"], weight, loss, loss_options=options))
    if config.modality_hint_weight and dataset.task == "retrieval":
        # The two spaces are of one width, so the student's points can lie where the teacher's do.
        terms += [
            Hint(embedding_layer(name), config.modality_hint_weight, losses.cosine_hint_loss)
            for name in modalities
        ]
    elif config.modality_hint_weight:
        # By direction: the student's features need not have the teacher's size.
        terms += [
            ModalityTerm(name, config.modality_hint_weight, losses.cosine_hint_loss, teacher=whole)
            for name in modalities
        ]
    if config.relation_weight:
        terms.append(Relation("fused_features", config.relation_weight, teacher=whole))
    return terms
