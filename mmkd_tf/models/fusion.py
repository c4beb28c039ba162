"""Fusion: features of several modalities to one vector, absent modalities left out.

Every fusion is a Keras layer that is called as `fusion(features, presence)`: two dicts with the
same keys, `features[name]` float `[batch, dim]` and `presence[name]` float `[batch, 1]`, 1 where
the example has the modality and 0 where it lacks it. The result is float `[batch, fused_dim]`.

A fusion whose `takes_tokens` is True also takes `features[name]` as `[batch, tokens, dim]`, with
`presence[name]` as `[batch, tokens]`, 1 where the token is there. One whose `has_weights` is True
says by `modality_weights(features, presence)` how much each modality counts in each example.

What an absent modality's features are changes nothing, not a bit, and examples that lack a
modality get what the same weights without that modality would give them.
"""

import math
from collections.abc import Mapping

import keras
from keras import layers, ops

SIZES = ("fused_dim", "num_heads", "rank")  # arguments that are whole numbers of 1 or more


class Fusion(layers.Layer):
    """The contract of a fusion; see this module. Abstract; the final classes lie beside it.

    A final class hands its arguments to `keep` in `__init__` and the shapes to `check` in `build`.

    Attributes:
        takes_tokens: Whether features may be `[batch, tokens, dim]`, with a presence
            `[batch, tokens]` that says which tokens are there.
        has_weights: Whether it gives each modality a weight, see `modality_weights`.
    """

    takes_tokens = False
    has_weights = False
    arguments: Mapping = {}

    def keep(self, **arguments):
        """Keeps arguments under their own names and for `get_config`; checks those of `SIZES`."""
        sizes = {n: v for n, v in arguments.items() if n in SIZES}
        wrong = {n: v for n, v in sizes.items() if not isinstance(v, int) or v < 1}
        if wrong:
            names = ", ".join(f"`{name}`" for name in wrong)
            received = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
            raise ValueError(f"{names}: an integer of 1 or more. Received: {received}.")
        self.arguments = arguments
        for name, value in arguments.items():
            setattr(self, name, value)

    def get_config(self):
        return {**super().get_config(), **self.arguments}

    def modality_weights(self, features, presence):
        """Weights of the modalities in each example's result.

        Args:
            features: As in a call.
            presence: As in a call.

        Returns:
            float32 `[batch, num_modalities]`, in alphabetical order of the modalities' names;
            rows sum to 1, or are 0 where no modality is there.

        Raises:
            NotImplementedError: If this way of fusing has no such weights.
        """
        raise NotImplementedError(
            f"`modality_weights`: a fusion that weighs modalities. Received: "
            f"{type(self).__name__}, which has no weight for a whole modality. "
            "Take a fusion whose `has_weights` is True."
        )


@keras.saving.register_keras_serializable("mmkd_tf")
class Presence(layers.Layer):
    """Tells for each example whether a modality is there.

    Takes `[batch, ...]` in the modality's tensor form and gives float `[batch, 1]`: 0 where all
    values are zero, which is how an absent modality looks, else 1.
    """

    def call(self, inputs):
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        largest = ops.max(ops.abs(ops.cast(flat, "float32")), axis=1, keepdims=True)
        return ops.cast(largest > 0, self.compute_dtype)


@keras.saving.register_keras_serializable("mmkd_tf")
class Concatenation(Fusion):
    """Sets the features side by side, zeros for an absent modality.

    Widths may differ; `fused_dim` is their sum. A modality has no weight of its own.
    """

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)

    def call(self, features, presence):
        return side_by_side(without_absent(features, presence))


# What the fusions share.


def check(fusion: Fusion, features_shape, presence_shape) -> None:
    """Refuses features and presence that don't belong together, or tokens that are not taken."""
    if sorted(features_shape) != sorted(presence_shape):
        raise ValueError(
            "`presence`: an entry for each modality of `features`. Received: "
            f"features={sorted(features_shape)}, presence={sorted(presence_shape)}."
        )
    ranks = (2, 3) if fusion.takes_tokens else (2,)
    wrong = {n: tuple(s) for n, s in features_shape.items() if len(s) not in ranks or None in s[1:]}
    if wrong:
        tokens = " or [batch, tokens, dim]" if fusion.takes_tokens else ""
        raise ValueError(
            f"`features`: [batch, dim]{tokens} with known sizes for each modality. Received: "
            f"{wrong}. Pool them, or take a fusion whose `takes_tokens` is True."
        )


def dense(layer, units, index, shape, **kwargs):
    """A dense layer, built, whose initial weights follow from the fusion's seed."""
    initializer = keras.initializers.GlorotUniform(seed_of(layer, index))
    kwargs |= {"kernel_initializer": initializer, "dtype": layer.dtype_policy}
    made = layers.Dense(units, **kwargs)
    made.build(shape)
    return made


def seed_of(layer, index):
    """A seed for one of the fusion's weights; None if the fusion has none."""
    return None if layer.seed is None else layer.seed + index


def projections(layer, features_shape, **kwargs):
    """A dense layer for each modality, to the layer's `fused_dim`."""
    return {
        name: dense(
            layer, layer.fused_dim, i, features_shape[name], name=f"{name}_projection", **kwargs
        )
        for i, name in enumerate(sorted(features_shape))
    }


def projected(layer, features):
    """The features through the layer's `projections`, a list in alphabetical order of names."""
    return [layer.projections[name](features[name]) for name in sorted(features)]


def side_by_side(parts):
    """Concatenates the entries of a dict in alphabetical order of their names."""
    return ops.concatenate([parts[name] for name in sorted(parts)], axis=-1)


def without_absent(features, presence):
    """Features with zeros for an absent modality."""
    return {name: features[name] * presence[name] for name in features}


def masked_softmax(scores, there, axis=-1):
    """Softmax of scores above -30000 where `there` is 1, float32; zeros if it is nowhere."""
    scores, there = ops.cast(scores, "float32"), ops.cast(there, "float32")
    # Subtracting the largest score keeps exp finite. It is the largest of those that are there:
    # an absent one, if it were much larger, would round all others to nothing.
    known = scores * there - 3e4 * (1 - there)
    powers = ops.exp(known - ops.max(known, axis=axis, keepdims=True)) * there
    # The sum is 1 or more if anything is there.
    return powers / ops.maximum(ops.sum(powers, axis=axis, keepdims=True), 0.5)


def mix(tokens, weights):
    """Sum of `tokens`, a list of `[batch, dim]`, by `weights`, `[batch, len(tokens)]`."""
    weights = ops.cast(weights, tokens[0].dtype)
    return sum(weights[:, i : i + 1] * token for i, token in enumerate(tokens))
