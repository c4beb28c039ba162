"""Robustness: how good models are with a modality absent or damaged."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.evaluate.damage.areas import effective_robustness, relative_robustness
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
    can_lack: bool = True,
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
        score: Gives a model's score of `(outputs, labels)`, more is better and 1 is best.
        can_lack: Whether the models have an answer where a modality is absent.
        reference: The model that effective robustness is measured against.
        split: Which examples.
        seed: Seed of the damage and of the choice of examples.
        max_examples: Of a larger split, so many are chosen at random.

    Returns:
        `split`; `num_examples`; `clean`, the score by model; `absent`, by model and modality the
        score where all examples lack it, counting those with something left to read (none of a
        model of one modality, nor of any if `can_lack` is False); `damage`, by kind a dict of
        `modality`, `measure` (what the levels say), `levels` (six, from none on), `score` (by
        model six), `relative` and `effective` (by model, see `damage/areas.py`; the reference
        itself has no effective robustness).
    """
    examples = dataset.splits[split]
    rows = _choose(len(examples), max_examples, seed)
    inputs = {name: values[rows] for name, values in examples.inputs.items()}
    readers = [_Reader(name, model, inputs) for name, model in models.items()]

    def rate(logits, kept=slice(None)):
        return float(score(logits, examples.labels[rows][kept]))

    clean = {reader.name: reader.predict(inputs) for reader in readers}
    curves = {}
    for kind, damage in DAMAGES.items():
        reading = [reader for reader in readers if damage.modality in reader.modalities]
        if reading:
            levels = (
                damaged(damage, amount, dataset, split=split, rows=rows, seed=seed)
                for amount in damage.amounts
            )
            scores = _curves(reading, clean, rate, inputs, damage.modality, levels)
            curves[kind] = {
                "modality": damage.modality,
                "measure": damage.measure,
                "levels": damage.levels,
                "score": scores,
                "relative": {name: relative_robustness(curve) for name, curve in scores.items()},
                "effective": {
                    name: effective_robustness(curve, reference=scores[reference])
                    for name, curve in scores.items()
                    if reference in scores and name != reference
                },
            }
    return {
        "split": split,
        "num_examples": len(rows),
        "clean": {name: rate(logits) for name, logits in clean.items()},
        "absent": {
            reader.name: _absent(reader, rate, inputs) if can_lack else {} for reader in readers
        },
        "damage": curves,
    }


class _Reader:
    """A model with its name, the modalities that it reads, and a fast way to ask it.

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
