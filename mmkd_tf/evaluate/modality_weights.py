"""Modality weights: how much a fusion counts each modality, over the examples of a split."""

import keras
import numpy as np

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.modality import is_absent
from mmkd_tf.models.fusion_weights import fusion_weights
from mmkd_tf.models.routing import input_names


def modality_weights(
    model: keras.Model, dataset: Dataset, *, split: str = "test"
) -> dict[str, dict] | None:
    """Sums up `fusion_weights` over the examples that have all that a model reads.

    An example that lacks a modality gives all its weight to what is left, which says nothing
    about the model.

    Args:
        model: A Functional model; it reads the inputs that it names.
        dataset: The data as the model reads them.
        split: Which examples.

    Returns:
        By modality `mean`, `low` and `high` of the weights, 0 to 1, the last two being what a
        tenth of the examples are below and above; of single labels also `per_class`, the mean by
        class name where there are examples. None if the fusion has no weights, as concatenation
        has none, the model reads one modality, or no example is complete.
    """
    examples = dataset.splits[split]
    read = {modality: examples.inputs[modality] for modality in input_names(model)}
    complete = ~np.any([is_absent(values) for values in read.values()], axis=0)
    if len(read) < 2 or not complete.any():
        return None
    weights = fusion_weights(model, {key: values[complete] for key, values in read.items()})
    if weights is None:
        return None
    labels = examples.labels[complete] if dataset.task == "single_label" else None
    return {
        modality: _summed_up(values, labels, dataset.class_names)
        for modality, values in weights.items()
    }


def _summed_up(weights: np.ndarray, labels: np.ndarray | None, class_names: list[str]) -> dict:
    low, high = np.quantile(weights, [0.1, 0.9])
    summed = {"mean": float(weights.mean()), "low": float(low), "high": float(high)}
    if labels is None:
        return summed
    by_class = {name: weights[labels == label] for label, name in enumerate(class_names)}
    means = {name: float(values.mean()) for name, values in by_class.items() if len(values)}
    return {**summed, "per_class": means}
