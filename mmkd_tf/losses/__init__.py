"""Losses: pure functions of keyword arguments, one value an example, in log space."""

from mmkd_tf.losses.logits import soft_target_loss

__all__ = ["soft_target_loss"]
