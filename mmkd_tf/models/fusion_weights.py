"""Reads out of a whole model how much its fusion counts each modality."""

from collections.abc import Mapping

import keras
import numpy as np

from mmkd_tf.models.fusion import Fusion
from mmkd_tf.models.inputs import input_structure, route

_BATCH_SIZE = 256


def fusion_weights(
    model: keras.Model, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """Gives the weights of the modalities in each example's fused features.

    Args:
        model: A Functional model with a fusion of `mmkd_tf.models.fusion`, trained or loaded.
        inputs: By input name, one example or more along the first axis.

    Returns:
        By modality, float32 `[examples]`, 0 to 1; the sum over the modalities is 1, or 0 where
        an example lacks all of them. None if the model has no fusion, or one without weights.
    """
    call = _call_of_fusion(model)
    if call is None:
        return None
    fusion, features, presence = call
    taps = keras.Model(input_structure(model), {"features": features, "presence": presence})
    rows = []
    for start in range(0, len(next(iter(inputs.values()))), _BATCH_SIZE):
        part = {name: values[start : start + _BATCH_SIZE] for name, values in inputs.items()}
        tensors = taps(route(model, part), training=False)
        rows.append(keras.ops.convert_to_numpy(fusion.modality_weights(**tensors)))
    columns = np.concatenate(rows).astype("float32").T
    return dict(zip(sorted(features), columns, strict=True))


def _call_of_fusion(model):
    """The fusion with weights, and the features and presence that it is called on here."""
    for layer in model.layers:
        if isinstance(layer, Fusion) and layer.has_weights:
            # A layer that several models share has a call for each.
            nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
            node = next(node for node in nodes if node.operation is layer)
            arguments = dict(zip(("features", "presence"), node.arguments.args, strict=False))
            arguments |= node.arguments.kwargs
            return layer, arguments["features"], arguments["presence"]
    return None
