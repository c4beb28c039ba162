"""Text: strings -> token ids -> word embeddings -> a feature vector by an LSTM."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mmkd_tf.edge.tokenizer import (
    FOLD,
    PAD_ID,
    SEPARATORS,
    SINGLES,
    UNKNOWN_ID,
    Tokenizer,
    build_vocabulary,
    character_class,
    split_words,
)
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.tokens import SummaryAndTokens, WordPresence

_RE2_ESCAPE = r"\x{{{:X}}}"
_SEPARATOR = character_class(SEPARATORS, _RE2_ESCAPE) + "+"
_SINGLE = "(" + character_class(SINGLES, _RE2_ESCAPE) + ")"
_FOLDED = np.arange(max(FOLD) + 1, dtype=np.int32)
_FOLDED[list(FOLD)] = list(FOLD.values())

LONGEST_AUTOMATIC_LENGTH = 32
TOKENISED_AT_ONCE = 4096


class Text:
    """A text as `length` token ids, int32, filled with 0 on the right.

    Args:
        vocabulary: Words in the order of their ids, beginning with `<pad>` and `<unk>`;
            see `mmkd_tf.edge.tokenizer.build_vocabulary`.
        length: Number of ids a text becomes.

    Examples:
        >>> text = Text(["<pad>", "<unk>", "red", "cup"], length=4)
        >>> text.to_tensor(["A red CUP"]).numpy().tolist()
        [[1, 2, 3, 0]]
    """

    name = "text"

    def __init__(self, vocabulary: Sequence[str], length: int):
        self.tokenizer = Tokenizer(vocabulary, length)
        self.vocabulary = self.tokenizer.vocabulary
        self.length = length
        words = self.vocabulary[2:] or ["<unk>"]  # a table of nothing can't be made
        ids = np.arange(2, 2 + len(words)) if self.vocabulary[2:] else [UNKNOWN_ID]
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, tf.constant(ids, tf.int32)), UNKNOWN_ID
        )

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], *, vocabulary_size: int = 2000, length: int | None = None
    ) -> "Text":
        """Learns vocabulary and length from the training texts.

        Args:
            texts: Texts of the training split only.
            vocabulary_size: Largest number of vocabulary entries.
            length: Number of ids; by default what 99 % of the texts need, at most 32.
        """
        if length is None:
            counts = [len(split_words(text)) for text in texts]
            length = int(np.clip(np.ceil(np.quantile(counts, 0.99)), 1, LONGEST_AUTOMATIC_LENGTH))
        return cls(build_vocabulary(texts, max_size=vocabulary_size), length)

    def to_tensor(self, raw) -> tf.Tensor:
        """Tokenises a batch of UTF-8 strings, shape `[batch]`, to int32 ids `[batch, length]`.

        Gives the ids of `mmkd_tf.edge.tokenizer.Tokenizer`, in a TensorFlow graph.
        """
        code_points = tf.strings.unicode_decode(raw, "UTF-8", errors="replace")
        folded = tf.gather(_FOLDED, tf.minimum(code_points.flat_values, len(_FOLDED) - 1))
        folded = tf.where(code_points.flat_values < len(_FOLDED), folded, code_points.flat_values)
        texts = tf.strings.unicode_encode(code_points.with_flat_values(folded), "UTF-8")
        texts = tf.strings.regex_replace(texts, _SEPARATOR, " ")
        texts = tf.strings.regex_replace(texts, _SINGLE, r" \1 ")
        words = tf.strings.split(texts)[:, : self.length]
        ids = words.with_flat_values(self.table.lookup(words.flat_values))
        return ids.to_tensor(PAD_ID, shape=[None, self.length])

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor, rate: float = 0.15) -> tf.Tensor:
        """Makes words unknown at random, as rare words will be later.

        Args:
            batch: int32 `[batch, length]`.
            seeds: int32 `[batch, 2]`.
            rate: Share of the words to replace, 0 to 1.
        """
        replaced = (uniform_draws(seeds, self.length) < rate) & (batch != PAD_ID)
        return tf.where(replaced, UNKNOWN_ID, batch)

    def input(self) -> keras.KerasTensor:
        """Makes the input `text`: int32 `[batch, length]`."""
        return keras.Input([self.length], dtype="int32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Embedding 256 and LSTM 128: features `[batch, 128]`."""
        return layers.LSTM(128, name="text_features")(self._embed(inputs, 256, dropout=0.3))

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Embedding 12 and LSTM 32: features `[batch, 32]`.

        The embedding is 21 times narrower than the teacher's, so that the student stays 20
        times smaller however large the vocabulary is.
        """
        return layers.LSTM(32, name="text_features")(self._embed(inputs, 12))

    def teacher_tokens(self, inputs: keras.KerasTensor, presence: keras.KerasTensor):
        """The same, and the LSTM's output after each word."""
        return _words(self._embed(inputs, 256, dropout=0.3), 128, inputs, presence)

    def student_tokens(self, inputs: keras.KerasTensor, presence: keras.KerasTensor):
        """The same, and the LSTM's output after each word."""
        return _words(self._embed(inputs, 12), 32, inputs, presence)

    def _embed(self, inputs, dim, *, dropout=0.0):
        size = len(self.vocabulary)
        x = layers.Embedding(size, dim, mask_zero=True, name="text_words")(inputs)
        return layers.Dropout(dropout, name="text_dropout")(x) if dropout else x

    def describe(self) -> str:
        """Says what the tensor holds."""
        return f"{self.length} token ids out of {len(self.vocabulary):,} words"


def _words(embedded, units, ids, presence):
    """The LSTM's last state as the features, its outputs as the words, and which are there."""
    lstm = layers.LSTM(units, return_sequences=True, return_state=True, name="text_lstm")
    outputs, state, _ = lstm(embedded)
    features = layers.Activation("linear", name="text_features")(state)
    tokens = SummaryAndTokens(name="text_tokens")(features, outputs)
    return tokens, WordPresence(name="text_token_presence")(presence, ids)
