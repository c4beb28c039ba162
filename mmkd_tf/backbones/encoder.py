"""Encoder: a loaded backbone, from raw values to features of unit length."""

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.backbones.backbone import Backbone
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.modality import is_absent
from mmkd_tf.modalities.picture_files import resized
from mmkd_tf.progress import steps

# A batch of texts is cut where it would have more tokens: what a token becomes stays in the cache.
MAX_BATCH_TOKENS = 1024


class Encoder(ABC):
    """A loaded backbone. The final classes are `PictureEncoder` and `TextEncoder`.

    Attributes:
        backbone: What it was made of.
        model: Pictures, float32 or uint8 `[batch, size, size, 3]` with values 0 to 255, or token
            ids, int32 `[batch, any length]` with 0 where a text has ended, to float32
            `[batch, dim]` as the network gives it, of any length.
        fingerprint: Hexadecimal digits that change when the weights or what is computed with them
            do, to know stored features by.
        block_count: Number of blocks that `first_blocks` can give, as `PictureEncoder` has it; an
            input that it reads then has `height` and `width`.
    """

    block_count = 0

    def __init__(
        self,
        backbone: Backbone,
        model: keras.Model,
        *,
        version: str,
        top: Sequence[keras.Variable] = (),
    ):
        self.backbone = backbone
        self.model = model
        self._top = list(top)
        self.fingerprint = hashlib.sha256(f"{backbone.name} {version}".encode()).hexdigest()[:16]

    def tunable(self, part: str) -> list[keras.Variable]:
        """Gives the weights that a fine-tuning may change.

        Args:
            part: "top", those of the last blocks, or "all".

        Raises:
            ValueError: If the encoder has none, or there is no such part; says which encoder.
        """
        if part not in ("top", "all"):
            raise ValueError(f"`part`: top or all. Received: part={part!r}.")
        found = self._top
        if part == "all":
            self.model.trainable = True
            found = self.model.trainable_variables
            self.model.trainable = False
        if not found:
            advice = "Take all of it, or leave" if part == "top" else "Leave"
            raise ValueError(
                f"`part`: weights that can be trained on. Received: part='{part}' of "
                f"{self.backbone.name}, of which none are known. {advice} it as it is."
            )
        return list(found)

    def tune(self, part: str, values: Sequence[np.ndarray]) -> None:
        """Gives the weights of `tunable(part)` other values, in that order.

        Features, first blocks and the fingerprint are then those of the new weights: load an
        encoder of its own for it.
        """
        for variable, value in zip(self.tunable(part), values, strict=True):
            variable.assign(value)
        digest = hashlib.sha256(f"{self.fingerprint} {part}".encode())
        for value in values:
            digest.update(np.ascontiguousarray(value).data)
        self.fingerprint = digest.hexdigest()[:16]

    @abstractmethod
    def features(self, values, *, batch_size: int = 32) -> np.ndarray:
        """Encodes raw values.

        Args:
            values: Pictures, uint8 `[n, height, width, 3]` of any one size, or texts.
            batch_size: How many at a time.

        Returns:
            float32 `[n, dim]`, each row of unit length, or zeros where the value is absent.

        Raises:
            TypeError: If the values are of another type.
            ValueError: If they have another shape.
        """


class PictureEncoder(Encoder):
    """A backbone for pictures.

    Args:
        backbone: What it is made of.
        model: See `Encoder`.
        version: Of the weights and the code.
        blocks: Gives the model of `first_blocks`, called with its arguments; None where there is
            no such.
        block_count: Number of its blocks.
        top: Weights of its last blocks, see `tunable`.
    """

    def __init__(
        self,
        backbone: Backbone,
        model: keras.Model,
        *,
        version: str,
        blocks: Callable[..., keras.Model] | None = None,
        block_count: int = 0,
        top: Sequence[keras.Variable] = (),
    ):
        super().__init__(backbone, model, version=version, top=top)
        self.block_count = block_count
        self._blocks = blocks
        size: Any = backbone.size  # pictures have one
        self._apply = tf.function(
            lambda pixels: model(resized(pixels, size, size), training=False),
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
            autograph=False,
        )

    def features(self, values: np.ndarray, *, batch_size: int = 32) -> np.ndarray:
        values = np.asarray(values)
        if values.dtype != np.uint8:
            raise TypeError(
                f"`values`: pictures of dtype uint8, 0 to 255. Received: dtype={values.dtype}."
            )
        if values.ndim != 4 or values.shape[3] != 3 or 0 in values.shape[1:]:
            raise ValueError(
                f"`values`: pictures [n, height, width, 3]. Received: shape={values.shape}."
            )
        _check_batch_size(batch_size)
        features = np.zeros([len(values), self.backbone.dim], np.float32)
        present = np.flatnonzero(~is_absent(values)) if len(values) else np.zeros([0], np.int64)
        with steps(f"pictures read by {self.backbone.name}", len(present)) as advance:
            for start in range(0, len(present), batch_size):
                rows = present[start : start + batch_size]
                features[rows] = _unit_length(self._apply(values[rows]).numpy())
                advance(len(rows))
        return features

    def first_blocks(
        self, num_blocks: int, *, height: int, width: int | None = None, name: str | None = None
    ) -> keras.Model:
        """Makes a model of the stem and the first blocks, for a student to inherit.

        Args:
            num_blocks: How many, from 0 (the stem alone) to `block_count`.
            height: Rows of its pictures in pixels, 32 or more.
            width: Columns; the height if not given.
            name: Name of the model, which those of its layers begin with; the backbone's if not
                given.

        Returns:
            A model from uint8 `[batch, height, width, 3]`, 0 to 255, to float32
            `[batch, rows, columns, channels]`. Its weights are copies and trainable. Scaling is
            inside, and batch normalisation has momentum 0.9, for small tables.

        Raises:
            ValueError: If the number or the size is out of range; lists all problems.
        """
        width = height if width is None else width
        problems = []
        if self._blocks is None:
            problems.append(
                f"`first_blocks`: an encoder whose blocks are known. Received: "
                f"{self.backbone.name}. Take one of EfficientNet-Lite."
            )
        elif type(num_blocks) is not int or not 0 <= num_blocks <= self.block_count:
            problems.append(
                f"`num_blocks`: a whole number from 0 to {self.block_count}. Received: "
                f"num_blocks={num_blocks!r}."
            )
        if any(type(size) is not int or size < 32 for size in (height, width)):
            problems.append(
                f"`height`, `width`: whole numbers, at least 32 pixels. Received: "
                f"height={height!r}, width={width!r}."
            )
        if problems or self._blocks is None:
            raise ValueError("\n".join(problems))
        return self._blocks(num_blocks, height=height, width=width, name=name)


