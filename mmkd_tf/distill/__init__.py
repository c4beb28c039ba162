"""Distillation: the Distiller, its terms, teachers kept on disk, and the recipe that trains."""

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.feature_terms import Hint, ModalityTerm, Relation
from mmkd_tf.distill.mutual import learn_mutually
from mmkd_tf.distill.quantization_aware import keep_rounded_weights, quantization_aware
from mmkd_tf.distill.schedules import Constant, Cosine, Linear, WarmUp
from mmkd_tf.distill.soft_target_files import SoftTargetCache
from mmkd_tf.distill.soft_targets import cache_batches, cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets

__all__ = [
    "Constant",
    "Cosine",
    "Distiller",
    "Hint",
    "Linear",
    "ModalityTerm",
    "Relation",
    "SoftTargetCache",
    "SoftTargets",
    "WarmUp",
    "cache_batches",
    "cache_soft_targets",
    "keep_rounded_weights",
    "learn_mutually",
    "quantization_aware",
]
