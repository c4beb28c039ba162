"""Seeding: a model whose initial weights and dropout follow from one seed, without global state."""

from collections.abc import Iterable

import keras
import numpy as np

KEPT = "layers_with_given_weights"


def seeded(model: keras.Model, *, seed: int) -> keras.Model:
    """Builds a model again with a seed in every initialiser and dropout that has none.

    Keras draws such seeds from Python's global generator, so that two models built in a row
    differ and the same program run twice gives other numbers.

    Args:
        model: A Functional model whose layers can be made from their configs. Weights are kept
            of what `build_teacher` and `build_student` were given as `encoders`, and of nothing
            else; a file does not say which these are.
        seed: Any integer of 0 or more.

    Returns:
        A new model of the same architecture; the same seed gives the same initial weights.

    Examples:
        >>> inputs = keras.Input([3])
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        >>> a, b = seeded(model, seed=1), seeded(model, seed=1)
        >>> bool((a.get_weights()[0] == b.get_weights()[0]).all())
        True
    """
    generator = np.random.default_rng(seed)
    made = type(model).from_config(_fill(model.get_config(), generator))
    for name in getattr(model, KEPT, ()):
        take_over_weights(model.get_layer(name), made.get_layer(name))
    return keeping(made, getattr(model, KEPT, ()))


def take_over_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Gives a layer or model the weights of one of the same architecture."""
    # `set_weights` would leave what a layer derives from its weights, as Normalization does.
    parts = old._flatten_layers(), new._flatten_layers()
    for before, after in zip(*parts, strict=True):
        store: dict = {}
        before.save_own_variables(store)
        after.load_own_variables(store)


def keeping(model: keras.Model, names: Iterable[str]) -> keras.Model:
    """Marks the layers of a model whose weights `seeded` keeps; gives the model."""
    setattr(model, KEPT, tuple(names))
    return model


def _fill(config, generator):
    """Copies a config, drawing a seed wherever one is left open."""
    if isinstance(config, dict):
        return {
            key: int(generator.integers(2**31))
            if key == "seed" and value is None
            else _fill(value, generator)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_fill(value, generator) for value in config)
    return config
