"""The recipe of distillation: which terms a run's settings ask for."""

from collections.abc import Iterable

from mmkd_tf import losses
from mmkd_tf.config import RunConfig
from mmkd_tf.distill.feature_terms import Relation
from mmkd_tf.distill.modality_term import ModalityTerm
from mmkd_tf.distill.terms import SoftTargets

_SOFT_TARGET_LOSSES = {
    "divergence": (losses.soft_target_loss, {}),
    "standardized": (losses.soft_target_loss, {"standardize": True}),
    "decoupled": (losses.decoupled_loss, {}),
    "dist": (losses.dist_loss, {}),
}


def distillation_terms(config: RunConfig, modalities: Iterable[str]) -> list:
    """Makes the terms that the settings give a weight.

    Args:
        config: The settings of a run.
        modalities: Names of the modalities that the student reads.

    Returns:
        Terms for `Distiller.compile`.
    """
    terms = []
    # Experts are heard on classes alone: of other features than theirs they know nothing.
    whole = "teacher" if config.experts else None
    if config.soft_target_weight:
        loss, options = _SOFT_TARGET_LOSSES[config.soft_target_loss]
        terms.append(
            SoftTargets(config.temperature, config.soft_target_weight, loss, loss_options=options)
        )
    if config.modality_hint_weight:
        # By direction: the student's features need not have the teacher's size.
        terms += [
            ModalityTerm(name, config.modality_hint_weight, losses.cosine_hint_loss, teacher=whole)
            for name in modalities
        ]
    if config.relation_weight:
        terms.append(Relation("fused_features", config.relation_weight, teacher=whole))
    return terms
