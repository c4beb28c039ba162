"""Two towers: a picture and a text each become a point, near each other where they belong together.

The output of such a model is one tensor, as training asks for: the pair of embeddings side by
side, `[batch, 2 * embedding_dim]`, the first scaled by the learned logit scale. The scalar product
of the first half of one row and the second half of another is then the logit of their belonging
together, see `mmkd_tf.losses.pairs`.
"""

import math

import keras
from keras import layers, ops

from mmkd_tf.losses.norms import directions
from mmkd_tf.modalities.forms import student_forms, teacher_forms
from mmkd_tf.models.classifier import Task
from mmkd_tf.models.fusion import Presence

PAIR = "pair"
EMBEDDING_DIM = 64
# 1 / 0.07 to begin with and 100 at most, as the authors of CLIP have them.
_FIRST_SCALE = 1 / 0.07
_LARGEST_SCALE = 100.0


def build_two_tower_teacher(dataset: Task, *, embedding_dim: int = EMBEDDING_DIM) -> keras.Model:
    """Builds the large model of pictures and texts that belong together.

    Args:
        dataset: Anything with two `modalities`, as a `Dataset` has.
        embedding_dim: Width of the space in which both modalities lie.

    Returns:
        A Functional model: a dict of inputs by modality -> `[batch, 2 * embedding_dim]`. Its
        layers `<modality>_embedding` give float32 `[batch, embedding_dim]` of length 1, or zeros
        where the modality is absent.

    Raises:
        ValueError: If there are not exactly two modalities, or the width is no number above 0.

    References:
        Radford et al.: Learning Transferable Visual Models From Natural Language Supervision,
        2021 (CLIP).
    """
    modalities = teacher_forms(dataset.modalities)
    encoders = {name: m.teacher_encoder for name, m in modalities.items()}
    return _two_tower(modalities, encoders, embedding_dim, name="teacher")


def build_two_tower_student(dataset: Task, *, embedding_dim: int = EMBEDDING_DIM) -> keras.Model:
    """Builds the small model, at most 1/20 of the teacher's parameters up to a width of 64.

    Args:
        dataset: As for `build_two_tower_teacher`.
        embedding_dim: As for `build_two_tower_teacher`; teacher and student need the same.

    Returns:
        As `build_two_tower_teacher`.

    Raises:
        ValueError: As `build_two_tower_teacher`.
    """
    modalities = student_forms(dataset.modalities)
    encoders = {name: m.student_encoder for name, m in modalities.items()}
    return _two_tower(modalities, encoders, embedding_dim, name="student")


def embedding_layer(modality: str) -> str:
    """Name of the layer that gives a modality's embedding."""
    return f"{modality}_embedding"


def tower(model: keras.Model, modality: str) -> keras.Model:
    """Takes one tower out of a model; it shares the layers.

    Args:
        model: What the builders give.
        modality: Name of the tower's input.

    Returns:
        A Functional model: a dict of the one input -> float32 `[batch, embedding_dim]`, of length
        1, or zeros where the input is absent.
    """
    outputs = model.get_layer(embedding_layer(modality)).output
    return keras.Model({modality: model.input[modality]}, outputs, name=f"{model.name}_{modality}")


def _two_tower(modalities, encoders, embedding_dim, *, name):
    _check(modalities, embedding_dim)
    embeddings = []
    for key, modality in modalities.items():
        inputs = modality.input()
        features = encoders[key](inputs)
        projected = layers.Dense(embedding_dim, use_bias=False, name=f"{key}_projection")(features)
        presence = Presence(name=f"{key}_presence")(inputs)
        embeddings.append((inputs, UnitLength(name=embedding_layer(key))(projected, presence)))
    (first_input, first), (second_input, second) = embeddings
    scaled = LogitScale(name="logit_scale")(first)
    pair = layers.Concatenate(dtype="float32", name=PAIR)([scaled, second])
    inputs = dict(zip(modalities, (first_input, second_input), strict=True))
    return keras.Model(inputs, pair, name=name)


def _check(modalities, embedding_dim) -> None:
    problems = []
    if len(modalities) != 2:
        problems.append(
            "`dataset`: two modalities, one to be found by the other. Received: "
            f"{sorted(modalities)}. Give the data pictures and texts."
        )
    if isinstance(embedding_dim, bool) or not isinstance(embedding_dim, int) or embedding_dim < 1:
        problems.append(f"`embedding_dim`: a whole number, 1 or more. Received: {embedding_dim!r}.")
    if problems:
        raise ValueError("\n".join(problems))


@keras.saving.register_keras_serializable("mmkd_tf")
class UnitLength(layers.Layer):
    """Scales features to length 1; gives zeros where the modality is absent.

    Called as `layer(features, presence)` with float `[batch, dim]` and `[batch, 1]`, gives float32
    `[batch, dim]`. Features shorter than 1e-4 have no direction: zeros, and no gradient.
    """

    def __init__(self, **kwargs):
        # A length in half precision would be off by a thousandth, and ranks with it.
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, features_shape, presence_shape):
        """Has no weights."""

    def call(self, features, presence):
        """Scales and masks."""
        return directions(features) * presence

    def compute_output_shape(self, features_shape, presence_shape):
        """That of the features."""
        return features_shape


@keras.saving.register_keras_serializable("mmkd_tf")
class LogitScale(layers.Layer):
    """Multiplies by a learned factor, 1 over what the papers call temperature.

    What is learned is the factor's logarithm, so that it stays above 0; after each step it is
    held between 0 and log(100).
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        """Makes the one weight."""
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(),
            initializer=keras.initializers.Constant(math.log(_FIRST_SCALE)),
            constraint=_Between(0.0, math.log(_LARGEST_SCALE)),
        )

    def call(self, inputs):
        """Scales."""
        return inputs * ops.exp(self.log_scale)


class _Between(keras.constraints.Constraint):
    """Holds a weight between two values; clipped in the forward pass it would get no gradient."""

    def __init__(self, least: float, most: float):
        self.least, self.most = least, most

    def __call__(self, weight):
        return ops.clip(weight, self.least, self.most)
