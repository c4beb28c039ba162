"""What a study's files say of its models: the content of `study.json`."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from mmkd_tf.evaluate.study import Comparison, compare, rank_recipes, scores
from mmkd_tf.run_folder import versions
from mmkd_tf.study.absence import absence
from mmkd_tf.study.config import StudyConfig
from mmkd_tf.study.folder import Outcome, UnitFolder, recipe_settings, shared_settings
from mmkd_tf.study.unit import Unit


def summarize(
    study: StudyConfig, units: Sequence[Unit], *, test: bool, failed: dict[str, str]
) -> dict:
    """Measures all models that are trained and compares the students.

    Args:
        study: What was compared.
        units: The study's units; those without a teacher or a student alone are left out.
        test: Whether to look at the test split too.
        failed: By unit that failed, the reason.

    Returns:
        What `study.json` holds; see the README.
    """
    splits = ("validation", "test") if test else ("validation",)
    datasets, comparisons, trained = {}, {}, {}
    for dataset in study.datasets:
        outcomes = _outcomes([unit for unit in units if unit.dataset == dataset])
        if not outcomes:
            continue
        trained[dataset] = outcomes
        compared = {split: _compare(outcomes, list(study.recipes), split) for split in splits}
        comparisons[dataset] = compared["validation"]
        datasets[dataset] = {
            "config": shared_settings(study.run_config(dataset, 0)),
            "models": _training(outcomes),
            "splits": {split: _measure(outcomes, compared[split], split) for split in splits},
        }
    ranking = rank_recipes(comparisons)
    return {
        "seeds": study.seeds,
        "recipes": {
            name: recipe_settings(study.run_config(next(iter(study.datasets)), 0, name))
            for name in study.recipes
        },
        "datasets": datasets,
        "absence": {split: _absence(units, trained, split) for split in splits},
        "ranking": [{"recipe": name, "mean_difference": value} for name, value in ranking],
        "failed": failed,
        "versions": versions(),
    }


def _absence(units, trained, split: str) -> dict[str, list[dict]]:
    found = absence(units, trained, split)
    return {name: [asdict(row) for row in rows] for name, rows in found.items()}


def _outcomes(units: Sequence[Unit]) -> dict[str, dict[int, Outcome]]:
    """By model and seed, what there is to compare."""
    outcomes = {}
    for unit in units:
        if {*unit.teachers, "student_alone"} & set(unit.missing):
            continue
        folder = UnitFolder(unit.path)
        for model in unit.models:
            if model not in unit.missing:
                outcomes.setdefault(model, {})[unit.seed] = folder.outcome(model)
    return outcomes


def _compare(outcomes, recipes: list[str], split: str) -> dict[str, Comparison]:
    comparisons = {}
    for recipe in recipes:
        seeds = list(outcomes.get(f"recipe-{recipe}", ()))
        if seeds:
            named = {"student": f"recipe-{recipe}"}
            comparisons[recipe] = compare(
                **{
                    role: [outcomes[named.get(role, role)][s].predictions(split) for s in seeds]
                    for role in ("teacher", "student_alone", "student")
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


def _measure(outcomes, comparisons: dict[str, Comparison], split: str) -> dict:
    measured = {
        model: scores([outcome.predictions(split) for outcome in by_seed.values()])
        for model, by_seed in outcomes.items()
    }
    first = next(iter(outcomes["student_alone"].values()))
    return {
        "examples": len(first.predictions(split).labels),
        "models": {
            name: {**asdict(s), "mean": s.mean(), "without": _without(outcomes[name], split)}
            for name, s in measured.items()
        },
        "comparisons": {name: asdict(c) for name, c in comparisons.items()},
    }


def _without(by_seed, split: str) -> dict[str, float]:
    """By modality, the mean accuracy where all examples lack it."""
    names = next(iter(by_seed.values())).without[split]
    return {
        name: float(
            np.mean([o.predictions(split, without=name).correct.mean() for o in by_seed.values()])
        )
        for name in names
    }
