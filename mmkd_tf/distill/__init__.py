"""Distillation: the Distiller, its terms and the recipe that trains it."""

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.terms import SoftTargets

__all__ = ["Distiller", "SoftTargets"]
