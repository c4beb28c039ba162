"""Losses: pure functions of keyword arguments, one value an example, in log space."""

from mmkd_tf.losses.classes import decoupled_loss, dist_loss
from mmkd_tf.losses.embeddings import embedding_loss
from mmkd_tf.losses.features import (
    attention_transfer_loss,
    contrastive_loss,
    cosine_hint_loss,
    hint_loss,
    variational_information_loss,
)
from mmkd_tf.losses.logits import (
    sigmoid_soft_target_loss,
    soft_target_cross_entropy,
    soft_target_loss,
    squared_loss,
)
from mmkd_tf.losses.pairs import affinity_loss
from mmkd_tf.losses.relations import (
    pkt_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_preserving_loss,
)

__all__ = [
    "affinity_loss",
    "attention_transfer_loss",
    "contrastive_loss",
    "cosine_hint_loss",
    "decoupled_loss",
    "dist_loss",
    "embedding_loss",
    "hint_loss",
    "pkt_loss",
    "relational_angle_loss",
    "relational_distance_loss",
    "sigmoid_soft_target_loss",
    "similarity_preserving_loss",
    "soft_target_cross_entropy",
    "soft_target_loss",
    "squared_loss",
    "variational_information_loss",
]
