"""Robustness: how good models are with a modality absent or damaged."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.evaluate.damage.kinds import DAMAGES, damaged
from mmkd_tf.modalities.modality import is_absent
from mmkd_tf.models.routing import input_names, route

Score = Callable[[np.ndarray, np.ndarray], float]

_BATCH_SIZE = 64


def robustness(
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    *,
    score: Score,
    reference: str = "student_alone",
    split: str = "test",
    seed: int = 0,
    max_examples: int = 500,
) -> dict:
    """Measures models on inputs that are incomplete, blurred, misspelt and so on.

    Every input is damaged once and shown to all models that read it.

    Args:
        models: By name; each reads the inputs that it names.
        dataset: The data.
        score: Gives a model's score, 0 to 1, of `(logits, labels)`.
        reference: The model that effective robustness is measured against.
        split: Which examples.
        seed: Seed of the damage and of the choice of examples.
        max_examples: Of a larger split, so many are chosen at random.

    Returns:
        `split`; `num_examples`; `clean`, the score by model; `absent`, by model and modality the
        score where all examples lack it, counting those with something left to read (a model of
        one modality has none); `damage`, by kind a dict of `modality`, `measure` (what the levels
        say), `levels` (six, from none on), `accuracy` (by model six scores), `relative` and
        `effective` (by model, see `relative_robustness` and `effective_robustness`; the
        reference itself has no effective robustness).
    """
    rows = _choose(len(dataset.splits[split]), max_examples, seed)
    inputs = {name: values[rows] for name, values in dataset.splits[split].inputs.items()}
    labels = dataset.splits[split].labels[rows]
    reads = {name: input_names(model) for name, model in models.items()}
    predict = {name: _predictor(model, inputs) for name, model in models.items()}

    logits = {name: predict[name](inputs) for name in models}
    clean = {name: float(score(logits[name], labels)) for name in models}
    absent = {}
    for name in models:
        absent[name] = {}
        for modality in reads[name] if len(reads[name]) > 1 else ():
            rest = [inputs[other] for other in reads[name] if other != modality]
            kept = ~np.all([is_absent(values) for values in rest], axis=0)
            if kept.any():
                shown = {other: values[kept] for other, values in inputs.items()}
                shown[modality] = np.zeros_like(shown[modality])
                absent[name][modality] = float(score(predict[name](shown), labels[kept]))

    curves = {}
    for kind, damage in DAMAGES.items():
        readers = [name for name in models if damage.modality in reads[name]]
        if damage.modality not in inputs or not readers:
            continue
        accuracy = {name: [clean[name]] for name in readers}
        last = {name: logits[name].copy() for name in readers}
        shown = dict(inputs)
        for amount in damage.amounts:
            values = damaged(damage, amount, dataset, split=split, rows=rows, seed=seed)
            # Many a text is the same at the next level: it keeps its logits.
            moved = ~is_absent(values != shown[damage.modality])
            shown[damage.modality] = values
            for name in readers:
                if moved.any():
                    some = {other: array[moved] for other, array in shown.items()}
                    last[name][moved] = predict[name](some)
                accuracy[name].append(float(score(last[name], labels)))
        curves[kind] = {
            "modality": damage.modality,
            "measure": damage.measure,
            "levels": damage.levels,
            "accuracy": accuracy,
            "relative": {name: relative_robustness(curve) for name, curve in accuracy.items()},
            "effective": {
                name: effective_robustness(curve, reference=accuracy[reference])
                for name, curve in accuracy.items()
                if reference in accuracy and name != reference
            },
        }
    return {
        "split": split,
        "num_examples": len(rows),
        "clean": clean,
        "absent": absent,
        "damage": curves,
    }


def relative_robustness(curve: Sequence[float]) -> float:
    """Area under the score as a function of the damage, which runs from 0 to 1.

    The levels count as equal steps from none to the strongest, whatever they are levels of;
    trapezoids lie between them. MultiBench measures the same area over 11 levels of noise and
    then scales it by the least and the greatest area of the methods that it compares; this is the
    area itself: a mean score under damage.

    Args:
        curve: Scores, from none of the damage to the most; at least 2.

    Returns:
        0 to 1 if the scores are; a model that damage does not touch has its clean score.

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
    `curve - (reference + curve[0] - reference[0])`, as an area over damage from 0 to 1. MultiBench
    sums the same differences over its levels, with its late fusion as the reference, and scales
    the sum as it does the relative robustness. In Taori et al. the promise is a line fitted to
    many models, here it is one model's curve.

    Args:
        curve: Scores, from none of the damage to the most; at least 2.
        reference: The scores of the reference at the same levels.

    Returns:
        Above 0 where damage takes less from the model than from the reference.

    Examples:
        >>> effective_robustness([0.75, 0.75, 0.5], reference=[0.5, 0.25, 0.25])
        0.125

    References:
        Liang, Lyu, Fan, Wu, Cheng and others: MultiBench: Multiscale Benchmarks for Multimodal
        Representation Learning, 2021.
        Taori, Dave, Shankar, Carlini, Recht, Schmidt: Measuring Robustness to Natural
        Distribution Shifts in Image Classification, 2020.
    """
    curve, reference = np.asarray(curve), np.asarray(reference)
    return relative_robustness((curve - curve[0]) - (reference - reference[0]))


def _choose(num_examples: int, max_examples: int, seed: int) -> np.ndarray:
    """Gives the rows to look at, in order."""
    if num_examples <= max_examples:
        return np.arange(num_examples)
    chosen = np.random.default_rng(seed).choice(num_examples, max_examples, replace=False)
    return np.sort(chosen)


def _predictor(
    model: keras.Model, inputs: Mapping[str, np.ndarray]
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Makes a function of inputs like these to logits: in a graph, for it has many calls."""
    names = input_names(model)
    any_size = {k: tf.TensorSpec([None, *inputs[k].shape[1:]], inputs[k].dtype) for k in names}

    @tf.function(input_signature=[any_size])
    def call(batch):
        return model(route(model, batch), training=False)

    def predict(values):
        starts = range(0, len(values[names[0]]), _BATCH_SIZE)
        batches = ({k: values[k][i : i + _BATCH_SIZE] for k in names} for i in starts)
        return np.concatenate([call(batch).numpy() for batch in batches])

    return predict
