"""ImageSet: several pictures of one example as one input, read by the same encoder and pooled."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from mmkd_tf.modalities.image import Image, ImageOptions
from mmkd_tf.modalities.image_damage import SET_DAMAGES
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.modalities.picture_files import THUMBNAIL, read_pictures, thumbnail
from mmkd_tf.modalities.tokens import Pool, Pooling, SummaryAndTokens


class ImageSet(Modality[np.ndarray, ImageOptions]):
    """Pictures of one example as uint8 RGB `[views, height, width, 3]`.

    It is what `Image.fit` gives where the options have `columns`. A picture that is all zeros is
    absent, and the set is where all of them are. The same weights read each picture, and those that
    are there are pooled, so that their order does not matter.

    Args:
        name: Name of the input.
        views: Most pictures of an example.
        height: Of each picture, in pixels, 8 or more.
        width: Columns; the height by default.
        pool: See `mmkd_tf.modalities.tokens.Pooling`.

    References:
        Su, Maji, Kalogerakis, Learned-Miller: Multi-view Convolutional Neural Networks for 3D
        Shape Recognition, 2015 (max). Zaheer and others: Deep Sets, 2017.
    """

    kind = "image"
    Options = ImageOptions
    noun = "picture"
    form = "[batch, views, height, width, 3]"
    damages = SET_DAMAGES
    limits = Image.limits
    example = '["front.png", "back.png"]'
    mirror: bool = True

    def __init__(
        self,
        name: str = "image",
        *,
        views: int,
        height: int = 64,
        width: int | None = None,
        pool: Pool = "mean",
    ):
        self.name, self.views, self.pool = name, views, pool
        self.height, self.width = height, height if width is None else width
        if views < 1:
            raise ValueError(f"`views`: 1 or more. Received: views={views}.")
        self.string_shape = (views,)

    # Reading raw values: as of pictures, which know sets too.

    @classmethod
    def read(
        cls,
        cells: Sequence,
        options: ImageOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Gives uint8 `[rows, views, size, size, 3]` of tuples of cells; problems name columns."""
        columns, size = options.columns or [], options.size
        pictures, wrong = read_pictures(
            chain.from_iterable(cells), size=size, folder=folder, allow_outside=allow_outside
        )
        problems: dict[int, list[str]] = {}
        for index, reason in wrong.items():
            row, column = divmod(index, len(columns))
            problems.setdefault(row, []).append(f"{columns[column]}: {reason}")
        values = pictures.reshape(-1, len(columns), size, size, 3)
        return values, {row: "; ".join(reasons) for row, reasons in problems.items()}

    @classmethod
    def absent(cls, values: np.ndarray) -> np.ndarray:
        return Image.absent(values)

    @classmethod
    def content_keys(cls, values: np.ndarray) -> list[bytes]:
        return Image.content_keys(values)

    @classmethod
    def copy_keys(cls, values: np.ndarray) -> np.ndarray:
        return Image.copy_keys(values)

    @classmethod
    def are_copies(cls, keys: np.ndarray, others: np.ndarray) -> np.ndarray:
        return Image.are_copies(keys, others)

    @classmethod
    def fit(cls, name: str, values: np.ndarray, options: ImageOptions) -> "ImageSet":
        views = len(options.columns or [])
        made = cls(name, views=views, height=options.size, pool=options.pool or "mean")
        made.mirror = options.mirror
        return made

    def for_student(self, values: np.ndarray, **changes: Any) -> "ImageSet | None":
        one = Image(self.name, height=self.height, width=self.width)
        one = one.for_student(values, **changes)
        if one is None:
            return None
        made = ImageSet(self.name, views=self.views, height=one.height, pool=self.pool)
        made.mirror = self.mirror
        return made

    # Tensors: what changes a picture changes each of them.

    @property
    def _one(self) -> Image:
        """The input that one of the pictures would be."""
        one = Image(f"{self.name}_picture", height=self.height, width=self.width)
        one.strength, one.mirror = self.strength, self.mirror
        return one

    def to_tensor(self, raw) -> tf.Tensor:
        return self._by_picture(self._one.to_tensor, tf.convert_to_tensor(raw))

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes each picture by itself, as `Image.augment` does."""
        return self._by_picture(self._one.augment, batch, self._seeds(seeds))

    def corrupt(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return self._by_picture(self._one.corrupt, batch, self._seeds(seeds))

    def _by_picture(self, change: Callable, batch: tf.Tensor, *seeds: tf.Tensor) -> tf.Tensor:
        batch = tf.convert_to_tensor(batch)
        pictures = change(tf.reshape(batch, [-1, *batch.shape[2:]]), *seeds)
        return tf.reshape(pictures, [-1, self.views, *pictures.shape[1:]])

    def _seeds(self, seeds: tf.Tensor) -> tf.Tensor:
        """Seeds of each picture, of each example's; their products may wrap around."""
        seeds = tf.cast(seeds, tf.int32)
        numbers = self.views * seeds[:, :1] + tf.range(self.views)[tf.newaxis]
        return tf.stack([tf.reshape(numbers, [-1]), tf.repeat(seeds[:, 1], self.views)], axis=1)

    def fingerprint(self) -> bytes:
        return self._one.fingerprint()

    # Models.

    def input(self) -> keras.KerasTensor:
        shape = [self.views, self.height, self.width, 3]
        return keras.Input(shape, dtype="uint8", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """What `Image` has, for each picture, pooled: `[batch, 128]`."""
        return self._pooled(self._apart(inputs, self._one.teacher_encoder), inputs)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """What `Image` has, for each picture, pooled: `[batch, 96]`."""
        return self._pooled(self._apart(inputs, self._one.student_encoder), inputs)

    def teacher_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The pooled features, and each picture's with its patches; see `Image.teacher_tokens`."""
        return self._tokens(inputs, presence, self._one.teacher_tokens)

    def student_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return self._tokens(inputs, presence, self._one.student_tokens)

    def over_pictures(self, parts: Sequence[keras.Model]) -> list[keras.Model]:
        """Makes models for sets of those for a picture, which are called one after the other.

        Their maps `[batch, views, rows, columns, channels]` are zeros where a picture is absent;
        a model more pools them to `[batch, channels]`.
        """
        made = []
        for part in parts:
            given = self._set_of(part.inputs[0])
            there = PicturesThere(name=f"{self.name}_there")(given)
            found = OnlyThere(name=f"{self.name}_only_there")(self._apart(given, part), there)
            made.append(keras.Model(given, found, name=part.name))
            if not part.trainable:  # what is set here is so of all layers within
                made[-1].trainable = False
        given = self._set_of(parts[-1].outputs[0])
        there = PicturesThere(name=f"{self.name}_there")(given)
        means = ops.mean(given, axis=[2, 3])
        pooled = Pooling(self.pool, name=f"{self.name}_pooling")(means, there)
        return [*made, keras.Model(given, pooled, name=f"{self.name}_pooled")]

    def _set_of(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """An input of such tensors, one for each picture."""
        return keras.Input([self.views, *tensor.shape[1:]], dtype=tensor.dtype, name=self.name)

    def _apart(self, inputs, encode: Callable):
        """`[batch, views, ...]` of what `encode` makes of each picture."""
        apart = PicturesApart(name=f"{self.name}_apart")(inputs)
        return PicturesTogether(self.views, name=f"{self.name}_together")(encode(apart))

    def _pooled(self, features, inputs):
        there = PicturesThere(name=f"{self.name}_there")(inputs)
        return Pooling(self.pool, name=f"{self.name}_features")(features, there)

    def _tokens(self, inputs, presence, encode: Callable):
        tokens = self._apart(inputs, lambda pictures: encode(pictures, presence)[0])
        there = PicturesThere(name=f"{self.name}_there")(inputs)
        summaries, flat, of_tokens = TokensOfSet(name=f"{self.name}_set_tokens")(
            tokens, there, presence
        )
        features = Pooling(self.pool, name=f"{self.name}_features")(summaries, there)
        return SummaryAndTokens(name=f"{self.name}_tokens")(features, flat), of_tokens

    # Exported files.

    @classmethod
    def of_tensor(cls, tensor: keras.KerasTensor) -> "ImageSet | None":
        shape = tuple(tensor.shape)
        if len(shape) != 5 or shape[4] != 3 or None in shape[1:]:
            return None
        return cls(tensor.name, views=shape[1], height=shape[2], width=shape[3])

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Decodes files, string `[batch, views]`, as `Image.decode` does."""
        pictures = self._one.decode(tf.reshape(tf.convert_to_tensor(content), [-1]))
        return tf.reshape(pictures, [-1, self.views, *pictures.shape[1:]])

    def encode(self, tensors: np.ndarray) -> Any:
        """For each set, the files of its pictures."""
        return [self._one.encode(pictures) for pictures in tensors]

    def file_description(self, dtype: str) -> dict:
        """As of a picture; those of a set that there are not are zeros."""
        return {"layout": "pictures, RGB, channels last", "range": [0, 255]}

    # Words.

    def shown(self, value: np.ndarray) -> dict[str, str]:
        """The pictures that are there, side by side."""
        there = value[~Image.absent(value)]
        side_by_side = np.concatenate(list(there), axis=1)
        return {"form": "picture", "data": thumbnail(side_by_side, size=THUMBNAIL * len(there))}

    def describe(self) -> str:
        return f"up to {self.views} pictures, {self._one.describe()}, {self.pool} of their features"


@keras.saving.register_keras_serializable("mmkd_tf")
class PicturesApart(layers.Layer):
    """Makes `[batch * views, ...]` of `[batch, views, ...]`, for layers that take one picture."""

    def call(self, inputs):
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))


@keras.saving.register_keras_serializable("mmkd_tf")
class PicturesTogether(layers.Layer):
    """Undoes `PicturesApart`."""

    def __init__(self, views: int, **kwargs):
        super().__init__(**kwargs)
        self.views = views

    def call(self, inputs):
        return ops.reshape(inputs, (-1, self.views, *inputs.shape[1:]))

    def get_config(self):
        return {**super().get_config(), "views": self.views}


@keras.saving.register_keras_serializable("mmkd_tf")
class PicturesThere(layers.Layer):
    """Tells of `[batch, views, ...]` which are not all zeros: float `[batch, views]`."""

    def call(self, inputs):
        flat = ops.reshape(inputs, (-1, inputs.shape[1], math.prod(inputs.shape[2:])))
        # The interpreter has sums faster than maxima.
        total = ops.sum(ops.abs(ops.cast(flat, "float32")), axis=2)
        return ops.cast(total > 0, self.compute_dtype)


@keras.saving.register_keras_serializable("mmkd_tf")
class OnlyThere(layers.Layer):
    """Makes zeros of those of `[batch, views, ...]` that are not there, by `[batch, views]`."""

    def call(self, values, there):
        return values * ops.reshape(there, (-1, there.shape[1], *[1] * (len(values.shape) - 2)))


@keras.saving.register_keras_serializable("mmkd_tf")
class TokensOfSet(layers.Layer):
    """Sets the tokens of all pictures side by side.

    Takes tokens `[batch, views, number, dim]`, the first of each picture being its summary; which
    pictures are there, `[batch, views]`; and whether the set is, `[batch, 1]`. Gives the summaries
    `[batch, views, dim]`, all tokens `[batch, views * number, dim]`, and float
    `[batch, 1 + views * number]`, what of the set and these is there.
    """

    def call(self, tokens, there, presence):
        views, number, dim = tokens.shape[1:]
        flat = ops.reshape(tokens, (-1, views * number, dim))
        of_tokens = ops.repeat(ops.cast(there, presence.dtype), number, axis=1)
        return tokens[:, :, 0], flat, ops.concatenate([presence, of_tokens], axis=1)
