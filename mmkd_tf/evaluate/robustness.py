"""Robustness: how good models are with an input absent or damaged, and what they rely on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.modality import Damage, is_absent, select
from mmkd_tf.models import fusion_weights
from mmkd_tf.models.inputs import input_names, route
from mmkd_tf.progress import each

_BATCH_SIZE = 64


def robustness(
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    *,
    reference: str = "student_alone",
    split: str = "test",
    seed: int = 0,
    max_examples: int = 500,
) -> dict:
    """Measures models on inputs that are incomplete, blurred, misspelt and so on.

    Every input is damaged once and shown to all models that read it.

    Args:
        models: By name; each reads the inputs that it names.
        dataset: The data; scores are the headline figure of its task.
        reference: The model that effective robustness is measured against.
        split: Which examples.
        seed: Seed of the damage and of the choice of examples.
        max_examples: Of a larger split, so many are chosen at random.

    Returns:
        `split`; `num_examples`; `clean`, the score by model; `absent`, by model and input the
        score where all examples lack it, counting those with something left to read (none of a
        model of one input, nor of any of a pairwise task); `damage`, by kind of damage a dict of
        `modality`, the input; `measure` (what the levels say), `levels` (six, from none on),
        `score` (by model six), `relative` and `effective` (by model, see `relative_robustness`
        and `effective_robustness`; the reference itself has no effective robustness). Where
        several inputs can be damaged in one way, its key begins with the input's name.
    """
    examples, task = dataset.splits[split], dataset.task
    rows = _choose(len(examples), max_examples, seed)
    inputs = {name: values[rows] for name, values in examples.inputs.items()}
    readers = [_Reader(name, model, inputs) for name, model in models.items()]

    def rate(outputs, kept=slice(None)):
        return float(task.score(labels=examples.labels[rows][kept], outputs=outputs))

    clean = {reader.name: reader.predict(inputs) for reader in readers}
    curves = {}
    found = damages(dataset)
    for key, name, damage in each(found, "kinds of damage", len(found)):
        reading = [reader for reader in readers if name in reader.modalities]
        if reading:
            levels = (
                damaged(damage, amount, dataset, name, split=split, rows=rows, seed=seed)
                for amount in damage.amounts
            )
            scores = _curves(reading, clean, rate, inputs, name, levels)
            curves[key] = {
                "modality": name,
                "measure": damage.measure,
                "levels": damage.levels,
                "score": scores,
                "relative": {model: relative_robustness(curve) for model, curve in scores.items()},
                "effective": {
                    model: effective_robustness(curve, reference=scores[reference])
                    for model, curve in scores.items()
                    if reference in scores and model != reference
                },
            }
    return {
        "split": split,
        "num_examples": len(rows),
        "clean": {name: rate(outputs) for name, outputs in clean.items()},
        "absent": {
            reader.name: {} if task.is_pairwise else _absent(reader, rate, inputs)
            for reader in readers
        },
        "damage": curves,
    }


def damages(dataset: Dataset) -> list[tuple[str, str, Damage]]:
    """Gives the ways in which a dataset's inputs can go bad: key, name of the input, and damage."""
    found = [
        (kind, name, damage)
        for name, modality in dataset.modalities.items()
        for kind, damage in modality.damages.items()
    ]
    kinds = [kind for kind, _, _ in found]
    return [
        (kind if kinds.count(kind) == 1 else f"{name}_{kind}", name, damage)
        for kind, name, damage in found
    ]


def damaged(
    damage: Damage,
    amount: float,
    dataset: Dataset,
    name: str,
    *,
    split: str,
    rows: Sequence[int] | np.ndarray,
    seed: int,
) -> np.ndarray:
    """Damages an input of the examples `rows` of a split: tensor form, absent ones as they are.

    An example's damage follows from the seed and its row alone, and the draws are the same for
    every amount: a strong damage is a weak one gone further.
    """
    examples, modality = dataset.splits[split], dataset.modalities[name]
    values = select((examples.raw if modality.keeps_raw else examples.inputs)[name], rows)
    absent = modality.absent(values) if modality.keeps_raw else is_absent(np.asarray(values))
    changed = [
        value if lacks else damage.change(value, amount, np.random.default_rng([seed, row]))
        for value, lacks, row in zip(values, absent, rows, strict=True)
    ]
    return modality.to_tensor(changed).numpy() if modality.keeps_raw else np.stack(changed)


