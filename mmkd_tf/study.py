"""The study: the same student alone and distilled, over datasets, seeds and recipes."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.data.dataset import TRANSFER, Dataset
from mmkd_tf.distill.workers import refuse_together
from mmkd_tf.files.whole import whole_file
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.cross_fitted import FOLD
from mmkd_tf.processes import default_jobs, run_groups
from mmkd_tf.progress import shown_by
from mmkd_tf.report.figures import study_figure
from mmkd_tf.report.progress import Reporter
from mmkd_tf.report.study_page import study_page
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.manifest import LOCK_FILE, MANIFEST_FILE, FolderLock
from mmkd_tf.runs.roles import num_parameters, predict, untrained
from mmkd_tf.runs.training import keep_soft_targets, student_terms, train_model, transfer_rows
from mmkd_tf.study_config import StudyConfig, teacher_settings
from mmkd_tf.study_results import SOFT_TARGETS_FOLDER, Outcome, Unit, summarize
from mmkd_tf.tasks.task import Task

RESULTS_FILE, PAGE_FILE, FIGURE_FILE = "study.json", "study.md", "study.png"


def run_study(
    study: StudyConfig,
    output: Path,
    *,
    jobs: int | None = None,
    test: bool = False,
    reporter: Reporter | None = None,
) -> dict:
    """Trains what is missing, compares, writes `study.json`, `study.md` and `study.png`."""
    reporter = reporter or Reporter()
    if jobs is not None and jobs < 1:
        raise ValueError(f"`--jobs`: 1 or more. Received: jobs={jobs}.")
    with _held(Path(output)):
        return _run_study(study, Path(output), jobs=jobs, test=test, reporter=reporter)


@contextmanager
def _held(output: Path) -> Iterator[None]:
    """Keeps other studies out of a folder, which is made and, if nothing came of it, removed."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"`--output`: a folder. Received: the file {output}.")
    if (output / MANIFEST_FILE).exists():
        raise ValueError(
            f"`--output`: a new folder, or that of a study. Received: {output}, which holds a run. "
            "Choose another folder."
        )
    made = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(output)
    try:
        yield
    finally:
        (output / LOCK_FILE).unlink(missing_ok=True)
        lock.release()
        if made and not any(output.iterdir()):
            output.rmdir()


