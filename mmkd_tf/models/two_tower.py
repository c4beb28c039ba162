"""Two towers: two inputs each become a point, near each other where they belong together.

The output of such a model is one tensor, as training asks for: the pair of embeddings side by
side, `[batch, 2 * embedding_dim]`, the first scaled by the learned logit scale. The scalar product
of the first half of one row and the second half of another is then the logit of their belonging
together, see `mmkd_tf.losses.pairs`.
"""

import math
from collections.abc import Mapping

import keras
from keras import layers, ops

from mmkd_tf.losses.features import directions

PAIR = "pair"
EMBEDDING = "embedding"
EMBEDDING_DIM = 64
# 1 / 0.07 to begin with and 100 at most, as the authors of CLIP have them.
_FIRST_SCALE = 1 / 0.07
_LARGEST_SCALE = 100.0


def embedding_layer(name: str) -> str:
    """Name of the layer that gives the embedding of an input."""
    return f"{name}_embedding"


def tower(model: keras.Model, name: str) -> keras.Model:
    """A pairwise model's tower of one input, layers shared; float32 `[batch, embedding_dim]`."""
    outputs = model.get_layer(embedding_layer(name)).output
    return keras.Model({name: model.input[name]}, outputs, name=f"{model.name}_{name}")


def check_width(embedding_dim: int) -> list[str]:
    """Says why a width is no whole number above 0; empty if it is one."""
    if not isinstance(embedding_dim, bool) and isinstance(embedding_dim, int) and embedding_dim > 0:
        return []
    return [f"`embedding_dim`: a whole number, 1 or more. Received: {embedding_dim!r}."]


def check_towers(names: list[str], embedding_dim: int) -> None:
    """Refuses other than two inputs, and a width that is no whole number above 0."""
    problems = []
    if len(names) != 2:
        problems.append(
            "`dataset`: two inputs, one to be found by the other. Received: "
            f"{sorted(names)}. Choose two by `inputs`, or give the data another."
        )
    if problems := [*problems, *check_width(embedding_dim)]:
        raise ValueError("\n".join(problems))


def embedding_of(
    features: keras.KerasTensor, presence: list[keras.KerasTensor], embedding_dim: int
) -> keras.KerasTensor:
    """Projects fused features to an embedding, float32 `[batch, embedding_dim]`.

    Of length 1, or zeros where no input is there: `presence` are `[batch, 1]` or
    `[batch, tokens]`.
    """
    there = [
        each if each.shape[1] == 1 else ops.max(each, axis=1, keepdims=True) for each in presence
    ]
    some = layers.Maximum(name="presence")(there) if len(there) > 1 else there[0]
    projected = layers.Dense(embedding_dim, use_bias=False, name="projection")(features)
    # Features behind a relu lie in one corner, where all cosines are near 1.
    projected = layers.BatchNormalization(name="projection_normalization")(projected)
    return UnitLength(name=EMBEDDING)(projected, some)


def pair_of(
    features: Mapping[str, keras.KerasTensor],
    presence: Mapping[str, keras.KerasTensor],
    embedding_dim: int,
) -> keras.KerasTensor:
    """Projects the features of two inputs to embeddings, float32 `[batch, 2 * embedding_dim]`."""
    first, second = (
        UnitLength(name=embedding_layer(name))(
            layers.Dense(embedding_dim, use_bias=False, name=f"{name}_projection")(features[name]),
            presence[name],
        )
        for name in presence
    )
    scaled = LogitScale(name="logit_scale")(first)
    return layers.Concatenate(dtype="float32", name=PAIR)([scaled, second])


@keras.saving.register_keras_serializable("mmkd_tf")
class UnitLength(layers.Layer):
    """Scales features to length 1; gives zeros where the input is absent.

    Called as `layer(features, presence)` with float `[batch, dim]` and `[batch, 1]`, gives float32
    `[batch, dim]`. Features shorter than 1e-4 have no direction: zeros, and no gradient.
    """

    def __init__(self, **kwargs):
        # A length in half precision would be off by a thousandth, and ranks with it.
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, features_shape, presence_shape):
        """Has no weights."""

    def call(self, features, presence):
        return directions(features) * presence

    def compute_output_shape(self, features_shape, presence_shape):
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
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(),
            initializer=keras.initializers.Constant(math.log(_FIRST_SCALE)),
            constraint=_Between(0.0, math.log(_LARGEST_SCALE)),
        )

    def call(self, inputs):
        return inputs * ops.exp(self.log_scale)


class _Between(keras.constraints.Constraint):
    """Holds a weight between two values; clipped in the forward pass it would get no gradient."""

    def __init__(self, least: float, most: float):
        self.least, self.most = least, most

    def __call__(self, weight):
        return ops.clip(weight, self.least, self.most)
