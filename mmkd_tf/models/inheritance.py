"""Inheritance: a student that begins with parts of the pretrained encoders of its teacher."""

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

WORD_SPREAD = 0.3  # standard deviation of the word vectors' numbers


@dataclass(frozen=True)
class Inheritance:
    """How much a student takes over.

    Attributes:
        blocks: Of pictures, how many of the encoder's first blocks.
        words: Of texts, how many words of the encoder's vocabulary beside those of training.
        word_dim: Of texts, numbers that stand for a word.
    """

    blocks: int
    words: int
    word_dim: int


# Sizes of files: at most 80, 300 and 1,024 KiB with labels and words.
SIZES = {
    "tiny": Inheritance(blocks=2, words=1_000, word_dim=12),
    "small": Inheritance(blocks=5, words=6_000, word_dim=16),
    "medium": Inheritance(blocks=8, words=20_000, word_dim=32),
}


def inherited_picture(
    image: Image, encoder: Encoder, size: Inheritance, *, seed: int
) -> tuple[Image, keras.Model]:
    """Gives a picture and its encoder: the backbone's first blocks, with their weights.

    The encoder maps uint8 `[batch, height, width, 3]` to `[batch, rows, columns, channels]`.
    """
    blocks = min(size.blocks, encoder.block_count)
    name = f"{image.name}_inherited"
    return image, encoder.first_blocks(blocks, height=image.height, width=image.width, name=name)


def inherited_text(
    text: Text, encoder: Encoder, size: Inheritance, *, seed: int
) -> tuple[Text, keras.Model]:
    """Gives a text of more words and its encoder, an LSTM over vectors that the backbone taught.

    The vocabulary is that of training and the backbone's most frequent whole words; the vector of
    a word is what the backbone says of the word alone, reduced to its principal components. The
    encoder maps int32 `[batch, length]` to `[batch, 32]`.

    References:
        Tulkens, van Dongen: Model2Vec: Fast State-of-the-Art Static Embeddings, 2024 (word
        vectors as reduced outputs of an encoder for single words).
    """
    known = set(text.vocabulary)
    extra = [word for word in encoder.words() if word not in known][: size.words]
    longer = Text(text.name, vocabulary=[*text.vocabulary, *extra], length=text.length)
    vectors = word_vectors(encoder, longer.vocabulary, size.word_dim)
    ids = keras.Input([text.length], dtype="int32", name=text.name)
    embedding = layers.Embedding(*vectors.shape, mask_zero=True, name=f"{text.name}_words")
    dropped = layers.Dropout(0.2, seed=seed, name=f"{text.name}_dropout")(embedding(ids))
    # Draws of its own, so that two students begin alike.
    draws = {
        f"{part}_initializer": keras.initializers.get({"class_name": kind, "config": {"seed": seed}})
        for part, kind in (("kernel", "GlorotUniform"), ("recurrent", "OrthogonalInitializer"))
    }
    features = layers.LSTM(32, name=f"{text.name}_lstm", **draws)(dropped)
    embedding.set_weights([vectors])
    return longer, keras.Model(ids, features, name=f"{text.name}_inherited")


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
    features = encoder.features([words[row] for row in rows])
    features = features - features.mean(0)
    # The covariance is small where the features are many.
    _, axes = np.linalg.eigh(features.T @ features)
    reduced = features @ axes[:, ::-1][:, :dim]
    vectors[rows, : reduced.shape[1]] = reduced * (WORD_SPREAD / max(reduced.std(), 1e-6))
    return vectors


INHERITED: dict[str, Callable[..., tuple[Modality, keras.Model]]] = {
    "image": inherited_picture,
    "text": inherited_text,
}


def inherit(
    modalities: Mapping[str, Modality],
    encoders: Mapping[str, Encoder],
    size: Inheritance,
    *,
    seed: int,
) -> tuple[dict[str, Modality], dict[str, keras.Model]]:
    """Makes a student's inputs and their encoders of pretrained ones.

    Args:
        modalities: The student's forms of the inputs, by name.
        encoders: By name of an input, a loaded backbone; inputs that are not named, or whose kind
            has nothing to inherit, stay as they are.
        size: How much is taken over.
        seed: Seed of the weights that are not inherited.

    Returns:
        The inputs as the student reads them, and by name the models for `build_student`'s
        `encoders`.
    """
    read, made = dict(modalities), {}
    for name, encoder in encoders.items():
        inherited = INHERITED.get(modalities[name].kind)
        if inherited is not None:
            read[name], made[name] = inherited(modalities[name], encoder, size, seed=seed)
    return read, made