class TextEncoder(Encoder):
    """A backbone for texts.

    Args:
        backbone: What it is made of.
        model: See `Encoder`.
        version: Of the weights and the code.
        tokenize: Gives for each of some texts its ids, none of them 0.
        vocabulary: Gives what may be whole words, the most frequent first.
        max_tokens: Ids of a text that the model takes at most; None for any number. What `tokenize`
            gives beyond is cut. A model of a fixed length gets texts filled with 0.
        top: Weights of its last layers, see `tunable`.
    """

    def __init__(
        self,
        backbone: Backbone,
        model: keras.Model,
        *,
        version: str,
        tokenize: Callable[[Sequence[str]], list[list[int]]],
        vocabulary: Callable[[], Iterable[str]],
        max_tokens: int | None = None,
        top: Sequence[keras.Variable] = (),
    ):
        super().__init__(backbone, model, version=version, top=top)
        self._fixed = model.input_shape[1]
        self.max_tokens = max_tokens or self._fixed
        self._tokenize, self._vocabulary = tokenize, vocabulary
        self._apply = tf.function(
            lambda ids: model(ids, training=False),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )

    def token_ids(self, texts: Sequence[str]) -> np.ndarray:
        """Gives what `model` takes: int32 `[n, longest]`, 0 where a text has ended.

        A text without words is all zeros. The ids are those of the backbone's tokenizer where it
        keeps 0 for this, and one more otherwise.
        """
        return self._filled(self._ids(texts))

    def features(self, values: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        _check_batch_size(batch_size)
        ids = self._ids(values)
        features = np.zeros([len(ids), self.backbone.dim], np.float32)
        # Texts of one length together, so that few zeros are encoded.
        order = sorted((row for row in range(len(ids)) if ids[row]), key=lambda row: len(ids[row]))
        with steps(f"texts read by {self.backbone.name}", len(order)) as advance:
            while order:
                # The longest ones first, since they decide on the number.
                count = max(1, min(batch_size, MAX_BATCH_TOKENS // len(ids[order[-1]])))
                order, rows = order[:-count], order[-count:]
                encoded = self._apply(self._filled([ids[row] for row in rows])).numpy()
                features[rows] = _unit_length(encoded)
                advance(len(rows))
        return features

    def words(self) -> list[str]:
        """Whole words of its vocabulary, of letters alone, the most frequent first.

        They are as `mmkd_tf.edge.tokenizer.split_words` gives them, lower-case, each once; of
        Chinese, Japanese and Korean single characters.
        """
        words: dict[str, None] = {}
        for piece in self._vocabulary():
            # A letter of any script is of category L; M are marks upon letters.
            if piece and all(unicodedata.category(sign)[0] in "LM" for sign in piece):
                found = split_words(piece)
                if len(found) == 1:
                    words.setdefault(found[0])
        return list(words)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if isinstance(texts, (str, bytes)) or not all(isinstance(text, str) for text in texts):
            kind = type(texts).__name__
            raise TypeError(
                f"`values`: a list of str. Received: a {kind}"
                + ("." if isinstance(texts, (str, bytes)) else " with other things in it.")
            )
        # Halves of surrogate pairs have no UTF-8.
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        present = [row for row, text in enumerate(texts) if split_words(text)]
        ids: list[list[int]] = [[] for _ in texts]
        found = self._tokenize([texts[row] for row in present])
        for row, of_text in zip(present, found, strict=True):
            ids[row] = of_text[: self.max_tokens]
        return ids

    def _filled(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        filled = np.zeros([len(ids), self._fixed or max(map(len, ids), default=0)], np.int32)
        for row, of_text in zip(filled, ids, strict=True):
            row[: len(of_text)] = of_text
        return filled


def _unit_length(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"`batch_size`: at least 1. Received: batch_size={batch_size}.")