class _Reader:
    """A model with its name, the inputs that it reads, and a fast way to ask it.

    It runs as a graph that takes any number of examples, because it is asked some forty times.
    """

    def __init__(self, name: str, model: keras.Model, inputs: Mapping[str, np.ndarray]):
        self.name, self.modalities = name, input_names(model)
        read = {modality: inputs[modality] for modality in self.modalities}
        specs = {k: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for k, v in read.items()}

        @tf.function(input_signature=[specs])
        def call(batch):
            return model(route(model, batch), training=False)

        self._call = call

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Gives the outputs, with a row for each example."""
        read = {modality: inputs[modality] for modality in self.modalities}
        starts = range(0, len(next(iter(read.values()))), _BATCH_SIZE)
        batches = ({k: v[i : i + _BATCH_SIZE] for k, v in read.items()} for i in starts)
        return np.concatenate([self._call(batch).numpy() for batch in batches])


def _absent(reader: _Reader, rate: Callable, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Rates a model without each of its modalities, where something is left to read."""
    found = {}
    for modality in reader.modalities:
        rest = [inputs[other] for other in reader.modalities if other != modality]
        kept = ~np.all([is_absent(values) for values in rest], axis=0) if rest else np.array(False)
        if kept.any():
            shown = {other: values[kept] for other, values in inputs.items()}
            shown[modality] = np.zeros_like(shown[modality])
            found[modality] = rate(reader.predict(shown), kept)
    return found


def _curves(readers, clean, rate, inputs, modality, levels) -> dict[str, list[float]]:
    """Rates models that read a modality with each level of it, from the clean one on."""
    last = {reader.name: clean[reader.name].copy() for reader in readers}
    curves = {name: [rate(logits)] for name, logits in last.items()}
    shown = dict(inputs)
    for values in levels:
        # Many a text is the same at the next level: it keeps its logits.
        moved = ~is_absent(values != shown[modality])
        shown[modality] = values
        some = {other: array[moved] for other, array in shown.items()}
        for reader in readers:
            if moved.any():
                last[reader.name][moved] = reader.predict(some)
            curves[reader.name].append(rate(last[reader.name]))
    return curves


def _choose(num_examples: int, max_examples: int, seed: int) -> np.ndarray:
    """Gives the rows to look at, in order."""
    if num_examples <= max_examples:
        return np.arange(num_examples)
    chosen = np.random.default_rng(seed).choice(num_examples, max_examples, replace=False)
    return np.sort(chosen)


def relative_robustness(curve: Sequence[float]) -> float:
    """Area under the scores from no damage to the most, at least 2, as damage runs from 0 to 1.

    The levels count as equal steps, whatever they are levels of; trapezoids lie between them.
    MultiBench measures the same area over 11 levels of noise and then scales it by the least and
    the greatest area of the methods that it compares; this is the area itself: a mean score under
    damage.

    Examples:
        >>> relative_robustness([0.75, 0.5, 0.25])
        0.5

    References:
        Liang, Lyu, Fan, Wu, Cheng and others: MultiBench: Multiscale Benchmarks for Multimodal
        Representation Learning, 2021.
    """
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def effective_robustness(curve: Sequence[float], *, reference: Sequence[float]) -> float:
    """Area between a model's curve and the reference's, moved to the same clean score.

    It says what a model keeps beyond what its clean score promises:
    `curve - (reference + curve[0] - reference[0])`, as an area over damage from 0 to 1; above 0
    where damage takes less from the model. MultiBench (see `relative_robustness`) sums the same
    differences over its levels, with its late fusion as the reference, and scales the sum as it
    does the relative robustness. In Taori et al. the promise is a line fitted to many models, here
    one model's curve.

    Examples:
        >>> effective_robustness([0.75, 0.75, 0.5], reference=[0.5, 0.25, 0.25])
        0.125

    References:
        Taori, Dave, Shankar, Carlini, Recht, Schmidt: Measuring Robustness to Natural
        Distribution Shifts in Image Classification, 2020.
    """
    curve, reference = np.asarray(curve), np.asarray(reference)
    return relative_robustness((curve - curve[0]) - (reference - reference[0]))


def modality_weights(
    model: keras.Model, dataset: Dataset, *, split: str = "test"
) -> dict[str, dict] | None:
    """How much a fusion counts each input, over the examples that have all that the model reads.

    An example that lacks a modality gives all its weight to what is left, which says nothing
    about the model.

    Returns:
        By modality `mean`, `low` and `high` of the weights, 0 to 1, the last two being what a
        tenth of the examples are below and above; where an example has one class also `per_class`,
        the mean by class name where there are examples. None if the fusion has no weights, as
        concatenation has none, the model reads one modality, or no example is complete.
    """
    examples = dataset.splits[split]
    read = {modality: examples.inputs[modality] for modality in input_names(model)}
    complete = ~np.any([is_absent(values) for values in read.values()], axis=0)
    if len(read) < 2 or not complete.any():
        return None
    rows = np.flatnonzero(complete)
    shown: dict[str, Any] = {key: select(values, rows) for key, values in read.items()}
    weights = fusion_weights(model, shown)
    if weights is None:
        return None
    labels = examples.labels[complete] if dataset.task.has_one_class else None
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
