"""Text: strings -> token ids -> word embeddings -> a feature vector, by an LSTM or another form."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from pydantic import Field

from mmkd_tf.edge.tokenizer import (
    FOLD,
    PAD_ID,
    SEPARATORS,
    SINGLES,
    TOKENIZER_RULES,
    UNKNOWN_ID,
    Tokenizer,
    build_vocabulary,
    character_class,
    split_words,
)
from mmkd_tf.modalities.cells import plain_text, quote
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.modality import InputOptions, Modality, StudentOptions, checked_changes
from mmkd_tf.modalities.text_damage import DAMAGES
from mmkd_tf.modalities.tokens import Pool, Pooling, SummaryAndTokens, WordMask, WordPresence

_RE2_ESCAPE = r"\x{{{:X}}}"
_SEPARATOR = character_class(SEPARATORS, _RE2_ESCAPE) + "+"
_SINGLE = "(" + character_class(SINGLES, _RE2_ESCAPE) + ")"
_FOLDED = np.arange(max(FOLD) + 1, dtype=np.int32)
_FOLDED[list(FOLD)] = list(FOLD.values())

LONGEST_AUTOMATIC_LENGTH = 32
LONGEST_WITHOUT_LSTM = 256
LONGEST_TEXT = 100_000  # characters of a cell
_SHOWN = 160  # characters, in a report
VOCABULARY_FILE = "vocab.txt"
Form = Literal["lstm", "convolution", "average"]
LONG_FORM: Form = "average"
# Without an LSTM: how many words a convolution reads at a time, and how it is pooled.
_FORMS: dict[str, tuple[int, Pool]] = {"convolution": (5, "max"), "average": (1, "mean")}


class StudentTextOptions(StudentOptions):
    """What is different for the students."""

    length: int | None = Field(
        None, ge=1, le=1024, description="Words of a text that the students read."
    )
    vocabulary_size: int | None = Field(
        None, ge=3, le=1_000_000, description="Most words kept for the students."
    )


class TextOptions(InputOptions):
    """What settings say of a text."""

    kind: Literal["text"] = "text"
    length: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Words of a text that are read; by default what 99 % of them need, at most "
        f"{LONGEST_AUTOMATIC_LENGTH}, or {LONGEST_WITHOUT_LSTM} without an LSTM.",
    )
    encoder: Literal["auto", "lstm", "convolution", "average"] = Field(
        "auto",
        description="What reads the words: an LSTM, which knows their order, a convolution over "
        "five at a time, or an average, which are quick for long texts; auto takes an LSTM where "
        f"99 % of the texts have at most {LONGEST_AUTOMATIC_LENGTH} words.",
    )
    vocabulary_size: int = Field(2000, ge=3, le=1_000_000, description="Most words kept.")
    student: StudentTextOptions = StudentTextOptions()


class Text(Modality[Sequence[str], TextOptions]):
    """A text as `length` token ids, int32, filled with 0 on the right. Raw values are strings.

    Args:
        name: Name of the input.
        vocabulary: Words in the order of their ids, beginning with `<pad>` and `<unk>`; see
            `mmkd_tf.edge.tokenizer.build_vocabulary`. None where it is not known, as of a model
            from elsewhere: then texts can't be read.
        length: Number of ids a text becomes.
        encoder: What reads the words: "lstm", its last state; "convolution", over five words, each
            filter by the word where it says most; "average", the mean of what each word alone
            becomes. Padding counts in none of them.

    References:
        Kim: Convolutional Neural Networks for Sentence Classification, 2014 (convolution). Iyyer,
        Manjunatha, Boyd-Graber, Daume: Deep Unordered Composition Rivals Syntactic Methods for
        Text Classification, 2015 (average).

    Examples:
        >>> text = Text(vocabulary=["<pad>", "<unk>", "red", "cup"], length=4)
        >>> text.to_tensor(["A red CUP"]).numpy().tolist()
        [[1, 2, 3, 0]]
    """

    kind = "text"
    Options = TextOptions
    noun = "text"
    form = "[batch, length]"
    keeps_raw = takes_utf8 = True
    damages = DAMAGES
    limits = "A text is read up to its first words."
    example = '"a few words"'

    def __init__(
        self,
        name: str = "text",
        *,
        vocabulary: Sequence[str] | None,
        length: int,
        encoder: Form = "lstm",
    ):
        self.name = name
        self.length = length
        self.encoder = encoder
        if encoder not in ("lstm", *_FORMS):
            forms = ", ".join(_FORMS)
            raise ValueError(f"`encoder`: lstm or one of {forms}. Received: encoder={encoder!r}.")
        self.vocabulary = None
        if vocabulary is None:
            return
        self.tokenizer = Tokenizer(vocabulary, length)
        self.vocabulary = self.tokenizer.vocabulary
        words = self.vocabulary[2:] or ["<unk>"]  # a table of nothing can't be made
        ids = np.arange(2, 2 + len(words)) if self.vocabulary[2:] else [UNKNOWN_ID]
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, tf.constant(ids, tf.int32)), UNKNOWN_ID
        )

    def __reduce__(self):
        """Pickles it without its table, which is TensorFlow's and is made again."""
        given = {"vocabulary": self.vocabulary, "length": self.length, "encoder": self.encoder}
        return functools.partial(Text, self.name, **given), (), {"strength": self.strength}

    # Reading raw values.

    @classmethod
    def read(
        cls,
        cells: Iterable,
        options: TextOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[list[str], dict[int, str]]:
        """Gives cells as strings, empty where missing; bytes are UTF-8."""
        texts: list[str] = []
        problems = {}
        for index, cell in enumerate(cells):
            text = ""
            try:
                text = plain_text(cell)
            except ValueError as error:
                problems[index] = f"text: {error}"
            if len(text) > LONGEST_TEXT:
                problems[index] = (
                    f"text: {len(text):,} characters, more than {LONGEST_TEXT:,}; shorten it"
                )
            elif not text.isascii() and text.encode(errors="ignore").decode() != text:
                problems[index] = f"text {quote(text)}: not valid Unicode"
            texts.append(text)
        return texts, problems

    @classmethod
    def absent(cls, values: Sequence[str]) -> np.ndarray:
        return np.array([not split_words(text) for text in values], bool)

    @classmethod
    def content_keys(cls, values: Sequence[str]) -> list[bytes]:
        return [text.encode(errors="surrogatepass") for text in values]

    @classmethod
    def pair_keys(cls, values: Sequence[str]) -> list[bytes]:
        """The words in their order."""
        return cls.content_keys([" ".join(split_words(text)) for text in values])

    @classmethod
    def copy_keys(cls, values: Sequence[str]) -> np.ndarray:
        """Case, punctuation and spaces do not tell texts apart."""
        return super().copy_keys([" ".join(split_words(text.casefold())) for text in values])

    @classmethod
    def fit(cls, name: str, values: Sequence[str], options: TextOptions) -> Self:
        """Learns vocabulary, length and encoder from the training texts, where they are not set."""
        counts = [len(split_words(text)) for text in values] or [0]
        most = options.length or LONGEST_WITHOUT_LSTM
        needed = int(np.clip(np.ceil(np.quantile(counts, 0.99)), 1, most))
        encoder: Form = "lstm" if needed <= LONGEST_AUTOMATIC_LENGTH else LONG_FORM
        if options.encoder != "auto":
            encoder = options.encoder
        if encoder == "lstm":
            needed = min(needed, LONGEST_AUTOMATIC_LENGTH)
        length = options.length or needed
        vocabulary = build_vocabulary(values, max_size=options.vocabulary_size)
        return cls(name, vocabulary=vocabulary, length=length, encoder=encoder)

    def for_student(self, values: Sequence[str], **changes: Any) -> "Text | None":
        changes = checked_changes(self.name, TextOptions, student=changes)
        length, words = changes.get("length", self.length), self.vocabulary
        if "vocabulary_size" in changes:
            words = build_vocabulary(values, max_size=changes["vocabulary_size"])
        if (words, length) == (self.vocabulary, self.length):
            return None
        return Text(self.name, vocabulary=words, length=length, encoder=self.encoder)

    def with_words(self, words: Sequence[str]) -> Self:
        """Makes the same input with more words, whose ids come behind those that there are."""
        all_words = [*self.vocabulary, *words]
        return type(self)(self.name, vocabulary=all_words, length=self.length, encoder=self.encoder)

    @classmethod
    def fits_feature(cls, connector) -> bool:
        return connector.shape == () and connector.np_dtype in (np.str_, np.object_, np.bytes_)

    # Tensors.

    def to_tensor(self, raw) -> tf.Tensor:
        """The ids of `mmkd_tf.edge.tokenizer.Tokenizer`, int32 `[batch, length]`, in a graph."""
        if self.vocabulary is None:
            raise ValueError(
                f"`vocabulary`: the words of the input '{self.name}' in the order of their ids. "
                "Received: none, so texts can't be read."
            )
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
        """Makes a share of the words unknown at random, as rare words will be later.

        It is `rate` times `strength`.
        """
        rate = rate * self.strength
        replaced = (uniform_draws(seeds, self.length) < rate) & (batch != PAD_ID)
        return tf.where(replaced, UNKNOWN_ID, batch)

    def unknown_share(self, tensors: np.ndarray) -> float:
        return float((tensors == UNKNOWN_ID).sum() / max((tensors != PAD_ID).sum(), 1))

    def fingerprint(self) -> bytes:
        return "\n".join(self.vocabulary or ()).encode()

    # Models.

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.length], dtype="int32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Embedding 256, and an LSTM or another form of 128: `[batch, 128]`."""
        words = self._teacher_words(inputs)
        return self.read_words(words, inputs, 128, name=f"{self.name}_features")

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Embedding 12, and an LSTM or another form of 32: `[batch, 32]`.

        The embedding is 21 times narrower than the teacher's, so that the student stays 20
        times smaller however large the vocabulary is.
        """
        words = self._student_words(inputs)
        return self.read_words(words, inputs, 32, name=f"{self.name}_features")

    def teacher_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The features, and what the encoder gives at each word; see `Image.teacher_tokens`."""
        return self._by_word(self._teacher_words(inputs), 128, inputs, presence)

    def student_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return self._by_word(self._student_words(inputs), 32, inputs, presence)

    def embedding(self, dim: int) -> layers.Embedding:
        """The layer that gives each word its numbers."""
        # Only an LSTM asks Keras which words are there.
        masked = self.encoder == "lstm"
        name = f"{self.name}_words"
        return layers.Embedding(len(self.vocabulary), dim, mask_zero=masked, name=name)

    def read_words(
        self,
        words: keras.KerasTensor,
        ids: keras.KerasTensor,
        units: int,
        *,
        name: str,
        seed: int | None = None,
    ) -> keras.KerasTensor:
        """Makes features `[batch, units]` of word vectors `[batch, length, dim]`.

        `ids` are the words' own, `name` is that of the last layer, and `seed` that of first
        weights.
        """
        if self.encoder == "lstm":
            seeds = _seeded(seed, recurrent_initializer=keras.initializers.Orthogonal)
            return layers.LSTM(units, name=name, **seeds)(words)
        outputs, pool = self._read_in_place(words, ids, units, seed)
        return Pooling(pool, name=name)(outputs, ids)

    def _teacher_words(self, inputs):
        return layers.Dropout(0.3, name=f"{self.name}_dropout")(self.embedding(256)(inputs))

    def _student_words(self, inputs):
        return self.embedding(12)(inputs)

    def _read_in_place(self, words, ids, units, seed=None):
        """What a form without an LSTM says at each word, and how that is pooled."""
        width, pool = _FORMS[self.encoder]
        there = WordMask(name=f"{self.name}_mask")(words, ids)
        convolution = layers.Conv1D(
            units,
            width,
            padding="same",
            activation="relu",
            name=f"{self.name}_read",
            **_seeded(seed),
        )
        return convolution(there), pool

    def _by_word(self, embedded, units, ids, presence):
        """The features, what the encoder gives at each word, and which words are there."""
        name = self.name
        if self.encoder == "lstm":
            lstm = layers.LSTM(units, return_sequences=True, return_state=True, name=f"{name}_lstm")
            outputs, state, _ = lstm(embedded)
            features = layers.Activation("linear", name=f"{name}_features")(state)
        else:
            outputs, pool = self._read_in_place(embedded, ids, units)
            features = Pooling(pool, name=f"{name}_features")(outputs, ids)
        tokens = SummaryAndTokens(name=f"{name}_tokens")(features, outputs)
        return tokens, WordPresence(name=f"{name}_token_presence")(presence, ids)

    # Exported files.

    @classmethod
    def of_tensor(cls, tensor: keras.KerasTensor) -> "Text | None":
        """Any input of whole numbers `[batch, length]`, or one called `text`; no vocabulary."""
        shape = tuple(tensor.shape)
        whole_numbers = "int" in tensor.dtype or tensor.name == cls.kind
        if len(shape) != 2 or shape[1] is None or not whole_numbers:
            return None
        return cls(tensor.name, vocabulary=None, length=shape[1])

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        return self.to_tensor(content)

    def encode(self, tensors: np.ndarray) -> list[str]:
        """Writes ids as texts; 1 becomes a word that the vocabulary lacks."""
        words, unknown = self.vocabulary, "x"
        while unknown in words:
            unknown += "x"
        return [
            " ".join(words[i] if i > UNKNOWN_ID else unknown for i in row if i > PAD_ID)
            for row in np.asarray(tensors, np.int64)
        ]

    def file_description(self, dtype: str) -> dict:
        inside = {"encoding": "utf-8", "most_words": self.length}
        encoding = inside if dtype == "uint8" else {}
        return {**encoding, "padding": "0, on the right", "tokenizer_rules": TOKENIZER_RULES}

    def files(self) -> dict[str, str]:
        return {} if self.vocabulary is None else {VOCABULARY_FILE: "\n".join(self.vocabulary)}

    # Words.

    @classmethod
    def missing(cls) -> str:
        return "a text with words"

    def shown(self, value: str) -> dict[str, str]:
        cut = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
        return {"form": "text", "words": cut}

    def describe(self) -> str:
        known = "" if self.vocabulary is None else f" out of {len(self.vocabulary):,} words"
        return f"{self.length} token ids{known}"


def _seeded(seed: int | None, **more: type) -> dict[str, Any]:
    """Arguments of a layer for its first weights by seed; none without a seed."""
    if seed is None:
        return {}
    kinds = {"kernel_initializer": keras.initializers.GlorotUniform, **more}
    return {name: kind(seed=seed) for name, kind in kinds.items()}
