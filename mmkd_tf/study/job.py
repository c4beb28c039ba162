"""The study from top to bottom: units, trainings, statistics, table and figure."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmkd_tf.config import RunConfig
from mmkd_tf.report.figures import study_figure
from mmkd_tf.report.progress import Reporter
from mmkd_tf.report.study_page import study_page
from mmkd_tf.run import load_dataset
from mmkd_tf.run_folder import RunFolder, whole_file
from mmkd_tf.study.config import RECIPE_FIELDS, STUDENT_FIELDS, StudyConfig
from mmkd_tf.study.folder import UnitFolder
from mmkd_tf.study.pool import default_jobs, train_all
from mmkd_tf.study.results import summarize
from mmkd_tf.study.unit import SOFT_TARGETS_FOLDER, Unit

RESULTS_FILE, PAGE_FILE, FIGURE_FILE = "study.json", "study.md", "study.png"


def run_study(
    study: StudyConfig,
    output: Path,
    *,
    jobs: int | None = None,
    test: bool = False,
    reporter: Reporter | None = None,
) -> dict:
    """Trains what is missing, compares, writes `study.json`, `study.md` and `study.png`.

    Args:
        study: What to compare.
        output: Folder of the study; made if needed. What it holds already is not trained again.
        jobs: How many seeds to train at once; by default what the machine can hold.
        test: Whether to look at the test split too. The recipe is to be chosen before.
        reporter: Tells a person what happens.

    Returns:
        What `study.json` holds.

    Raises:
        ValueError: If the folder holds models of other settings or data, a dataset can't be
            used, or nothing could be trained.
    """
    reporter = reporter or Reporter()
    if jobs is not None and jobs < 1:
        raise ValueError(f"`--jobs`: 1 or more. Received: jobs={jobs}.")
    units = make_units(study, output)
    _check_settings(units)
    _check_data(units[: len(study.datasets)], reporter)
    missing = [unit for unit in units if unit.missing]
    num_jobs = min(jobs or default_jobs(len(missing)), max(1, len(missing)))
    num_models = sum(len(unit.missing) for unit in missing)
    reporter.say(
        f"{len(study.datasets)} datasets x {study.seeds} seeds: {num_models} models to train, "
        f"{num_jobs} at once"
    )
    failed = train_all(by_teacher(missing), jobs=num_jobs, say=reporter.say) if missing else {}
    shutil.rmtree(Path(output) / SOFT_TARGETS_FOLDER, ignore_errors=True)
    results = summarize(study, units, test=test, failed=failed)
    if not results["datasets"]:
        raise ValueError("nothing could be trained:\n" + "\n".join(failed.values()))
    folder = RunFolder(output)
    folder.write_text(RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    folder.write_text(PAGE_FILE, study_page(results, figure=FIGURE_FILE))
    if study.recipes:  # it shows pairs of students
        with whole_file(output / FIGURE_FILE) as unfinished:
            study_figure(results).savefig(unfinished, format="png", dpi=150)
    return results


def make_units(study: StudyConfig, output: Path) -> list[Unit]:
    """Lists the units of work: the first seed of all datasets, then the second, and so on."""
    units, teachers = [], {}
    for seed in range(study.seeds):
        for dataset in study.datasets:
            path = Path(output) / dataset / f"seed-{seed}"
            config = study.run_config(dataset, seed)
            unit = Unit(
                dataset=dataset,
                seed=seed,
                path=path,
                config=config,
                recipes={name: study.run_config(dataset, seed, name) for name in study.recipes},
                teacher_path=teachers.setdefault(_teacher_key(config), path),
            )
            units.append(unit)
    return units


def _teacher_key(config: RunConfig) -> str:
    """What a teacher follows from: equal for two runs whose students alone differ."""
    students = {*RECIPE_FIELDS, *STUDENT_FIELDS}
    return json.dumps({k: v for k, v in config.model_dump().items() if k not in students})


def by_teacher(units: Sequence[Unit]) -> list[list[Unit]]:
    """Groups units by teacher, in their order."""
    groups = {}
    for unit in units:
        groups.setdefault(unit.teacher_path, []).append(unit)
    return list(groups.values())


def _check_settings(units: list[Unit]) -> None:
    lines = [
        line
        for unit in units
        for line in UnitFolder(unit.path).differences(unit.config, unit.recipes)
    ]
    if lines:
        shown = lines[:20] + [f"- and {len(lines) - 20} more"] * (len(lines) > 20)
        raise ValueError(
            "`--output`: a new folder, or one with the same settings. Received: one that was begun "
            "with others:\n" + "\n".join(shown) + "\nGive a changed recipe another name, or choose "
            "another folder."
        )


def _check_data(units: list[Unit], reporter: Reporter) -> None:
    """Reads each dataset once, so that what is wrong with one is found before any training.

    It also prepares TensorFlow datasets, which several processes must not do at once.
    """
    for unit in units:
        dataset = load_dataset(unit.config)
        if dataset.task != "single_label":
            raise ValueError(
                f"`datasets`: data with one class for each example, which a study compares by "
                f"accuracy. Received: {unit.dataset}, of {dataset.task}. Use mmkd-tf run."
            )
        reporter.say(f"{unit.dataset}: {repr(dataset).splitlines()[0]}")
        unit.path.mkdir(parents=True, exist_ok=True)
        RunFolder(unit.path).check_same_data(dataset.fingerprint())