def _run_study(
    study: StudyConfig, output: Path, *, jobs: int | None, test: bool, reporter: Reporter
) -> dict:
    units = make_units(study, output)
    _check_same_settings(units)
    _check_files(units, reporter)
    tasks = _check_data(units[: len(study.datasets)], reporter)
    missing = [unit for unit in units if unit.missing]
    num_jobs = min(jobs or default_jobs(len(missing)), max(1, len(missing)))
    num_models = sum(len(unit.missing) for unit in missing)
    reporter.say(
        f"{len(study.datasets)} datasets x {study.seeds} seeds: {num_models} models to train, "
        f"{num_jobs} at once"
    )
    failed = {}
    if missing:
        groups: dict[Path, list[Unit]] = {}  # by teacher, in their order
        for unit in missing:
            groups.setdefault(unit.teacher_path, []).append(unit)
        with shown_by(reporter.steps):
            failed = run_groups(list(groups.values()), train_unit, jobs=num_jobs, say=reporter.say)
    shutil.rmtree(output / SOFT_TARGETS_FOLDER, ignore_errors=True)
    results = summarize(study, units, tasks, test=test, failed=failed)
    if not results["datasets"]:
        raise ValueError("nothing could be trained:\n" + "\n".join(failed.values()))
    folder = RunFolder(output)
    folder.write_text(RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    folder.write_text(PAGE_FILE, study_page(results, figure=FIGURE_FILE))
    if study.recipes and set(results["datasets"]) - set(study.only):  # it shows pairs of students
        with whole_file(output / FIGURE_FILE) as unfinished:
            study_figure(results).savefig(unfinished, format="png", dpi=150)
    return results


def make_units(study: StudyConfig, output: Path) -> list[Unit]:
    """Lists the units of work: the first seed of all datasets, then the second, and so on."""
    units, teachers = [], dict[Any, Any]()
    for seed in range(study.seeds):
        for dataset in study.datasets:
            path = Path(output) / dataset / f"seed-{seed}"
            config = study.run_config(dataset, seed)
            only = study.only.get(dataset)
            names = study.recipes if only is None else ()
            recipes = {name: study.run_config(dataset, seed, name) for name in names}
            teacher_path = path
            if only != "student_alone":  # which has no teacher that others could take
                teacher_path = teachers.setdefault(json.dumps(teacher_settings(config)), path)
            units.append(Unit(dataset, seed, path, config, recipes, teacher_path, only))
    return units


def _check_same_settings(units: Sequence[Unit]) -> None:
    lines = [line for unit in units for line in unit.changed_settings()]
    if lines:
        shown = lines[:20] + [f"- and {len(lines) - 20} more"] * (len(lines) > 20)
        raise ValueError(
            "`--output`: a new folder, or one with the same settings. Received: one that was begun "
            "with others:\n" + "\n".join(shown) + "\nGive a changed recipe another name, or choose "
            "another folder."
        )


def _check_files(units: Sequence[Unit], reporter: Reporter) -> None:
    """Looks through what is there, so that no figure rests on files of others."""
    problems = []
    for unit in units:
        removed, wrong = unit.look_through()
        problems += wrong
        for file in removed:
            reporter.say(f"Note: {file} was damaged or of another study; it is made again.")
    refuse(problems)


def _check_data(units: Sequence[Unit], reporter: Reporter) -> dict[str, Task]:
    """Reads each dataset once and gives the tasks, so that mistakes are found before training.

    It also prepares TensorFlow datasets, which several processes must not do at once.
    """
    tasks = {}
    for unit in units:
        dataset = load_dataset(unit.config)
        for config in (unit.config, *unit.recipes.values()):
            config.for_task(dataset.task)
            refuse_together(config.training.strategy, "a study")
        reporter.say(f"{unit.dataset}: {repr(dataset).splitlines()[0]}")
        unit.path.mkdir(parents=True, exist_ok=True)
        unit.folder.check_same_data(dataset.fingerprint())
        tasks[unit.dataset] = dataset.task
    return tasks


def train_unit(unit: Unit, say: Callable[[str], None] | None = None) -> None:
    """Trains and says the missing models, in turn; all students begin with the same weights."""
    say = say or Reporter().say
    unit.path.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(unit.path)  # of a study that was killed, work may go on here
    try:
        _train_unit(unit, say)
    finally:
        lock.release()


def _train_unit(unit: Unit, say: Callable[[str], None]) -> None:
    unit.begin()
    dataset = load_dataset(unit.config)
    unit.folder.check_same_data(dataset.fingerprint())
    teaching, problems = dict[str, Any](), []
    for name in unit.missing:
        try:
            outcome = _train(unit, name, dataset, teaching)
        except ValueError as error:
            if name in unit.teachers:
                raise
            problems.append(f"{name}: {error}")
        else:
            score = outcome.predictions("validation", dataset.task).score
            headline = dataset.task.words.headline
            say(f"{unit}: {name}, validation {headline} {score:.3f}, {outcome.seconds:.0f} s")
    if problems:
        raise ValueError("\n".join(problems))
    unit.folder.finish()


def _train(unit: Unit, name: str, dataset: Dataset, teaching: dict) -> Outcome:
    """Trains a model of a unit and writes its outcome.

    `teaching` holds kept outputs of teachers, by number of views, and transfer rows, by how they
    are made; all recipes share them.
    """
    if name == "teacher" and unit.take_teacher() and (taken := unit.outcome(name)):
        return taken
    files, role, config = unit.folder, name, unit.config
    if name.startswith("recipe-"):
        role, config = "student", unit.recipes[name.removeprefix("recipe-")]
    config = config.for_task(dataset.task)
    models = untrained(config, dataset)
    # A teacher without an outcome was interrupted between the two.
    saved = files.load_model(name) if name in unit.teachers else None
    if saved is not None:
        models[name] = saved
    else:
        if role == "student":
            views = config.distillation.views
            if views not in teaching:
                recipes = [each.for_task(dataset.task) for each in unit.recipes.values()]
                terms = [term for each in recipes for term in student_terms(each, dataset)]
                teachers = {name: files.load_model(name) for name in unit.teachers}
                teaching[views] = keep_soft_targets(
                    teachers, dataset, config, terms=terms, folder=unit.soft_targets_path
                )
            models |= teaching[views]
            made = config.distillation.generated
            if config.distillation.transfer_share and (TRANSFER in dataset.splits or made):
                if (key := str(made)) not in teaching:
                    teaching[key] = transfer_rows(files.load_model("teacher"), dataset, config)
                models[TRANSFER] = teaching[key]
        start = time.monotonic()
        try:
            train_model(role, models, dataset, config, backup=unit.backup(name))
        finally:
            files.add_seconds(name, time.monotonic() - start)
    outcome = _outcome(
        role,
        models[role],
        dataset,
        parameters=num_parameters(role, models[role], config),
        seconds=files.seconds().get(name, 0.0),
    )
    if role in unit.teachers and saved is None:
        files.save_model(role, models[role])
    unit.save_outcome(name, outcome)
    return outcome


def _outcome(
    role: str, model: keras.Model, dataset: Dataset, *, parameters: int, seconds: float
) -> Outcome:
    """What a trained model says, complete and with each input absent that it can lack."""
    outputs = predict(role, model, dataset)
    for split, values in outputs.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"the training diverged: it gives NaN or infinity on {split}. Lower the learning "
                "rate, or the weight of the teacher."
            )
    names = [name for name in model.input if name != FOLD]
    names = names if len(names) > 1 and not dataset.task.is_pairwise else []
    without = {name: predict(role, model, dataset.without(name)) for name in names}
    return Outcome(
        outputs=outputs,
        labels={split: dataset.splits[split].labels for split in outputs},
        without={
            split: {name: values[split] for name, values in without.items()} for split in outputs
        },
        parameters=parameters,
        seconds=seconds,
    )
