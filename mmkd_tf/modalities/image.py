"""Image: pictures -> uint8 RGB -> convolutions -> a feature vector."""

import keras
import tensorflow as tf
from keras import layers

from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.tokens import SummaryAndTokens


class Image:
    """A picture as uint8 RGB `[height, width, 3]`, values 0 to 255; all zeros is absent.

    Args:
        height: Rows of the model's input in pixels.
        width: Columns in pixels; the height by default.
    """

    name = "image"

    def __init__(self, height: int = 64, width: int | None = None):
        self.height, self.width = height, height if width is None else width
        if self.height < 8 or self.width < 8:
            raise ValueError(
                "`height`, `width`: at least 8 pixels each. "
                f"Received: height={self.height}, width={self.width}."
            )

    def to_tensor(self, raw) -> tf.Tensor:
        """Gives uint8 `[batch, height, width, 3]`, resized if the pictures have another size."""
        raw = tf.convert_to_tensor(raw)
        if raw.shape[1:3] == (self.height, self.width):
            return raw
        size = (self.height, self.width)
        resized = tf.image.resize(tf.cast(raw, tf.float32), size, antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Mirrors, turns, scales and shifts each picture in one resampling.

        Args:
            batch: uint8 `[batch, height, width, 3]`.
            seeds: int32 `[batch, 2]`.

        Returns:
            uint8 of the same shape; borders are continued, so an absent picture stays absent.
        """
        draws = 2 * uniform_draws(seeds, 5) - 1
        mirror, turn, scale, right, down = tf.unstack(draws, axis=1)
        mirror = tf.where(mirror < 0, -1.0, 1.0)
        angle, scale = turn * 0.2, 1.0 + 0.15 * scale
        cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
        # The transform maps output to input coordinates, about the picture's centre.
        centre_x, centre_y = (self.width - 1) / 2, (self.height - 1) / 2
        shift_x = centre_x + 0.1 * self.width * right
        shift_y = centre_y + 0.1 * self.height * down
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
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=batch,
            transforms=transforms,
            output_shape=[self.height, self.width],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )

    def input(self) -> keras.KerasTensor:
        """Makes the input `image`: `[batch, height, width, 3]`, values 0 to 255."""
        return keras.Input([self.height, self.width, 3], dtype="uint8", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions with stride 2 and a dense layer: features `[batch, 128]`."""
        x = _pooled(_teacher_map(inputs))
        return layers.Dense(128, activation="relu", name="image_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four separable convolutions with stride 2: features `[batch, 96]`."""
        return layers.Activation("linear", name="image_features")(_pooled(_student_map(inputs)))

    def teacher_tokens(self, inputs: keras.KerasTensor, presence: keras.KerasTensor):
        """The same with the dense layer at each patch, its mean being the features."""
        patches = _patches(_teacher_map(inputs))
        patches = layers.Dense(128, activation="relu", name="image_patch_features")(patches)
        return _with_mean(patches), presence

    def student_tokens(self, inputs: keras.KerasTensor, presence: keras.KerasTensor):
        """The patches of the last convolution, their mean being the features."""
        return _with_mean(_patches(_student_map(inputs))), presence

    def describe(self) -> str:
        """Says what the tensor holds."""
        return f"uint8 RGB, {self.height} x {self.width} pixels"


def _convolutions(inputs, convolution, filters, **first):
    """Convolution, normalisation and relu, each halving the picture."""
    x = layers.Rescaling(1 / 127.5, offset=-1, name="image_rescaling")(inputs)
    for index, num_filters in enumerate(filters):
        x = convolution(
            num_filters,
            5 if index == 0 else 3,
            strides=2,
            padding="same",
            use_bias=False,
            name=f"image_conv{index}",
            **(first if index == 0 else {}),
        )(x)
        # Keras' momentum of .99 needs more steps than a small table gives.
        x = layers.BatchNormalization(momentum=0.9, name=f"image_norm{index}")(x)
        x = layers.ReLU(name=f"image_relu{index}")(x)
    return x


def _teacher_map(inputs):
    return _convolutions(inputs, layers.Conv2D, (32, 64, 128, 256))


def _student_map(inputs):
    # A separable convolution has one filter a channel; of RGB alone that would be three.
    first = {"depth_multiplier": 8}
    return _convolutions(inputs, layers.SeparableConv2D, (24, 48, 80, 96), **first)


def _pooled(x):
    """The mean over the picture."""
    return layers.GlobalAveragePooling2D(name="image_pooling")(x)


def _patches(x):
    """`[batch, height, width, channels]` to `[batch, patches, channels]`, row by row."""
    height, width, channels = x.shape[1:]
    return layers.Reshape([height * width, channels], name="image_patches")(x)


def _with_mean(patches):
    features = layers.GlobalAveragePooling1D(name="image_features")(patches)
    return SummaryAndTokens(name="image_tokens")(features, patches)
