"""The contract that every modality fulfils: raw values -> checked values -> tensors -> features."""

from typing import Protocol

import keras
import numpy as np
import tensorflow as tf


class Modality(Protocol):
    """What data, models, training and export need to know of one kind of input.

    An absent value is all zeros in the tensor form, whatever the modality.
    """

    name: str

    def to_tensor(self, raw: tf.Tensor) -> tf.Tensor:
        """Turns a batch of raw values into the tensor that models take; runs in a graph."""

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes each example at random, as its row of `seeds` (int32 `[batch, 2]`) says.

        The same seed gives the same view, and an absent value stays absent.
        """

    def input(self) -> keras.KerasTensor:
        """Makes the model's input, named as the modality."""

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Encodes inputs to features `[batch, teacher_dim]`."""

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Encodes inputs to features `[batch, student_dim]`, at a small fraction of the cost."""

    def describe(self) -> str:
        """Says in a few words what the tensor holds."""


def is_absent(tensors: np.ndarray) -> np.ndarray:
    """Tells which examples lack the modality.

    Args:
        tensors: `[batch, ...]` in the tensor form.

    Returns:
        bool `[batch]`: True where all values are zero.
    """
    return ~np.any(tensors.reshape(len(tensors), -1), axis=1)
