"""What training for absence costs and gives: a study's students beside those made for less."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.evaluate.study import compare
from mmkd_tf.study.folder import Outcome
from mmkd_tf.study.unit import Unit

Outcomes = Mapping[str, Mapping[int, Outcome]]  # by model and seed


@dataclass(frozen=True)
class Left:
    """A model with one modality left, beside the student made for that modality alone.

    Attributes:
        dataset: Name of the model's dataset in the study.
        model: The model.
        modality: What is left.
        accuracy: Mean over the seeds, 0 to 1.
        made_for_it: Name of the dataset whose students read that modality alone.
        made_for_it_accuracy: Mean accuracy of that student alone.
        share: The one divided by the other.
    """

    dataset: str
    model: str
    modality: str
    accuracy: float
    made_for_it: str
    made_for_it_accuracy: float
    share: float


@dataclass(frozen=True)
class Cost:
    """A model trained for absence beside the same without modality dropout, on complete inputs.

    Attributes:
        dataset: Name of the model's dataset in the study.
        without_dropout: Name of the dataset whose models are trained without dropout.
        model: The model.
        mean_difference: Accuracy of the first less that of the second, mean over the seeds.
        interval: 95 % interval over the seeds; None for one seed.
    """

    dataset: str
    without_dropout: str
    model: str
    mean_difference: float
    interval: tuple[float, float] | None


def absence(units: Sequence[Unit], outcomes: Mapping[str, Outcomes], split: str) -> dict:
    """Compares the datasets of a study that differ in what their students read or are spared.

    Args:
        units: The study's units.
        outcomes: By dataset, model and seed.
        split: Which split to look at.

    Returns:
        `left`: a list of `Left`; `cost`: a list of `Cost`. Both are empty where the study has no
        two such datasets.
    """
    first = {unit.dataset: unit for unit in reversed(units) if unit.dataset in outcomes}
    left, cost = [], []
    for name, unit in first.items():
        for other_name, other in first.items():
            if other_name == name or other.config.data != unit.config.data:
                continue
            pair = (outcomes[name], outcomes[other_name])
            if len(unit.modalities) == 2 and other.modalities in ([m] for m in unit.modalities):
                left += _left(name, other_name, *pair, other.modalities[0], split)
            if _spared(unit) == _spared(other) and not _rates(other) and _rates(unit):
                cost += _cost(name, other_name, *pair, split)
    return {"left": left, "cost": cost}


def _spared(unit: Unit) -> dict:
    """All settings but modality dropout."""
    return {k: v for k, v in unit.config.model_dump().items() if k != "modality_dropout"}


def _rates(unit: Unit) -> float:
    rates = unit.config.modality_dropout
    return max(rates.values(), default=0.0) if isinstance(rates, dict) else rates


def _left(name, other_name, own: Outcomes, other: Outcomes, modality: str, split: str):
    made_for_it = _accuracy(o.predictions(split) for o in other["student_alone"].values())
    rows = []
    for model, by_seed in own.items():
        if _is_student(model):
            names = [n for n in next(iter(by_seed.values())).without[split] if n != modality]
            found = [o.predictions(split, without=names[0]) for o in by_seed.values()]
            accuracy = _accuracy(found)
            share = accuracy / made_for_it if made_for_it else 0.0
            rows.append(Left(name, model, modality, accuracy, other_name, made_for_it, share))
    return rows


def _cost(name, other_name, own: Outcomes, other: Outcomes, split: str):
    rows = []
    for model in own:
        if model not in other or not _is_student(model):
            continue
        seeds = sorted(set(own[model]) & set(other[model]))
        before, after = (
            [outcomes[model][seed].predictions(split) for seed in seeds]
            for outcomes in (other, own)
        )
        compared = compare(
            teacher=before, student_alone=before, student=after, rng=np.random.default_rng(0)
        )
        rows.append(Cost(name, other_name, model, compared.mean_difference, compared.interval))
    return rows


def _is_student(model: str) -> bool:
    return model == "student_alone" or model.startswith("recipe-")


def _accuracy(predictions) -> float:
    return float(np.mean([p.correct.mean() for p in predictions]))
