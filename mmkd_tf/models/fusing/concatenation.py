"""Presence of modalities, and the plainest fusion: features side by side."""

import math

import keras
from keras import layers, ops

from mmkd_tf.models.fusing.shared import Fusion, check, side_by_side, without_absent


@keras.saving.register_keras_serializable("mmkd_tf")
class Presence(layers.Layer):
    """Tells for each example whether a modality is there.

    Takes `[batch, ...]` in the modality's tensor form and gives float `[batch, 1]`: 0 where all
    values are zero, which is how an absent modality looks, else 1.
    """

    def call(self, inputs):
        """Looks for any value that is not zero."""
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        largest = ops.max(ops.abs(ops.cast(flat, "float32")), axis=1, keepdims=True)
        return ops.cast(largest > 0, self.compute_dtype)


@keras.saving.register_keras_serializable("mmkd_tf")
class Concatenation(Fusion):
    """Sets the features side by side, zeros for an absent modality.

    Widths may differ; `fused_dim` is their sum. A modality has no weight of its own.
    """

    def build(self, features_shape, presence_shape):
        """Checks that features and presence speak of the same modalities."""
        check(self, features_shape, presence_shape)

    def call(self, features, presence):
        """Concatenates in alphabetical order of the modalities' names."""
        return side_by_side(without_absent(features, presence))
