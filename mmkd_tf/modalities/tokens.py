"""Layers for encoders of several parts: words, patches, pictures, some of them absent."""

from typing import Literal

import keras
from keras import layers, ops

Pool = Literal["mean", "max", "attention"]
_MOST_SCORE = 5.0  # of attention: no weight is more than 22,000 times another


@keras.saving.register_keras_serializable("mmkd_tf")
class SummaryAndTokens(layers.Layer):
    """Sets a modality's feature vector in front of its tokens, as one token more.

    Takes `[batch, dim]` and `[batch, tokens, dim]`, gives `[batch, 1 + tokens, dim]`. A mask of
    the tokens ends here: what is there, the presence says.
    """

    supports_masking = True

    def call(self, summary, tokens):
        return ops.concatenate([summary[:, None], tokens], axis=1)

    def compute_mask(self, summary, previous_mask=None):
        return None


@keras.saving.register_keras_serializable("mmkd_tf")
class WordPresence(layers.Layer):
    """Tells which tokens of a text are there: the summary if the text is, and all but padding.

    Takes the text's presence `[batch, 1]` and its ids, int `[batch, length]`, 0 for padding;
    gives float `[batch, 1 + length]`.
    """

    def call(self, presence, ids):
        words = ops.cast(ops.not_equal(ids, 0), self.compute_dtype)
        return ops.concatenate([presence, words], axis=1)


@keras.saving.register_keras_serializable("mmkd_tf")
class WordMask(layers.Layer):
    """Makes zeros of the vectors of padding.

    Takes vectors `[batch, length, dim]` and the ids that they stand for, int `[batch, length]`.
    """

    def call(self, vectors, ids):
        return vectors * ops.cast(ops.not_equal(ids, 0), vectors.dtype)[:, :, None]


@keras.saving.register_keras_serializable("mmkd_tf")
class Pooling(layers.Layer):
    """Makes one vector of those that are there; their number and order do not matter.

    Takes vectors, float `[batch, number, dim]`, and what of them is there: `[batch, number]` of any
    type, 0 where it is absent. Gives float `[batch, dim]`, zeros where nothing is there.

    Args:
        pool: "mean"; "max", the largest of each number; or "attention", a mean with learnt
            weights, `softmax(5 tanh(w x))`, which begins as the mean.

    References:
        Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, 2018 (attention,
        there with a layer more and without a bound of the scores).
    """

    def __init__(self, pool: Pool = "mean", **kwargs):
        if pool not in ("mean", "max", "attention"):
            raise ValueError(f"`pool`: mean, max or attention. Received: pool={pool!r}.")
        super().__init__(**kwargs)
        self.pool = pool

    def build(self, vectors_shape, there_shape):
        if self.pool == "attention":
            shape = [vectors_shape[-1], 1]
            self.scores = self.add_weight(shape=shape, initializer="zeros", name="scores")

    def call(self, vectors, there):
        there = ops.cast(ops.not_equal(there, 0), vectors.dtype)[:, :, None]
        if self.pool == "max":
            # Above the least of all, absent ones being 0: no large numbers, which integers of few
            # bits could not hold beside the others.
            least = ops.min(vectors * there, axis=1, keepdims=True)
            largest = ops.max((vectors - least) * there, axis=1) + least[:, 0]
            return largest * ops.max(there, axis=1)
        if self.pool == "attention":
            there = there * ops.exp(_MOST_SCORE * ops.tanh(ops.matmul(vectors, self.scores)))
        # One that is there weighs more than 1/200.
        return ops.sum(vectors * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1e-3)

    def get_config(self):
        return {**super().get_config(), "pool": self.pool}
