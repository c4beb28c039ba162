"""An input and its pretrained features as one tensor, for teachers that read both.

As one they are there or absent together: in the data, in modality dropout and where absence is
measured.
"""

import copy
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


def packed(values: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Sets the bits of features behind an input's values.

    Args:
        values: The input, `[n, ...]`, of a type of 1 or 4 bytes a number.
        features: float32 `[n, dim]`.

    Returns:
        `[n, size]` of the type of `values`; zeros where both are.
    """
    flat = values.reshape(len(values), -1)
    # Adding zero makes a zero of minus zero, whose bits are not all zeros.
    bits = np.ascontiguousarray(features + np.float32(0)).view(values.dtype)
    return np.concatenate([flat, bits.reshape(len(values), -1)], axis=1)


class InputAndFeatures:
    """A form of an input that teachers alone read: `packed` of the input and its features.

    It has of the contract of `Modality` what a teacher's form needs.

    Args:
        own: The `Modality` of the input, whose encoder is trained from scratch.
        shape: Shape of one example of it.
        frozen: The `FeatureVector` of its features.
    """

    keeps_raw = False

    def __init__(self, own, shape: Sequence[int], frozen):
        self.own, self.shape, self.frozen, self.name = own, tuple(shape), frozen, frozen.name
        given = own.input()
        self.dtype, self.size = given.dtype, math.prod(self.shape)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes the input as its modality does; features are those of every view."""
        own = self.own.augment(tf.reshape(batch[:, : self.size], [-1, *self.shape]), seeds)
        return tf.concat([tf.reshape(own, [-1, self.size]), batch[:, self.size :]], axis=1)

    def fingerprint(self) -> bytes:
        return self.own.fingerprint() + b"\n" + self.frozen.fingerprint()

    def input(self) -> keras.KerasTensor:
        width = self.size + self.frozen.dim * 4 // np.dtype(self.dtype).itemsize
        return keras.Input([width], dtype=self.dtype, name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The features of an encoder trained from scratch, and the frozen ones: `[batch, dim]`."""
        unpacked = Unpacked(self.shape, self.frozen.dim, name=f"{self.name}_unpacked")
        values, features = unpacked(inputs)
        own, frozen = copy.copy(self.own), copy.copy(self.frozen)
        own.name, frozen.name = f"{self.name}_trained", f"{self.name}_frozen"
        both = [own.teacher_encoder(values), frozen.teacher_encoder(features)]
        return layers.Concatenate(name=f"{self.name}_features")(both)

    def describe(self) -> str:
        return f"{self.own.describe()}, and {self.frozen.describe()}"


@keras.saving.register_keras_serializable("mmkd_tf")
class Unpacked(layers.Layer):
    """Undoes `packed`: gives the input, `[batch, *shape]`, and float32 features `[batch, dim]`."""

    def __init__(self, shape: Sequence[int], dim: int, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.shape, self.dim = tuple(shape), dim

    def call(self, inputs):
        size = math.prod(self.shape)
        bits = inputs[:, size:]
        if np.dtype(keras.backend.standardize_dtype(inputs.dtype)).itemsize == 1:
            bits = ops.reshape(bits, [-1, self.dim, 4])
        features = tf.bitcast(bits, tf.float32)
        return ops.reshape(inputs[:, :size], [-1, *self.shape]), features

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "dim": self.dim}
