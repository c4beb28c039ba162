"""Image: pictures -> uint8 RGB -> convolutions -> a feature vector."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from pydantic import Field, model_validator

from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.image_damage import DAMAGES
from mmkd_tf.modalities.modality import (
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
    is_absent,
)
from mmkd_tf.modalities.picture_files import (
    decode_picture,
    read_pictures,
    resized,
    thumbnail,
)
from mmkd_tf.modalities.tokens import Pool, SummaryAndTokens

MIN_SIZE, MAX_SIZE = 8, 1024
# Copies with another size or compression: of 64 bits of the hash, of 255 levels of the mean colour.
BITS_APART, LEVELS_APART = 4, 8
MOST_NOISE = 30.0  # standard deviation, of 255 levels
_HASHED_AT_ONCE = 256
_NOISES = 2**18


class StudentImageOptions(StudentOptions):
    """What is different for the students."""

    size: int | None = Field(
        None, ge=MIN_SIZE, le=MAX_SIZE, description="Picture size for the students, pixels."
    )


class ImageOptions(InputOptions):
    """What settings say of a picture."""

    kind: Literal["image"] = "image"
    size: int = Field(64, ge=MIN_SIZE, le=MAX_SIZE, description="Picture height and width, pixels.")
    columns: list[str] | None = Field(
        None,
        min_length=1,
        description="Columns of several pictures of an example, of which some may be absent; read "
        "by one encoder and pooled.",
    )
    pool: Pool | None = Field(
        None,
        description="How the features of the pictures in `columns` become one: mean (default), max "
        "or attention.",
    )
    mirror: bool = Field(
        True,
        description="Whether training mirrors it at random; false where left and right differ.",
    )
    student: StudentImageOptions = StudentImageOptions()
    no_larger = ("size",)

    @model_validator(mode="after")
    def _columns_fit(self):
        if self.pool is not None and self.columns is None:
            raise ValueError(
                f"`pool`: with `columns` alone, a set of pictures. Received: {self.pool}. Name "
                "the columns, or leave it out."
            )
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError(f"`columns`: each once. Received: {self.columns}.")
        return self


class Image(Modality[np.ndarray, ImageOptions]):
    """A picture as uint8 RGB `[height, width, 3]`, values 0 to 255; all zeros is absent.

    Where the options have `columns`, `fit` gives an `ImageSet` instead, and raw values are
    `[n, views, height, width, 3]`.

    Raw values are such arrays of any size. A present picture that would become all black is all
    ones instead, a difference that no eye sees.

    Args:
        name: Name of the input.
        height: Rows of the model's input in pixels, 8 or more.
        width: Columns in pixels; the height by default.

    Attributes:
        mirror: Whether `augment` mirrors half of the pictures.
    """

    kind = "image"
    Options = ImageOptions
    noun = "picture"
    form = "[batch, height, width, 3]"
    damages = DAMAGES
    limits = "A picture is stretched to the input's size."
    example = '"picture.png"'
    mirror: bool = True

    def __init__(self, name: str = "image", *, height: int = 64, width: int | None = None):
        self.name = name
        self.height, self.width = height, height if width is None else width
        if self.height < MIN_SIZE or self.width < MIN_SIZE:
            raise ValueError(
                f"`height`, `width`: at least {MIN_SIZE} pixels each. "
                f"Received: height={self.height}, width={self.width}."
            )

    # Reading raw values.

    @classmethod
    def read(
        cls,
        cells: Sequence,
        options: ImageOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[np.ndarray, dict[int, str]]:
        if getattr(options, "columns", None):
            return _sets().read(cells, options, folder=folder, allow_outside=allow_outside)
        return read_pictures(cells, size=options.size, folder=folder, allow_outside=allow_outside)

    @classmethod
    def decoded_shape(cls, options: ImageOptions) -> tuple[int, ...]:
        columns = getattr(options, "columns", None)
        return (*([len(columns)] if columns else []), options.size, options.size, 3)

    @classmethod
    def absent(cls, values: np.ndarray) -> np.ndarray:
        return is_absent(values if hasattr(values, "shape") else np.asarray(values))

    @classmethod
    def content_keys(cls, values: np.ndarray) -> list[bytes]:
        return [hashlib.sha256(np.ascontiguousarray(pixels).data).digest() for pixels in values]

    @classmethod
    def copy_keys(cls, values: np.ndarray) -> np.ndarray:
        """The bits of a difference hash, and the mean red, green and blue, `[n, 4]`.

        A bit says whether one of 8 x 9 patches is lighter than that on its left, by more than a
        level of 255, so that size and compression hardly change it. Of a set there are four for
        each picture.
        """
        values = values if hasattr(values, "shape") else np.asarray(values)
        keys = np.zeros([len(values), math.prod(values.shape[1:-3]), 4], np.int64)
        for start in range(0, len(values), _HASHED_AT_ONCE):
            some = values[start : start + _HASHED_AT_ONCE]
            pictures = tf.cast(some.reshape(-1, *some.shape[-3:]), tf.float32)
            patches = tf.image.resize(pictures, [8, 9], method="area").numpy()
            light = np.rint(patches @ np.array([0.299, 0.587, 0.114], np.float32))
            bits = np.packbits((light[:, :, 1:] > light[:, :, :-1] + 1).reshape(-1, 64), axis=1)
            found = keys[start : start + _HASHED_AT_ONCE].reshape(-1, 4)
            found[:, 0] = bits.view(np.int64)[:, 0]
            found[:, 1:] = np.rint(patches.mean((1, 2)))
        return keys.reshape(len(values), 4 * keys.shape[1])

    @classmethod
    def are_copies(cls, keys: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Copies differ in few bits and hardly in colour, each picture of a set from its own."""
        same = np.ones([len(keys), len(others)], bool)
        for column in range(keys.shape[1]):
            one, two = keys[:, None, column], others[None, :, column]
            if column % 4 == 0:
                same &= np.bitwise_count((one ^ two).view(np.uint64)) <= BITS_APART
            else:
                same &= np.abs(one - two) <= LEVELS_APART
        return same

    @classmethod
    def fit(cls, name: str, values: np.ndarray, options: ImageOptions) -> Modality:
        if getattr(options, "columns", None):
            return _sets().fit(name, values, options)
        made = cls(name, height=options.size)
        made.mirror = options.mirror
        return made

    def for_student(self, values: np.ndarray, **changes: Any) -> "Image | None":
        there = min(self.height, self.width, MAX_SIZE)
        changes = checked_changes(self.name, ImageOptions, size=there, student=changes)
        size = changes.get("size")
        if size is None or (size, size) == (self.height, self.width):
            return None
        made = Image(self.name, height=size)
        made.mirror = self.mirror
        return made

    @classmethod
    def fits_feature(cls, connector) -> bool:
        import tensorflow_datasets as tfds

        is_image = isinstance(connector, tfds.features.Image)
        return is_image and connector.np_dtype in (np.uint8, np.uint16)

    @classmethod
    def feature_decoder(cls, connector):
        import tensorflow_datasets as tfds

        return tfds.decode.SkipDecoding()

    # Tensors.

    def to_tensor(self, raw) -> tf.Tensor:
        raw = tf.convert_to_tensor(raw)
        if raw.shape[1:3] == (self.height, self.width):
            return raw
        return _still_there(resized(raw, self.height, self.width), raw)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Mirrors, turns, scales and shifts each picture in one resampling.

        By up to 0.2 radians, 15 % and 10 % of its size, each times `strength`.

        Borders are continued, so an absent picture stays absent.
        """
        draws = 2 * uniform_draws(seeds, 5) - 1
        mirror, turn, scale, right, down = tf.unstack(draws, axis=1)
        mirror = tf.where((mirror < 0) & self.mirror, -1.0, 1.0)
        angle, scale = turn * (0.2 * self.strength), 1.0 + 0.15 * self.strength * scale
        cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
        # The transform maps output to input coordinates, about the picture's centre.
        centre_x, centre_y = (self.width - 1) / 2, (self.height - 1) / 2
        shift_x = centre_x + 0.1 * self.strength * self.width * right
        shift_y = centre_y + 0.1 * self.strength * self.height * down
        zeros = tf.zeros_like(cos)
        transforms = tf.stack(
            [
                cos * mirror,
                -sin,
                shift_x - cos * mirror * centre_x + sin * centre_y,
                sin * mirror,
                cos,
                shift_y - sin * mirror * centre_x - cos * centre_y,
                zeros,
                zeros,
            ],
            axis=1,
        )
        changed = tf.raw_ops.ImageProjectiveTransformV3(
            images=batch,
            transforms=transforms,
            output_shape=[self.height, self.width],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        return _still_there(changed, batch)

    def corrupt(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Adds Gaussian noise of at most `MOST_NOISE` levels, of 255, to half of the pictures."""
        amount, place = tf.unstack(uniform_draws(seeds, 2)[:, :, tf.newaxis], axis=1)
        # Each takes another stretch of the same normal numbers: drawing them anew would cost more
        # than the blocks that are to see them.
        size = self.height * self.width * 3
        normal = tf.random.stateless_normal([_NOISES + size], seed=[0, 0])
        noise = tf.gather(normal, tf.cast(place * _NOISES, tf.int32) + tf.range(size))
        noise *= MOST_NOISE * tf.maximum(2 * amount - 1, 0)
        noisy = tf.cast(batch, tf.float32) + tf.reshape(noise, tf.shape(batch))
        noisy = tf.cast(tf.round(tf.clip_by_value(noisy, 0, 255)), batch.dtype)
        there = tf.reduce_any(batch != 0, axis=[1, 2, 3], keepdims=True)
        return tf.where(there, _still_there(noisy, batch), batch)

    def fingerprint(self) -> bytes:
        return b"" if self.mirror else b"not mirrored"

    # Models.

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.height, self.width, 3], dtype="uint8", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions with stride 2 and a dense layer: `[batch, 128]`."""
        x = self._pooled(self._teacher_map(inputs))
        return layers.Dense(128, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four separable convolutions with stride 2: `[batch, 96]`."""
        x = self._pooled(self._student_map(inputs))
        return layers.Activation("linear", name=f"{self.name}_features")(x)

    def teacher_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Encodes inputs to tokens `[batch, tokens, teacher_dim]`, and says which are there.

        `presence` is float `[batch, 1]`; what is given back is the same where tokens are there or
        absent together, else `[batch, tokens]`. The first token, here the mean of all patches, is
        what the layer `<name>_features` gives.
        """
        patches = self._patches(self._teacher_map(inputs))
        name = f"{self.name}_patch_features"
        return self._with_mean(layers.Dense(128, activation="relu", name=name)(patches)), presence

    def student_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return self._with_mean(self._patches(self._student_map(inputs))), presence

    def _teacher_map(self, inputs):
        return self._convolutions(inputs, layers.Conv2D, (32, 64, 128, 256))

    def _student_map(self, inputs):
        # A separable convolution has one filter a channel; of RGB alone that would be three.
        first = {"depth_multiplier": 8}
        return self._convolutions(inputs, layers.SeparableConv2D, (24, 48, 80, 96), **first)

    def _convolutions(self, inputs, convolution, filters, **first):
        """Convolution, normalisation and relu, each halving the picture."""
        x = layers.Rescaling(1 / 127.5, offset=-1, name=f"{self.name}_rescaling")(inputs)
        for index, num_filters in enumerate(filters):
            x = convolution(
                num_filters,
                5 if index == 0 else 3,
                strides=2,
                padding="same",
                use_bias=False,
                name=f"{self.name}_conv{index}",
                **(first if index == 0 else {}),
            )(x)
            # Keras' momentum of .99 needs more steps than a small table gives.
            x = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm{index}")(x)
            x = layers.ReLU(name=f"{self.name}_relu{index}")(x)
        return x

    def _pooled(self, x):
        return layers.GlobalAveragePooling2D(name=f"{self.name}_pooling")(x)

    def _patches(self, x):
        """`[batch, height, width, channels]` to `[batch, patches, channels]`, row by row."""
        height, width, channels = x.shape[1:]
        return layers.Reshape([height * width, channels], name=f"{self.name}_patches")(x)

    def _with_mean(self, patches):
        features = layers.GlobalAveragePooling1D(name=f"{self.name}_features")(patches)
        return SummaryAndTokens(name=f"{self.name}_tokens")(features, patches)

    # Exported files.

    @classmethod
    def of_tensor(cls, tensor: keras.KerasTensor) -> Modality | None:
        shape = tuple(tensor.shape)
        if len(shape) == 5:
            return _sets().of_tensor(tensor)
        if len(shape) != 4 or shape[3] != 3 or None in shape[1:] or min(shape[1:3]) < MIN_SIZE:
            return None
        return cls(tensor.name, height=shape[1], width=shape[2])

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Decodes files as `decode_picture` does, one after the other, for the sake of memory."""
        return tf.map_fn(
            lambda one: decode_picture(one, height=self.height, width=self.width),
            tf.convert_to_tensor(content),
            fn_output_signature=tf.TensorSpec([self.height, self.width, 3], tf.uint8),
            parallel_iterations=1,
        )

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        pixels = np.clip(np.rint(tensors), 0, 255).astype(np.uint8)
        return [tf.io.encode_png(one).numpy() if one.any() else b"" for one in pixels]

    def file_description(self, dtype: str) -> dict:
        return {"layout": "RGB, channels last", "range": [0, 255]}

    # Words.

    def shown(self, value: np.ndarray) -> dict[str, str]:
        return {"form": "picture", "data": thumbnail(value)}

    def describe(self) -> str:
        return f"uint8 RGB, {self.height} x {self.width} pixels"


def _sets() -> type[Modality]:
    """The class of several pictures as one input, which is made of this one."""
    from mmkd_tf.modalities.image_set import ImageSet

    return ImageSet


def _still_there(changed: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Makes ones of the pictures that became all zeros and were not."""
    axes = [1, 2, 3]
    lost = tf.reduce_any(before != 0, axes) & ~tf.reduce_any(changed != 0, axes)
    return changed + tf.cast(lost, changed.dtype)[:, tf.newaxis, tf.newaxis, tf.newaxis]
