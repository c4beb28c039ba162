"""Rows of the documentation's table of scenarios: what a study measured and what its files weigh.

    mmkd-tf study --config studies/scenarios/NAME.yaml --output FOLDER --test
    python studies/scenarios/row.py studies/scenarios/NAME.yaml FOLDER

A study judges models and writes no files for phones: for those a run of the first data set is
made here, once, in FOLDER/run. It has few epochs, since sizes and parity do not wait for more.
"""

import json
from pathlib import Path

import numpy as np
import typer

from mmkd_tf.config import RunConfig
from mmkd_tf.evaluate.statistics import Predictions, compare
from mmkd_tf.report.progress import Reporter
from mmkd_tf.run import run
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.study import make_units
from mmkd_tf.study_config import StudyConfig, make_study

EPOCHS = 2
STUDENT, SCRATCH = "recipe-default", "-scratch"
SMALL = "student_small.tflite"


def rows(study: StudyConfig, output: Path) -> list[str]:
    """Lines of Markdown: one for each data set of all inputs; see the table's head."""
    configs = {each: study.run_config(each, 0) for each in study.datasets}
    models = said(study, output)
    most = max(len(config.inputs) for config in configs.values())
    files = size_and_parity(configs[next(iter(configs))], output / "run")
    lines = []
    for dataset, config in configs.items():
        if len(config.inputs) == most and not dataset.endswith(SCRATCH):
            less = [
                models[other]["teacher"]
                for other, its in configs.items()
                if len(its.inputs) == 1 < most and same_question(config, its)
            ]
            alone = models.get(dataset + SCRATCH, models[dataset])["student_alone"]
            nothing = "one input" if most == 1 else "not compared"
            measured = figures(models[dataset], less, alone, nothing)
            lines.append(f"| `{dataset}` | {measured} | {files} |")
    return lines


def said(study: StudyConfig, output: Path) -> dict[str, dict[str, list[Predictions]]]:
    """By data set and model, what each seed says of the test split."""
    task = {
        name: each["task"]
        for name, each in json.loads((output / "study.json").read_text())["datasets"].items()
    }
    found: dict[str, dict[str, list[Predictions]]] = {}
    for unit in make_units(study, output):
        for model in ("teacher", "student_alone", STUDENT):
            outcome = unit.outcome(model)
            if outcome is not None:
                predictions = outcome.predictions("test", task[unit.dataset])
                found.setdefault(unit.dataset, {}).setdefault(model, []).append(predictions)
    return found


def same_question(config: RunConfig, other: RunConfig) -> bool:
    """Whether two data sets differ in inputs alone."""
    return config.data == other.data


def figures(models, less: list[list[Predictions]], alone: list[Predictions], nothing: str) -> str:
    """Teachers, what more inputs bring, students, and how far the student went.

    `nothing` stands where there is no teacher of less.
    """
    teacher, student = models["teacher"], models[STUDENT]
    best = max(less, key=mean, default=None)
    brought = nothing if best is None else points(best, teacher)
    gap = mean(teacher) - mean(alone)
    share = f"{(mean(student) - mean(alone)) / gap:.2f}" if gap > 0 else "no gap"
    first = "" if best is None else f"{mean(best):.3f}"
    return (
        f"{len(teacher)} | {first} | {mean(teacher):.3f} | {brought} | {mean(alone):.3f} | "
        f"{mean(student):.3f} | {share}"
    )


def points(of_less: list[Predictions], of_all: list[Predictions]) -> str:
    """The gain of all inputs over the best of one, with its 95 % interval."""
    seeds = min(len(of_less), len(of_all))
    first, second = of_less[:seeds], of_all[:seeds]
    rng = np.random.default_rng(0)
    found = compare(teacher=second, student_alone=first, student=second, rng=rng)
    text = f"{100 * found.mean_difference:+.1f}"
    interval = found.interval_with_examples or found.interval
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def mean(predictions: list[Predictions]) -> float:
    """The headline figure over seeds."""
    return float(np.mean([each.score for each in predictions]))


def size_and_parity(config: RunConfig, folder: Path) -> str:
    """KiB of the small file and how far the float32 file is from Keras."""
    results = folder / "results.json"
    if not results.is_file():
        training = config.training.model_copy(update={"epochs": EPOCHS})
        short = config.model_copy(update={"training": training, "robustness": False})
        made = RunFolder(folder)
        made.begin(short)
        run(short, made, Reporter())
    exports = json.loads(results.read_text(encoding="utf-8"))["exports"]
    small = next(each for each in exports if each["file"] == SMALL)
    exact = next(each for each in exports if each["file"] == "student.tflite")
    return f"{small['bytes'] / 1024:.0f} | {exact['max_abs_logit_difference']:.0e}"


def main(study: Path, folder: Path) -> None:
    """Prints the rows of a study, a YAML file and the folder of its outcomes."""
    typer.echo("\n".join(rows(make_study({}, study), folder)))


if __name__ == "__main__":
    typer.run(main)
