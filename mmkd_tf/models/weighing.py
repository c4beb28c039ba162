"""Fusions that add projected features by weights: learned, by attention, or gated."""

import keras
from keras import ops

from mmkd_tf.models.fusion import (
    Fusion,
    check,
    dense,
    masked_softmax,
    mix,
    projected,
    projections,
    side_by_side,
    without_absent,
)


@keras.saving.register_keras_serializable("mmkd_tf")
class WeightedSum(Fusion):
    """Adds projected features, one learned weight a modality.

    `fused = sum_m w_m * project_m(features_m)`, where `w` is a softmax of `scores` over the
    modalities that are there, so that an absent one takes no share. With `by_example` the scores
    depend on the example: `scores + W [features_1, ..., features_n]`, absent features as zeros.

    Args:
        fused_dim: Width of the result.
        by_example: Whether each example has weights of its own.
        seed: Seed of the initial weights.
    """

    has_weights = True

    def __init__(
        self, fused_dim: int = 128, *, by_example: bool = False, seed: int | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, by_example=by_example, seed=seed)

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        self.projections = projections(self, features_shape)
        count = len(features_shape)
        self.scores = self.add_weight(name="scores", shape=(count,), initializer="zeros")
        if self.by_example:
            width = sum(shape[-1] for shape in features_shape.values())
            self.gate = dense(self, count, count, (None, width), use_bias=False, name="gate")

    def call(self, features, presence):
        tokens = projected(self, features)
        return mix(tokens, self.modality_weights(features, presence))

    def modality_weights(self, features, presence):
        there = side_by_side(presence)
        scores = ops.broadcast_to(self.scores, ops.shape(there))
        if self.by_example:
            scores = ops.add(scores, self.gate(side_by_side(without_absent(features, presence))))
        return masked_softmax(scores, there)


@keras.saving.register_keras_serializable("mmkd_tf")
class Attention(Fusion):
    """Adds projected features by weights that depend on the example.

    `score_m = v . tanh(W project_m(features_m))`, `w = softmax(score)` over the modalities that
    are there, `fused = sum_m w_m * project_m(features_m)`: additive attention with the
    modalities as tokens.

    Args:
        fused_dim: Width of the result, 2 or more.
        seed: Seed of the initial weights.

    References:
        Bahdanau, Cho, Bengio: Neural Machine Translation by Jointly Learning to Align and
        Translate, 2015 (the additive score, section 3.1).
    """

    has_weights = True

    def __init__(self, fused_dim: int = 128, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, seed=seed)

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        self.projections = projections(self, features_shape)
        count = len(features_shape)
        dim, half = self.fused_dim, self.fused_dim // 2
        self.hidden = dense(self, half, count, (None, dim), activation="tanh", name="hidden")
        self.score = dense(self, 1, count + 1, (None, half), use_bias=False, name="score")

    def call(self, features, presence):
        tokens = projected(self, features)
        return mix(tokens, self._weights(tokens, presence))

    def modality_weights(self, features, presence):
        return self._weights(projected(self, features), presence)

    def _weights(self, tokens, presence):
        scores = ops.concatenate([self.score(self.hidden(token)) for token in tokens], axis=-1)
        return masked_softmax(scores, side_by_side(presence))


@keras.saving.register_keras_serializable("mmkd_tf")
class GatedMultimodalUnit(Fusion):
    """Adds squashed projections by gates, one for each modality and dimension.

    `fused = sum_m gate_m * tanh(project_m(features_m))`, each gate a vector of `fused_dim`, and
    `gate = softmax_m(U [features_1, ..., features_n])` over the modalities that are there, absent
    features as zeros. For two modalities the softmax is the unit as published, a sigmoid `z` and
    `1 - z`; the softmax says the same for any number of them.

    Args:
        fused_dim: Width of the result.
        seed: Seed of the initial weights.

    References:
        Arevalo, Solorio, Montes-y-Gomez, Gonzalez: Gated Multimodal Units for Information
        Fusion, 2017.
    """

    has_weights = True

    def __init__(self, fused_dim: int = 128, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, seed=seed)

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        self.projections = projections(self, features_shape, activation="tanh")
        count = len(features_shape)
        taken = (None, sum(shape[-1] for shape in features_shape.values()))
        units = count * self.fused_dim
        self.gate = dense(self, units, count, taken, use_bias=False, name="gate")

    def call(self, features, presence):
        tokens = projected(self, features)
        gates = ops.cast(self._gates(features, presence), tokens[0].dtype)
        return sum(gates[:, i] * token for i, token in enumerate(tokens))

    def modality_weights(self, features, presence):
        """Means of the gates over their dimensions."""
        return ops.mean(self._gates(features, presence), axis=-1)

    def _gates(self, features, presence):
        scores = self.gate(side_by_side(without_absent(features, presence)))
        scores = ops.reshape(scores, (-1, len(features), self.fused_dim))
        return masked_softmax(scores, side_by_side(presence)[:, :, None], axis=1)
