"""Inheritance: a student that begins with parts of the pretrained encoders of its teacher."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.edge.tokenizer import PAD_ID, UNKNOWN_ID
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.modalities.text import Text

LEAST_PIXELS = 32  # of a picture's side
WORD_SPREAD = 0.3  # standard deviation of the word vectors' numbers


@dataclass(frozen=True)
class Inheritance:
    """How much a student takes over.

    Attributes:
        held: Of pictures, how many of the encoder's first blocks stay as they are. They cost the
            most time, so their outputs are computed once; see `mmkd_tf.distill.held`.
        blocks: Of pictures, how many blocks in all; those above are trained on.
        words: Of texts, how many words of the encoder's vocabulary beside those of training.
        word_dim: Of texts, numbers that stand for a word.
    """

    held: int
    blocks: int
    words: int
    word_dim: int


# As many words as the bounds leave room for beside 2,000 of training, with 6 % to spare, for more
# classes and longer words; a word takes some 5 bytes and half a byte for each of its numbers.
SIZES = {
    "tiny": Inheritance(held=2, blocks=2, words=1_500, word_dim=12),
    "small": Inheritance(held=3, blocks=5, words=6_800, word_dim=32),
    "medium": Inheritance(held=3, blocks=8, words=28_000, word_dim=32),
}
# What an exported file takes at most, KiB, labels and words inside, at level `dynamic4`.
LARGEST_FILES = {"tiny": 80, "small": 300, "medium": 1_024}


def inherited_words(text: Text, encoder: Encoder, number: int) -> Text:
    """Gives a text of more words: beside its own the encoder's most frequent ones.

    Words with letters that no word of its own has are of other languages, and left out. Those that
    are added come in the order of the alphabet, which an exported file holds in fewer bytes.
    """
    known, letters = set(text.vocabulary), set("".join(text.vocabulary[2:]))
    extra = [w for w in encoder.words() if w not in known and letters.issuperset(w)][:number]
    return Text(text.name, vocabulary=[*text.vocabulary, *sorted(extra)], length=text.length)


def picture_encoder(
    image: Image, encoder: Encoder, size: Inheritance, *, seed: int
) -> list[keras.Model]:
    """Gives two models, one after the other: blocks that stay as they are, and those above.

    They map uint8 `[batch, height, width, 3]` to `[batch, rows, columns, channels]`.
    """
    blocks = min(size.blocks, encoder.block_count)
    shape = {"height": image.height, "width": image.width}
    held = encoder.first_blocks(min(size.held, blocks), **shape, name=f"{image.name}_held")
    held.trainable = False
    if blocks <= size.held:
        return [held]
    name = f"{image.name}_inherited"
    whole = encoder.first_blocks(blocks, **shape, name=name)
    last = whole.get_layer(held.layers[-1].name.replace(held.name, name))
    return [held, keras.Model(last.output, whole.output, name=name)]


def text_encoder(
    text: Text, encoder: Encoder, size: Inheritance, *, seed: int
) -> list[keras.Model]:
    """Gives an LSTM over word vectors that the encoder taught.

    The vector of a word is what the encoder says of the word alone, reduced to its principal
    components. The model maps int32 `[batch, length]` to `[batch, 32]`.

    References:
        Tulkens, van Dongen: Model2Vec: Fast State-of-the-Art Static Embeddings, 2024 (word
        vectors as reduced outputs of an encoder for single words).
    """
    vectors = word_vectors(encoder, text.vocabulary, size.word_dim)
    ids = keras.Input([text.length], dtype="int32", name=text.name)
    embedding = layers.Embedding(*vectors.shape, mask_zero=True, name=f"{text.name}_words")
    dropped = layers.Dropout(0.2, seed=seed, name=f"{text.name}_dropout")(embedding(ids))
    features = layers.LSTM(
        32,
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed),
        name=f"{text.name}_lstm",
    )(dropped)
    embedding.set_weights([vectors])
    return [keras.Model(ids, features, name=f"{text.name}_inherited")]


def word_vectors(encoder: Encoder, words: list[str], dim: int) -> np.ndarray:
    """Reduces an encoder's features of single words to their principal components.

    Args:
        encoder: A loaded backbone for texts.
        words: A vocabulary, beginning with `<pad>` and `<unk>`, which get zeros.
        dim: Numbers for a word, at most those of the features and of the words.

    Returns:
        float32 `[len(words), dim]`, with a standard deviation of `WORD_SPREAD`.
    """
    vectors = np.zeros([len(words), dim], np.float32)
    rows = [row for row in range(len(words)) if row not in (PAD_ID, UNKNOWN_ID)]
    if not rows:
        return vectors
    features = word_features(encoder, tuple(words[row] for row in rows))
    features = features - features.mean(0)
    # The covariance is small where the features are many.
    _, axes = np.linalg.eigh(features.T @ features)
    reduced = features @ axes[:, ::-1][:, :dim]
    vectors[rows, : reduced.shape[1]] = reduced * (WORD_SPREAD / max(reduced.std(), 1e-6))
    return vectors


@functools.lru_cache(maxsize=4)
def word_features(encoder: Encoder, words: tuple[str, ...]) -> np.ndarray:
    """What an encoder says of single words: float32 `[len(words), dim]`."""
    return encoder.features(words)


def gives_parts(modality: Modality, encoder: Encoder) -> bool:
    """Whether a student inherits: words, and blocks that are known for pictures large enough."""
    if isinstance(modality, Image):
        return encoder.block_count > 0 and min(modality.height, modality.width) >= LEAST_PIXELS
    return isinstance(modality, Text)


def inherited_forms(
    modalities: Mapping[str, Modality], encoders: Mapping[str, Encoder], size: Inheritance
) -> dict[str, Modality]:
    """Gives the inputs that a student must read otherwise to inherit, by name: texts."""
    return {
        name: inherited_words(modalities[name], encoder, size.words)
        for name, encoder in encoders.items()
        if isinstance(modalities[name], Text)
    }


def inherited_encoders(
    modalities: Mapping[str, Modality],
    encoders: Mapping[str, Encoder],
    size: Inheritance,
    *,
    seed: int,
) -> dict[str, list[keras.Model]]:
    """Makes a student's encoders of pretrained ones.

    Args:
        modalities: The student's forms of the inputs by name, see `inherited_forms`.
        encoders: By name of an input, a loaded backbone; of inputs that are not named, or whose
            kind has nothing to inherit, the student keeps its own encoders.
        size: How much is taken over.
        seed: Seed of the weights that are not inherited.

    Returns:
        By name, models for `build_student`'s `encoders`.
    """
    makers: dict[str, Callable] = {Image.kind: picture_encoder, Text.kind: text_encoder}
    return {
        name: makers[modalities[name].kind](modalities[name], encoder, size, seed=seed)
        for name, encoder in encoders.items()
        if gives_parts(modalities[name], encoder)
    }
