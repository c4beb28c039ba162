"""Encodes inputs as a fusion wants them: a vector a modality, or tokens."""

from collections.abc import Mapping

import keras

from mmkd_tf.modalities.modality import Modality
from mmkd_tf.models.fusion import Presence

Tensors = dict[str, keras.KerasTensor]


def encode(
    modalities: Mapping[str, Modality],
    inputs: Mapping[str, keras.KerasTensor],
    *,
    role: str,
    fusion: keras.layers.Layer,
) -> tuple[Tensors, Tensors]:
    """Makes the encoders and tells what is there.

    Args:
        modalities: By name.
        inputs: By the same names.
        role: `teacher` or `student`: whose encoders to take.
        fusion: What the features are for. If it takes tokens, modalities that have them give
            them; the others are one token each.

    Returns:
        Features and presence by name, to call the fusion with.
    """
    by_token = {
        name: getattr(modality, f"{role}_tokens")
        for name, modality in modalities.items()
        if getattr(fusion, "takes_tokens", False) and hasattr(modality, f"{role}_tokens")
    }
    features = {
        name: getattr(modality, f"{role}_encoder")(inputs[name])
        for name, modality in modalities.items()
        if name not in by_token
    }
    presence = {name: Presence(name=f"{name}_presence")(inputs[name]) for name in modalities}
    for name, tokens in by_token.items():
        features[name], presence[name] = tokens(inputs[name], presence[name])
    return features, presence
