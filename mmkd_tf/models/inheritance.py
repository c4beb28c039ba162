"""Inheritance: a student that begins with parts of the pretrained encoders of its teacher."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from keras import layers

from mmkd_tf.backbones.encoder import Encoder, PictureEncoder, TextEncoder
from mmkd_tf.backbones.feature_files import kept_features
from mmkd_tf.backbones.word_lists import common_words, in_turn
from mmkd_tf.edge.tokenizer import PAD_ID, UNKNOWN_ID
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.image_set import ImageSet
from mmkd_tf.modalities.modality import Modality

LEAST_PIXELS = 32  # of a picture's side
WORD_SPREAD = 0.3  # standard deviation of the word vectors' numbers
MOST_CANDIDATES = 40_000  # words of an encoder that are asked what they say


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
    "small": Inheritance(held=4, blocks=6, words=9_500, word_dim=16),
    "medium": Inheritance(held=5, blocks=8, words=28_000, word_dim=32),
}
# What an exported file takes at most, KiB, labels and words inside, at level `dynamic4`.
LARGEST_FILES = {"tiny": 80, "small": 300, "medium": 1_024}


@dataclass(frozen=True)
class Probe:
    """A linear model of the labels on an encoder's features: what in these the task asks for.

    Attributes:
        mean: Of the features, float `[dim]`.
        weights: float `[dim, num_outputs]`.
    """

    mean: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """How far each output is from its mean, float `[n, num_outputs]`."""
        return (features - self.mean) @ self.weights


def linear_probe(features: np.ndarray, targets: np.ndarray) -> Probe | None:
    """Fits a probe by ridge regression, as strong as the features' mean variance.

    Args:
        features: Of training examples, float `[n, dim]`; rows of zeros, of examples without the
            input, are left out.
        targets: Of the same, float `[n, num_outputs]`: ones and zeros by class, or numbers.

    Returns:
        The probe; None where there are fewer than two rows, or the targets are all the same.
    """
    there = features.any(axis=1)
    if there.sum() < 2:
        return None
    features, targets = features[there].astype(float), targets[there].astype(float)
    mean = features.mean(0)
    features, targets = features - mean, targets - targets.mean(0)
    targets = targets / max(targets.std(), 1e-12)
    if not targets.any():
        return None
    covariance = features.T @ features
    ridge = np.eye(len(covariance)) * max(np.trace(covariance) / len(covariance), 1e-12)
    return Probe(mean, np.linalg.solve(covariance + ridge, features.T @ targets))


@dataclass(frozen=True)
class Source:
    """What a student inherits from for one input.

    Attributes:
        encoder: A loaded backbone.
        probe: Of texts, what the task asks of the encoder's features; None where nothing is known
            of it, and words are taken by frequency.
        folder: Where features of words are kept; None keeps none.
        most_frequent: So many words at most are taken, the most frequent, whatever they say; None
            asks `MOST_CANDIDATES` words, and takes as many as there is room for.
    """

    encoder: Encoder
    probe: Probe | None = None
    folder: Path | None = None
    most_frequent: int | None = None

    def features(self, words: Sequence[str]) -> np.ndarray:
        """What the encoder says of single words: float32 `[len(words), dim]`."""
        known = _asked(self.encoder)
        new = [word for word in dict.fromkeys(words) if word not in known]
        if new:
            keys = [word.encode() for word in new]
            known |= zip(new, kept_features(self.encoder, new, keys, self.folder), strict=True)
        return np.stack([known[word] for word in words])

    def words(self, known: Sequence[str], number: int) -> list[str]:
        """Gives words beside the known ones, in the order of the alphabet.

        Candidates are the most frequent words of the languages of the known ones and of the
        encoder's vocabulary in turn; those are taken that say most of some output,
        by the probe. Words with letters that no known word has are left out.
        """
        there, letters = set(known), set("".join(known))
        limit = self.most_frequent
        most = max(MOST_CANDIDATES, number) if limit is None else min(number, limit)
        candidates = [
            word
            for word in in_turn([common_words(known), cast(TextEncoder, self.encoder).words()])
            if word not in there and letters.issuperset(word)
        ][:most]
        if self.probe is None or len(candidates) <= number:
            return sorted(candidates[:number])
        says = np.abs(self.probe(self.features(candidates))).max(axis=1)
        return sorted(candidates[row] for row in np.argsort(-says, kind="stable")[:number])


@functools.lru_cache(maxsize=2)
def _asked(encoder: Encoder) -> dict[str, np.ndarray]:
    """What an encoder has said of words in this process: they are chosen first, then reduced."""
    return {}


def picture_encoder(
    image: Image | ImageSet, source: Source, size: Inheritance, *, seed: int
) -> list[keras.Model]:
    """Gives two models, one after the other: blocks that stay as they are, and those above.

    They map uint8 `[batch, height, width, 3]` to `[batch, rows, columns, channels]`; of a set of
    pictures each of them, and a third one pools what they become. Batch normalisation keeps the
    statistics that it was pretrained with: those of a few small batches are worse, and cost half of
    a step's time.
    """
    encoder = cast(PictureEncoder, source.encoder)
    blocks = min(size.blocks, encoder.block_count)
    shape = {"height": image.height, "width": image.width}
    held = encoder.first_blocks(min(size.held, blocks), **shape, name=f"{image.name}_held")
    held.trainable = False
    if blocks <= size.held:
        return _of_kind(image, [held])
    name = f"{image.name}_inherited"
    whole = encoder.first_blocks(blocks, **shape, name=name)
    for layer in whole.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    last = whole.get_layer(held.layers[-1].name.replace(held.name, name))
    return _of_kind(image, [held, keras.Model(last.output, whole.output, name=name)])


def _of_kind(image: Image | ImageSet, parts: list[keras.Model]) -> list[keras.Model]:
    return image.over_pictures(parts) if isinstance(image, ImageSet) else parts


def text_encoder(
    text: Modality, source: Source, size: Inheritance, *, seed: int
) -> list[keras.Model]:
    """Gives what reads words over word vectors that the encoder taught.

    The vector of a word is what the encoder says of the word alone, reduced; see `word_vectors`.
    The model maps int32 `[batch, length]` to `[batch, 32]`.

    References:
        Tulkens, van Dongen: Model2Vec: Fast State-of-the-Art Static Embeddings, 2024 (word
        vectors as reduced outputs of an encoder for single words).
    """
    vectors = word_vectors(source, text.vocabulary, size.word_dim)
    ids = keras.Input([text.length], dtype="int32", name=text.name)
    embedding = text.embedding(size.word_dim)
    dropped = layers.Dropout(0.2, seed=seed, name=f"{text.name}_dropout")(embedding(ids))
    features = text.read_words(dropped, ids, 32, name=f"{text.name}_reader", seed=seed)
    embedding.set_weights([vectors])
    return [keras.Model(ids, features, name=f"{text.name}_inherited")]


def word_vectors(source: Source, words: Sequence[str], dim: int) -> np.ndarray:
    """Reduces an encoder's features of single words.

    Up to half of the numbers are what the probe answers of the word, the others the principal
    components of its features.

    Args:
        source: What is inherited from, with a probe or without.
        words: A vocabulary, beginning with `<pad>` and `<unk>`, which get zeros.
        dim: Numbers for a word; those that neither gives are zeros.

    Returns:
        float32 `[len(words), dim]`, with a standard deviation of `WORD_SPREAD`.
    """
    vectors = np.zeros([len(words), dim], np.float32)
    rows = [row for row in range(len(words)) if row not in (PAD_ID, UNKNOWN_ID)]
    if not rows:
        return vectors
    features = source.features([words[row] for row in rows])
    parts = [] if source.probe is None else [_reduced(source.probe(features), dim // 2)]
    taken = sum(part.shape[1] for part in parts)
    parts.append(_reduced(features, dim - taken))
    found = np.concatenate(parts, axis=1)
    vectors[rows, : found.shape[1]] = WORD_SPREAD * found
    return vectors


def _reduced(values: np.ndarray, dim: int) -> np.ndarray:
    """The first principal components that vary, `[n, at most dim]`, of deviation 1 together."""
    values = values - values.mean(0)
    # The covariance is small where the values are many.
    spread, axes = np.linalg.eigh(values.T @ values)
    varying = int((spread > 1e-9 * max(spread.max(), 1e-30)).sum())
    reduced = values @ axes[:, ::-1][:, : min(dim, varying)]
    return reduced / max(reduced.std(), 1e-6) if reduced.size else reduced


def gives_parts(modality: Modality, encoder: Encoder) -> bool:
    """Whether a student inherits: words, and blocks that are known for pictures large enough."""
    return _maker(modality, encoder) is not None


def _maker(modality: Modality, encoder: Encoder) -> Callable | None:
    """What makes a student's encoder of this one, for kinds of any name; None if nothing does."""
    if modality.takes_utf8:
        return text_encoder
    picture: Any = modality  # an encoder with blocks reads nothing else
    if encoder.block_count and min(picture.height, picture.width) >= LEAST_PIXELS:
        return picture_encoder
    return None


def inherited_forms(
    modalities: Mapping[str, Modality], sources: Mapping[str, Source], size: Inheritance
) -> dict[str, Modality]:
    """Gives the inputs that a student must read otherwise to inherit, by name: texts."""
    texts = {n: modalities[n] for n in sources if modalities[n].takes_utf8}
    return {
        name: text.with_words(sources[name].words(text.vocabulary, size.words))
        for name, text in texts.items()
    }


def inherited_encoders(
    modalities: Mapping[str, Modality],
    sources: Mapping[str, Source],
    size: Inheritance,
    *,
    seed: int,
) -> dict[str, list[keras.Model]]:
    """Makes a student's encoders of pretrained ones.

    Args:
        modalities: The student's forms of the inputs by name, see `inherited_forms`.
        sources: By name of an input; of inputs that are not named, or whose kind has nothing to
            inherit, the student keeps its own encoders.
        size: How much is taken over.
        seed: Seed of the weights that are not inherited.

    Returns:
        By name, models for `build_student`'s `encoders`.
    """
    makers = {name: _maker(modalities[name], of.encoder) for name, of in sources.items()}
    return {
        name: make(modalities[name], sources[name], size, seed=seed)
        for name, make in makers.items()
        if make is not None
    }
