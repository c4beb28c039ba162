"""The contract that every modality fulfils: raw values -> checked values -> tensors -> features."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import keras
import numpy as np
import tensorflow as tf

Value = TypeVar("Value")


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


class TokenModality(Modality, Protocol):
    """A modality whose encoders can also give tokens, for fusions that take them.

    A modality that can't is one token to such a fusion.
    """

    def teacher_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Encodes inputs to tokens; the first is what the layer `<modality>_features` gives.

        Args:
            inputs: As for an encoder.
            presence: float `[batch, 1]`, 1 where the example has the modality.

        Returns:
            The tokens `[batch, tokens, teacher_dim]`, and which of them are there, float
            `[batch, tokens]`; `[batch, 1]` where this holds for all of them alike.
        """

    def student_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The same by the student's encoder."""


def is_absent(tensors: np.ndarray) -> np.ndarray:
    """Tells which examples lack the modality.

    Args:
        tensors: `[batch, ...]` in the tensor form.

    Returns:
        bool `[batch]`: True where all values are zero.
    """
    return ~np.any(tensors.reshape(len(tensors), -1), axis=1)


def in_tensor_form(modality: Modality, values: Sequence, *, at_once: int) -> np.ndarray:
    """Turns raw values into the tensor form, part by part, so that memory stays small.

    Args:
        modality: Whose values they are.
        values: At least one.
        at_once: Number of values in a part.

    Returns:
        `[len(values), ...]`.
    """
    starts = range(0, len(values), at_once)
    parts = [modality.to_tensor(values[start : start + at_once]).numpy() for start in starts]
    return np.concatenate(parts)


def chosen(
    there: Mapping[str, Value], names: Collection[str], *, argument: str
) -> dict[str, Value]:
    """Gives what is there of some modalities, in the order in which it is there.

    Args:
        there: By name of a modality.
        names: One or more of these names.
        argument: What the caller calls `names`, for the message.

    Raises:
        ValueError: If a name is not there, or there are none.
    """
    if isinstance(names, str) or not names or not set(names) <= set(there):
        raise ValueError(
            f"`{argument}`: a list of one or more of {list(there)}, which the dataset has. "
            f"Received: {argument}={names!r}."
        )
    return {name: value for name, value in there.items() if name in names}
