"""What a study's files say of its models: the content of `study.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from mmkd_tf.evaluate.statistics import Comparison, Predictions, compare, rank_recipes, scores
from mmkd_tf.run_folder import versions
from mmkd_tf.study_config import StudyConfig, recipe_settings, shared_settings
from mmkd_tf.study_units import Outcome, Unit
from mmkd_tf.tasks.task import Task

Outcomes = Mapping[str, Mapping[int, Outcome]]  # by model and seed


def summarize(
    study: StudyConfig,
    units: Sequence[Unit],
    tasks: Mapping[str, Task],
    *,
    test: bool,
    failed: Mapping[str, str],
) -> dict:
    """Measures all models that are trained and compares the students.

    Args:
        study: What was compared.
        units: The study's units; those without a teacher or a student alone are left out.
        tasks: By dataset, what its models answer.
        test: Whether to look at the test split too.
        failed: By unit that failed, the reason.

    Returns:
        What `study.json` holds; see the README.
    """
    splits = ("validation", "test") if test else ("validation",)
    datasets, comparisons, trained = {}, {}, {}
    for dataset, task in tasks.items():
        outcomes = _outcomes([unit for unit in units if unit.dataset == dataset])
        if not outcomes:
            continue
        trained[dataset] = outcomes
        compared = {split: _compare(outcomes, study.recipes, split, task) for split in splits}
        comparisons[dataset] = compared["validation"]
        datasets[dataset] = {
            "task": task.name,
            "config": shared_settings(study.run_config(dataset, 0)),
            "models": _training(outcomes),
            "splits": {split: _measure(outcomes, compared[split], split, task) for split in splits},
        }
    first = next(iter(study.datasets))
    return {
        "seeds": study.seeds,
        "recipes": {
            name: recipe_settings(study.run_config(first, 0, name)) for name in study.recipes
        },
        "datasets": datasets,
        "absence": {split: absence(units, trained, tasks, split) for split in splits},
        "ranking": [
            {"recipe": name, "mean_difference": value} for name, value in rank_recipes(comparisons)
        ],
        "failed": dict(failed),
        "versions": versions(),
    }


def _outcomes(units: Sequence[Unit]) -> dict[str, dict[int, Outcome]]:
    """By model and seed, what there is to compare."""
    outcomes = {}
    for unit in units:
        missing = unit.missing
        if {*unit.teachers, "student_alone"} & set(missing):
            continue
        for model in unit.models:
            if model not in missing:
                outcomes.setdefault(model, {})[unit.seed] = unit.outcome(model)
    return outcomes


def _compare(outcomes, recipes: Iterable[str], split, task) -> dict[str, Comparison]:
    comparisons = {}
    for recipe in recipes:
        student = outcomes.get(f"recipe-{recipe}", {})
        if student:
            models = {"teacher": outcomes["teacher"], "student_alone": outcomes["student_alone"]}
            comparisons[recipe] = compare(
                **{
                    role: [by_seed[seed].predictions(split, task) for seed in student]
                    for role, by_seed in (models | {"student": student}).items()
                },
                rng=np.random.default_rng(0),
            )
    return comparisons


def _training(outcomes) -> dict[str, dict]:
    return {
        model: {
            "seeds": list(by_seed),
            "parameters": next(iter(by_seed.values())).parameters,
            "seconds": [round(outcome.seconds, 1) for outcome in by_seed.values()],
        }
        for model, by_seed in outcomes.items()
    }


def _measure(outcomes, comparisons: Mapping[str, Comparison], split: str, task: Task) -> dict:
    models = {}
    for model, by_seed in outcomes.items():
        measured = scores([outcome.predictions(split, task) for outcome in by_seed.values()])
        means = {key: float(np.mean(values)) for key, values in measured.items()}
        models[model] = {**measured, "mean": means, "without": _without(by_seed, split, task)}
    first = next(iter(outcomes["student_alone"].values()))
    return {
        "examples": len(first.labels[split]),
        "models": models,
        "comparisons": {name: asdict(each) for name, each in comparisons.items()},
    }


def _without(by_seed: Mapping[int, Outcome], split: str, task: Task) -> dict[str, float]:
    """By input, the mean headline figure where all examples lack it."""
    names = next(iter(by_seed.values())).without[split]
    return {
        name: _mean_score(o.predictions(split, task, without=name) for o in by_seed.values())
        for name in names
    }


def absence(
    units: Sequence[Unit], outcomes: Mapping[str, Outcomes], tasks: Mapping[str, Task], split: str
) -> dict[str, list[dict]]:
    """Compares the datasets of a study that differ in inputs or dropout of the students alone.

    Args:
        units: The study's units.
        outcomes: By dataset, model and seed.
        tasks: By dataset, what its models answer.
        split: Which split to look at.

    Returns:
        `left`: models with one input left, beside the student made for that input alone, with
        their mean headline figures and the share of the one in the other. `cost`: models beside
        the same without modality dropout, on complete inputs, with the mean difference and its
        95 % interval over the seeds, None for one seed. Both are empty where the study has no two
        such datasets.
    """
    first = {unit.dataset: unit for unit in reversed(units) if unit.dataset in outcomes}
    left, cost = [], []
    for name, unit in first.items():
        for other_name, other in first.items():
            if other_name == name or other.config.data != unit.config.data:
                continue
            pair = (outcomes[name], outcomes[other_name], split, tasks[name])
            read, others = unit.config.student_inputs, other.config.student_inputs
            if len(read) == 2 and len(others) == 1 and others[0] in read:
                left += _left(name, other_name, others[0], *pair)
            if _but_dropout(unit) == _but_dropout(other) and not _rate(other) and _rate(unit):
                cost += _cost(name, other_name, *pair)
    return {"left": left, "cost": cost}


def _but_dropout(unit: Unit) -> dict:
    """All settings but modality dropout of the students."""
    return unit.config.model_dump(exclude={"student": {"modality_dropout"}})


def _rate(unit: Unit) -> float:
    rates = unit.config.student.modality_dropout
    return max(rates.values(), default=0.0) if isinstance(rates, dict) else rates


def _left(name, other_name, modality: str, own: Outcomes, other: Outcomes, split, task):
    made_for_it = _mean_score(o.predictions(split, task) for o in other["student_alone"].values())
    rows = []
    for model, by_seed in own.items():
        absent = [each for each in next(iter(by_seed.values())).without[split] if each != modality]
        if _is_student(model) and absent:
            found = [o.predictions(split, task, without=absent[0]) for o in by_seed.values()]
            rows.append(
                {
                    "dataset": name,
                    "model": model,
                    "modality": modality,
                    "accuracy": (score := _mean_score(found)),
                    "made_for_it": other_name,
                    "made_for_it_accuracy": made_for_it,
                    "share": score / made_for_it if made_for_it else 0.0,
                }
            )
    return rows


def _cost(name, other_name, own: Outcomes, other: Outcomes, split, task):
    rows = []
    for model in filter(_is_student, own):
        seeds = sorted(set(own[model]) & set(other.get(model, ())))
        if seeds:
            before, after = (
                [outcomes[model][seed].predictions(split, task) for seed in seeds]
                for outcomes in (other, own)
            )
            compared = compare(
                teacher=before, student_alone=before, student=after, rng=np.random.default_rng(0)
            )
            rows.append(
                {
                    "dataset": name,
                    "without_dropout": other_name,
                    "model": model,
                    "mean_difference": compared.mean_difference,
                    "interval": compared.interval,
                }
            )
    return rows


def _is_student(model: str) -> bool:
    return model == "student_alone" or model.startswith("recipe-")


def _mean_score(predictions: Iterable[Predictions]) -> float:
    return float(np.mean([each.score for each in predictions]))
