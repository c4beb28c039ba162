"""Fusion: features of several modalities to one vector, absent modalities left out.

Every fusion is a Keras layer that is called as `fusion(features, presence)`: two dicts with the
same keys, `features[name]` float `[batch, dim]` and `presence[name]` float `[batch, 1]`, 1 where
the example has the modality and 0 where it lacks it. The result is float `[batch, fused_dim]`.
"""

import math

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("mmkd_tf")
class Presence(layers.Layer):
    """Tells for each example whether a modality is there.

    Takes `[batch, ...]` in the modality's tensor form and gives float `[batch, 1]`: 0 where all
    values are zero, which is how an absent modality looks, else 1.
    """

    def call(self, inputs):
        """Looks for any value that is not zero."""
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        largest = ops.max(ops.abs(ops.cast(flat, "float32")), axis=1, keepdims=True)
        return ops.cast(largest > 0, self.compute_dtype)


@keras.saving.register_keras_serializable("mmkd_tf")
class Concatenation(layers.Layer):
    """Sets the features side by side, zeros for an absent modality.

    Widths may differ; `fused_dim` is their sum.
    """

    def build(self, features_shape, presence_shape):
        """Checks that features and presence speak of the same modalities."""
        _check_names(features_shape, presence_shape)

    def call(self, features, presence):
        """Concatenates in alphabetical order of the modalities' names."""
        return ops.concatenate([features[n] * presence[n] for n in sorted(features)], axis=-1)


@keras.saving.register_keras_serializable("mmkd_tf")
class WeightedSum(layers.Layer):
    """Adds projected features, one learned weight a modality.

    `fused = sum_m w_m * project_m(features_m)`, where `w` is a softmax over the modalities that
    are there, so that an absent one takes no share.

    Args:
        fused_dim: Width of the result.
        seed: Seed of the initial weights.
    """

    def __init__(self, fused_dim: int = 128, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.fused_dim = fused_dim
        self.seed = seed

    def build(self, features_shape, presence_shape):
        """Makes a projection and a score for each modality."""
        _check_names(features_shape, presence_shape)
        self.projections = _projections(self, features_shape)
        self.scores = self.add_weight(
            name="scores", shape=(len(features_shape),), initializer="zeros"
        )

    def call(self, features, presence):
        """Weighs and adds."""
        names = sorted(features)
        there = ops.concatenate([presence[n] for n in names], axis=-1)
        weights = _masked_softmax(ops.broadcast_to(self.scores, ops.shape(there)), there)
        tokens = [self.projections[n](features[n]) for n in names]
        return _mix(tokens, weights)

    def get_config(self):
        """Mirrors `__init__`."""
        return {**super().get_config(), "fused_dim": self.fused_dim, "seed": self.seed}


@keras.saving.register_keras_serializable("mmkd_tf")
class Attention(layers.Layer):
    """Adds projected features by weights that depend on the example.

    `score_m = v . tanh(W project_m(features_m))`, `w = softmax(score)` over the modalities that
    are there, `fused = sum_m w_m * project_m(features_m)`: additive attention with the
    modalities as tokens.

    Args:
        fused_dim: Width of the result.
        seed: Seed of the initial weights.

    References:
        Bahdanau, Cho, Bengio: Neural Machine Translation by Jointly Learning to Align and
        Translate, 2015 (the additive score, section 3.1).
    """

    def __init__(self, fused_dim: int = 128, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.fused_dim = fused_dim
        self.seed = seed

    def build(self, features_shape, presence_shape):
        """Makes the projections and the scoring layers."""
        _check_names(features_shape, presence_shape)
        self.projections = _projections(self, features_shape)
        count = len(features_shape)
        self.hidden = _dense(self, self.fused_dim // 2, count, activation="tanh", name="hidden")
        self.hidden.build((None, self.fused_dim))
        self.score = _dense(self, 1, count + 1, use_bias=False, name="score")
        self.score.build((None, self.fused_dim // 2))

    def call(self, features, presence):
        """Scores, weighs and adds."""
        names = sorted(features)
        there = ops.concatenate([presence[n] for n in names], axis=-1)
        tokens = [self.projections[n](features[n]) for n in names]
        scores = ops.concatenate([self.score(self.hidden(token)) for token in tokens], axis=-1)
        return _mix(tokens, _masked_softmax(scores, there))

    def get_config(self):
        """Mirrors `__init__`."""
        return {**super().get_config(), "fused_dim": self.fused_dim, "seed": self.seed}


def _check_names(features_shape, presence_shape):
    if sorted(features_shape) != sorted(presence_shape):
        raise ValueError(
            "`presence`: an entry for each modality of `features`. Received: "
            f"features={sorted(features_shape)}, presence={sorted(presence_shape)}."
        )


def _projections(layer, features_shape):
    """A dense layer for each modality, to the layer's `fused_dim`."""
    projections = {}
    for index, name in enumerate(sorted(features_shape)):
        projections[name] = _dense(layer, layer.fused_dim, index, name=f"{name}_projection")
        projections[name].build(features_shape[name])
    return projections


def _dense(layer, units, index, **kwargs):
    """A dense layer whose initial weights follow from the fusion's seed."""
    seed = None if layer.seed is None else layer.seed + index
    initializer = keras.initializers.GlorotUniform(seed)
    return layers.Dense(units, kernel_initializer=initializer, dtype=layer.dtype_policy, **kwargs)


def _masked_softmax(scores, there):
    """Softmax over the last axis among the entries of `there` that are 1; zeros if none is."""
    # Subtracting the largest score keeps exp finite; masking after it keeps absent ones exact.
    powers = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True)) * there
    return powers / ops.maximum(ops.sum(powers, axis=-1, keepdims=True), 1e-6)


def _mix(tokens, weights):
    return sum(weights[:, i : i + 1] * token for i, token in enumerate(tokens))
