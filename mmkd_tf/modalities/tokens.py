"""Layers for encoders that give tokens, such as words and patches, beside a feature vector."""

import keras
from keras import layers, ops


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
