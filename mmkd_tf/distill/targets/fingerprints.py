"""Fingerprints: what tells one teacher from another."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import keras
import numpy as np

# Keys of a config that change without any change of what the model says: freezing, compiling,
# and the numbers that Keras gives to objects while it saves them.
_IRRELEVANT = ("trainable", "compile_config", "shared_object_id")


def teacher_fingerprints(model: keras.Model) -> dict[str, str]:
    """Checksums of a model's weights and of its architecture.

    Names of layers don't count, because Keras numbers those that have none of their own: the
    same model built again has others.

    Args:
        model: A Functional or Sequential model.

    Returns:
        `teacher_weights` and `teacher_architecture`, 64 hexadecimal digits each.
    """
    weights = hashlib.sha256()
    for weight in model.weights:
        values = weight.numpy()
        weights.update(f"{values.dtype}{values.shape}".encode())
        weights.update(np.ascontiguousarray(values).tobytes())
    try:
        config = model.get_config()
    except NotImplementedError:  # layers that can't be saved; their kinds say less, but something
        config = [type(layer).__qualname__ for layer in model.layers]
    names = {model.name: "#"}
    for name in _layer_names(config):
        names.setdefault(name, f"#{len(names)}")
    architecture = json.dumps(
        _renamed(config, names), sort_keys=True, default=lambda value: type(value).__qualname__
    )
    return {
        "teacher_weights": weights.hexdigest(),
        "teacher_architecture": hashlib.sha256(architecture.encode()).hexdigest(),
    }


def _layer_names(config) -> Iterable[str]:
    """Names of all layers in a config, those of models within models included, in order."""
    if isinstance(config, list | tuple):
        for value in config:
            yield from _layer_names(value)
    elif isinstance(config, dict):
        inner = config.get("config")
        # The name of a dtype policy is no layer's name: it says how the model computes.
        if isinstance(inner, dict) and "DTypePolicy" not in config.get("class_name", "DTypePolicy"):
            name = inner.get("name")
            yield from [name] if isinstance(name, str) else []
        for value in config.values():
            yield from _layer_names(value)


def _renamed(config, names: Mapping[str, str]):
    """Copies a config with other names for the layers and without what does not matter."""
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if key not in _IRRELEVANT}
        return {str(key): _renamed(value, names) for key, value in kept.items()}
    if isinstance(config, list | tuple):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config
