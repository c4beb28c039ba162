"""Computes what a Keras model gives, as an exported file shall give it."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.lowering.portable import portable

_BATCH = 32


def keras_logits(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Computes logits, float32 `[n, num_classes]`, of examples in tensor form.

    On the CPU, because GPUs round the factors of float32 products.
    """
    num_examples = len(next(iter(inputs.values())))
    with tf.device("CPU:0"), portable(model):
        batches = [
            call_by_name(model, {k: tf.constant(v[i : i + _BATCH]) for k, v in inputs.items()})
            for i in range(0, num_examples, _BATCH)
        ]
    return np.concatenate([np.asarray(batch, np.float32) for batch in batches])


def check_logits(logits: np.ndarray, *, case: str, task: str = "single_label") -> None:
    """Refuses values that are not finite, and probabilities where logits should be."""
    if not np.isfinite(logits).all():
        raise ValueError(
            f"`model`: finite logits. Received: NaN or infinity in Keras itself on {case}. "
            "Train it anew, or let it cope with inputs of zeros, which stand for absent ones."
        )
    sums = logits.sum(axis=1)
    if task == "multi_label" and (logits >= 0).all() and (logits <= 1).all() and logits.any():
        raise ValueError(
            "`model`: logits. Received: values that are all from 0 to 1, as after a sigmoid. "
            "Give the model without it: the export adds the sigmoid."
        )
    if task == "single_label" and (logits >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            "`model`: logits. Received: rows that sum to 1, as after a softmax. "
            "Give the model without it: keras.Model(model.inputs, logits), or a last Dense "
            "layer with activation=None. The export adds the softmax."
        )
