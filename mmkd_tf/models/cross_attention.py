"""Fusion by a small transformer in which the tokens of each modality ask those of the others."""

import math

import keras
from keras import layers, ops

from mmkd_tf.models.fusion import Fusion, check, dense, masked_softmax, projections, seed_of


@keras.saving.register_keras_serializable("mmkd_tf")
class CrossAttention(Fusion):
    """Lets the tokens of each modality, such as patches and words, ask those of the others.

    Tokens are projected to `fused_dim` and get a learned position of their modality. One
    transformer block, shared by all modalities, normalises before each step:
    `x_m += attend(queries from x_m, keys and values from the x of all others)`, then
    `x_m += mlp(x_m)`. At last `fused = sum_t w_t * x_t` over the tokens of all modalities, `w` a
    softmax of a learned score over those that are there. Tokens that are absent are neither
    asked nor added; where all others are absent, attention adds nothing.

    Features may be `[batch, tokens, dim]` with presence `[batch, tokens]`, or `[batch, 1]` if all
    tokens of an example are there or absent together; `[batch, dim]` is one token.

    Args:
        fused_dim: Width of the tokens and of the result.
        num_heads: Number of attention heads; they share `fused_dim` evenly.
        seed: Seed of the initial weights.

    References:
        Vaswani and others: Attention Is All You Need, 2017 (scaled dot products, heads).
        Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov: Multimodal Transformer for Unaligned
        Multimodal Language Sequences, 2019 (one modality's queries, another's keys and values).
    """

    takes_tokens = True
    has_weights = True

    def __init__(
        self, fused_dim: int = 128, *, num_heads: int = 4, seed: int | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, num_heads=num_heads, seed=seed)
        if fused_dim % num_heads:
            raise ValueError(
                "`fused_dim`: a multiple of `num_heads`. "
                f"Received: fused_dim={fused_dim}, num_heads={num_heads}."
            )

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        self.projections = projections(self, features_shape)
        index, dim = len(features_shape), self.fused_dim
        self.positions = {}
        for name in sorted(features_shape):
            shape = (math.prod(features_shape[name][1:-1]), dim)
            initializer = keras.initializers.RandomNormal(stddev=0.1, seed=seed_of(self, index))
            self.positions[name] = self.add_weight(
                name=f"{name}_positions", shape=shape, initializer=initializer
            )
            index += 1
        for name, taken, units, kwargs in (
            ("query", dim, dim, {}),
            ("key", dim, dim, {"use_bias": False}),  # would add the same to all scores of a query
            ("value", dim, dim, {}),
            ("answer", dim, dim, {"use_bias": False}),  # nothing asked must add nothing
            ("mlp_hidden", dim, 2 * dim, {"activation": "relu"}),
            ("mlp", 2 * dim, dim, {}),
            ("score", dim, 1, {"use_bias": False}),
        ):
            setattr(self, name, dense(self, units, index, (None, taken), name=name, **kwargs))
            index += 1
        for name in ("attention_norm", "mlp_norm", "score_norm"):
            norm = layers.LayerNormalization(name=name, dtype=self.dtype_policy)
            norm.build((None, None, dim))
            setattr(self, name, norm)

    def call(self, features, presence):
        there = _by_token(features, presence)
        tokens = self._tokens(features, there)
        weights = ops.cast(self._weights(tokens, there), self.compute_dtype)
        return ops.sum(weights[:, :, None] * _joined(tokens), axis=1)

    def modality_weights(self, features, presence):
        """Sums of the weights `w` of each modality's tokens."""
        there = _by_token(features, presence)
        weights = self._weights(self._tokens(features, there), there)
        sums, start = [], 0
        for name in sorted(there):
            end = start + there[name].shape[1]
            sums.append(ops.sum(weights[:, start:end], axis=1, keepdims=True))
            start = end
        return ops.concatenate(sums, axis=1)

    def _tokens(self, features, there):
        """What each modality's tokens are after the block."""
        tokens = {}
        for name, values in features.items():
            values = ops.reshape(values, (-1, there[name].shape[1], values.shape[-1]))
            projected = self.projections[name](values)
            tokens[name] = projected + ops.cast(self.positions[name], projected.dtype)
        normal = {name: self.attention_norm(values) for name, values in tokens.items()}
        answered = {}
        for name, values in tokens.items():
            others = {other: normal[other] for other in normal if other != name}
            if others:
                values = values + self._attend(
                    normal[name], _joined(others), _joined(there, others)
                )
            answered[name] = values + self.mlp(self.mlp_hidden(self.mlp_norm(values)))
        return answered

    def _attend(self, asking, asked, there):
        """`[batch, asking, dim]` out of `[batch, asked, dim]`, of which `there` says which are."""
        query, key = self._heads(self.query(asking)), self._heads(self.key(asked))
        scale = (self.fused_dim // self.num_heads) ** -0.5
        scores = ops.matmul(query * scale, ops.transpose(key, (0, 1, 3, 2)))
        weights = ops.cast(masked_softmax(scores, there[:, None, None, :]), self.compute_dtype)
        answers = ops.matmul(weights, self._heads(self.value(asked)))
        answers = ops.transpose(answers, (0, 2, 1, 3))
        return self.answer(ops.reshape(answers, (-1, asking.shape[1], self.fused_dim)))

    def _heads(self, tokens):
        """`[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`."""
        sizes = (-1, tokens.shape[1], self.num_heads, self.fused_dim // self.num_heads)
        return ops.transpose(ops.reshape(tokens, sizes), (0, 2, 1, 3))

    def _weights(self, tokens, there):
        """float32 `[batch, tokens of all modalities]`."""
        scores = self.score(self.score_norm(_joined(tokens)))
        return masked_softmax(ops.squeeze(scores, axis=-1), _joined(there))


def _by_token(features, presence):
    """Presence of each token: `[batch, tokens]` by modality, 1 token for `[batch, dim]`."""
    there = {}
    for name, values in features.items():
        count = values.shape[1] if len(values.shape) == 3 else 1
        one_for_all = presence[name].shape[1] == 1
        there[name] = ops.tile(presence[name], (1, count)) if one_for_all else presence[name]
    return there


def _joined(parts, names=None):
    """Tokens of several modalities in alphabetical order of the modalities' names."""
    return ops.concatenate([parts[name] for name in sorted(names or parts)], axis=1)
