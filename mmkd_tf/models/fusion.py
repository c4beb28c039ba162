"""Fusion: features of several modalities to one vector, absent modalities left out.

Every fusion is a Keras layer that is called as `fusion(features, presence)`: two dicts with the
same keys, `features[name]` float `[batch, dim]` and `presence[name]` float `[batch, 1]`, 1 where
the example has the modality and 0 where it lacks it. The result is float `[batch, fused_dim]`.

A fusion whose `takes_tokens` is True also takes `features[name]` as `[batch, tokens, dim]`, with
`presence[name]` as `[batch, tokens]`, 1 where the token is there. One whose `has_weights` is True
says by `modality_weights(features, presence)` how much each modality counts in each example.

What an absent modality's features are changes nothing, not a bit, and examples that lack a
modality get what the same weights without that modality would give them.
"""

from mmkd_tf.models.fusing.concatenation import Concatenation, Presence
from mmkd_tf.models.fusing.cross_attention import CrossAttention
from mmkd_tf.models.fusing.multiplying import FiLM, LowRankTensor
from mmkd_tf.models.fusing.shared import Fusion
from mmkd_tf.models.fusing.weighing import Attention, GatedMultimodalUnit, WeightedSum

__all__ = [
    "Attention",
    "Concatenation",
    "CrossAttention",
    "FiLM",
    "Fusion",
    "GatedMultimodalUnit",
    "LowRankTensor",
    "Presence",
    "WeightedSum",
]
