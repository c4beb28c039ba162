"""Tuning: looks for a few settings of the student's training that are better on validation.

The teacher is trained once and answers once; each trial trains a student. The test split is not
read. Optuna searches, because its trials are kept in a file that an interrupted search goes on
from, and because it asks for a function where KerasTuner asks for a model that it trains itself.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import TRANSFER, Dataset
from mmkd_tf.files.whole import whole_file
from mmkd_tf.report.progress import Reporter
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.roles import STUDENTS, predict, untrained
from mmkd_tf.runs.training import keep_soft_targets, student_terms, train_model, transfer_rows
from mmkd_tf.settings.names import flat, grouped

TRIALS_FILE, BEST_FILE = "trials.log", "best.yaml"

# By setting: lowest and highest value, and whether it is searched by orders of magnitude.
SPACE = {
    "student.learning_rate": (1e-3, 1e-2, True),
    "student.modality_dropout": (0.0, 0.3, False),
    "distillation.soft_target_weight": (0.1, 2.0, True),
    "distillation.temperature": (1.0, 8.0, True),
}


def tune(
    config: RunConfig, folder: RunFolder, reporter: Reporter, *, trials: int
) -> dict[str, Any]:
    """Trains students with different settings, and keeps what was found.

    Args:
        config: The settings to begin with, which are the first trial.
        folder: A folder that `RunFolder.begin` or `resume` was called of.
        reporter: Tells of each trial.
        trials: How many there are to be, those of an interrupted search included.

    Returns:
        `num_trials`; `headline`, the name of the task's figure on validation; `first` and `best`,
        its value with the first and with the best settings; and `settings`, the best ones by full
        name, which the file `best.yaml` holds too.

    Raises:
        ImportError: If Optuna is not installed.
        ValueError: If the settings leave open which teacher there is.
    """
    optuna = _optuna()
    if config.teacher_candidates:
        raise ValueError(
            "`teacher.encoders`: one kind, since the teacher is trained once. Received: auto. Set "
            "it to pretrained or scratch."
        )

    def note(seconds: float) -> None:
        """Times of a search are of no use to anybody."""

    with reporter.stage("Reading the data", note):
        dataset = load_dataset(config)
    folder.check_same_data(dataset.fingerprint())
    config, task = config.for_task(dataset.task), dataset.task
    teaching = _teaching(config, dataset, folder, reporter)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder.path / TRIALS_FILE))
    )
    study = optuna.create_study(
        study_name="mmkd-tf", storage=storage, direction="maximize", load_if_exists=True
    )
    own = dict(flat(config.model_dump()))
    space = _space(config, own)

    def finished() -> list:
        return [trial for trial in study.trials if trial.value is not None]

    if not finished():  # also where the first trial was interrupted
        study.enqueue_trial({name: own[name] for name in space})
    while len(finished()) < trials:
        # By the number, so that a search that goes on does not draw again what it drew.
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
        trial = study.ask()
        found = {
            name: trial.suggest_float(name, min(low, own[name]), max(high, own[name]), log=log)
            for name, (low, high, log) in space.items()
        }
        shown = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        with reporter.stage(f"Trial {len(finished()) + 1} of {trials}: {shown}", note):
            score = _score(
                RunConfig(**grouped(config.model_dump(), found)), dataset, teaching, reporter
            )
        study.tell(trial, score)
    first, best = finished()[0], study.best_trial
    given = grouped(config.model_dump(), best.params)
    with whole_file(folder.path / BEST_FILE) as unfinished:
        unfinished.write_text(_as_yaml(best.params), encoding="utf-8")
    return {
        "num_trials": len(finished()),
        "num_examples": dataset.sizes["validation"],
        "headline": task.words.headline,
        "first": first.value,
        "best": best.value,
        "settings": {name: value for name, value in flat(given) if name in best.params},
    }


def _optuna():
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "`tune`: the package optuna. Received: none. Install it: pip install 'mmkd-tf[tune]'"
        ) from None
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def _space(config: RunConfig, own: Mapping[str, Any]) -> dict[str, tuple]:
    """The settings that are searched: of those of `SPACE` the ones that have an effect."""
    names = dict(SPACE)
    if len(config.student_inputs) < 2 or isinstance(config.student.modality_dropout, dict):
        del names["student.modality_dropout"]
    return {
        name: bounds
        for name, bounds in names.items()
        if isinstance(own.get(name), float) and (own[name] > 0 or not bounds[2])
    }


def _teaching(config, dataset: Dataset, folder: RunFolder, reporter: Reporter) -> dict[str, Any]:
    """The teachers' answers and the rows without labels, made once or read."""
    models = {n: m for n, m in untrained(config, dataset).items() if n not in STUDENTS}
    for name in models:
        trained = folder.load_model(name, like=models[name])
        if trained is not None:
            models[name] = trained
            continue
        with reporter.stage(f"Training the {name.replace('_', ' ')}", lambda seconds: None):
            callbacks = [reporter.epochs(config.training.epochs)]
            backup = folder.backup(name)
            train_model(name, models, dataset, config, backup=backup, callbacks=callbacks)
            folder.save_model(name, models[name])
    with reporter.stage("Asking the teacher", lambda seconds: None):
        terms, where = student_terms(config, dataset), folder.state / "soft_targets"
        teaching = keep_soft_targets(models, dataset, config, terms=terms, folder=where)
        return {**teaching, TRANSFER: transfer_rows(models["teacher"], dataset, config)}


def _score(config: RunConfig, dataset: Dataset, teaching: Mapping, reporter: Reporter) -> float:
    """Trains a student; gives the task's figure on validation."""
    models = {**untrained(config, dataset), **teaching}
    callbacks = [reporter.epochs(config.training.epochs)]
    train_model("student", models, dataset, config, callbacks=callbacks)
    outputs = predict("student", models["student"], dataset, ["validation"])["validation"]
    labels = dataset.splits["validation"].labels
    return float(dataset.task.score(labels=labels, outputs=outputs))


def _as_yaml(settings: Mapping[str, float]) -> str:
    groups: dict[str, dict] = {}
    for name, value in settings.items():
        group, _, field = name.partition(".")
        groups.setdefault(group, {})[field] = float(f"{value:.4g}")
    return yaml.safe_dump(groups, sort_keys=False)


def best_file(folder: Path) -> Path:
    """The file of the best settings, for `--config`."""
    return folder / BEST_FILE
