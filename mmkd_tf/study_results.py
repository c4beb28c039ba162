"""A study's units, what their models say, and what follows from it: the content of `study.json`."""

import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmkd_tf.config import RunConfig
from mmkd_tf.distill.epochs import Backup
from mmkd_tf.evaluate.statistics import Comparison, Predictions, compare, rank_recipes, scores
from mmkd_tf.report.verdict import study_verdict
from mmkd_tf.runs.folder import CONFIG_FILE, OLDER, RunFolder, versions
from mmkd_tf.runs.manifest import Manifest
from mmkd_tf.runs.roles import expert_name
from mmkd_tf.settings.groups import DistillationSettings
from mmkd_tf.settings.names import differences, grouped, read_yaml
from mmkd_tf.study_config import StudyConfig, recipe_settings, shared_settings
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.task import Task

SOFT_TARGETS_FOLDER = ".soft_targets"
SPLITS = ("validation", "test")
_WITHOUT = "_without_"


@dataclass(frozen=True)
class Outcome:
    """What one trained model says of the held-out examples, by split: `validation` and `test`."""

    outputs: Mapping[str, np.ndarray]  # float32 [n, num_outputs]
    labels: Mapping[str, np.ndarray]  # as the task has them, [n, ...]
    without: Mapping[str, Mapping[str, np.ndarray]]  # by input too, outputs where all lack it
    parameters: int  # number of weights
    seconds: float  # of training, interrupted parts included

    def predictions(self, split: str, task: Task | str, without: str | None = None) -> Predictions:
        """Labels and outputs of a split, complete or with an input absent."""
        outputs = self.outputs[split] if without is None else self.without[split][without]
        return Predictions(find_task(task), self.labels[split], outputs)


@dataclass(frozen=True)
class Unit:
    """What to train for one dataset and seed. Each of its files is written whole or not at all.

    Its folder holds `teacher.keras`, `<model>.npz` for each model (see `Outcome`; a recipe's model
    is called `recipe-<name>`), the settings (`config.yaml`, `recipe-<name>.yaml`), the checksum of
    the data and `manifest.json`, which tells these files from others. `teacher_path` is the folder
    of the unit whose teacher this one takes, if it is there already: its own, or that of a unit
    whose students alone are others. `only` is the one model that there is to train, None for all.
    """

    dataset: str
    seed: int
    path: Path
    config: RunConfig
    recipes: Mapping[str, RunConfig]
    teacher_path: Path
    only: str | None = None

    def __str__(self) -> str:
        return f"{self.dataset}, seed {self.seed}"

    @property
    def folder(self) -> RunFolder:
        """Where its models are."""
        return RunFolder(self.path)

    @property
    def teachers(self) -> list[str]:
        """Its teachers in the order of training; none where there is nobody to teach."""
        if self.only is not None:
            return [self.only] if self.only == "teacher" else []
        experts = self.config.student_inputs if self.config.teacher.experts else []
        return ["teacher", *map(expert_name, experts)] if self.recipes else []

    @property
    def models(self) -> list[str]:
        """The models in the order of training."""
        if self.only is not None:
            return [self.only]
        return [*self.teachers, "student_alone", *(f"recipe-{name}" for name in self.recipes)]

    @property
    def missing(self) -> list[str]:
        """The models that are not trained yet."""
        return [name for name in self.models if not (self.path / f"{name}.npz").is_file()]

    @property
    def soft_targets_path(self) -> Path:
        """Folder for what its teacher says, which units of one teacher share."""
        name = "-".join(self.teacher_path.parts[-2:])
        return self.teacher_path.parents[1] / SOFT_TARGETS_FOLDER / name

    def outcome(self, model: str) -> Outcome | None:
        """Reads what `save_outcome` wrote; None if it is not there yet."""
        file = self.path / f"{model}.npz"
        if not file.is_file():
            return None
        damaged = (zipfile.BadZipFile, zlib.error, EOFError, OSError, LookupError, ValueError)
        try:
            with np.load(file) as arrays:
                return _outcome_of(dict(arrays))
        except damaged as error:
            raise ValueError(
                f"`{file}`: what a trained model says. Received: a damaged file ({error}). Remove "
                "it: this model is then trained again."
            ) from None

    def save_outcome(self, model: str, outcome: Outcome) -> None:
        """Writes `<model>.npz`."""
        arrays: dict[str, Any] = {"parameters": outcome.parameters, "seconds": outcome.seconds}
        for split in SPLITS:
            arrays[f"{split}_labels"] = outcome.labels[split]
            arrays[f"{split}_logits"] = outcome.outputs[split].astype(np.float32)
            for name, values in outcome.without[split].items():
                arrays[f"{split}{_WITHOUT}{name}"] = values.astype(np.float32)
        with self.folder.artefact(f"{model}.npz") as unfinished:
            np.savez_compressed(unfinished, **arrays)

    def take_teacher(self) -> bool:
        """Copies the teacher and its outcome from the unit that has it, if it is there."""
        files = [self.teacher_path / f"teacher{suffix}" for suffix in (".keras", ".npz")]
        if self.teacher_path == self.path or not all(file.is_file() for file in files):
            return False
        for file in files:
            with self.folder.artefact(file.name) as unfinished:
                shutil.copyfile(file, unfinished)
        return True

    def backup(self, model: str) -> Backup:
        """Where the training of a model keeps its state, and by what it is known."""
        if (manifest := self.manifest) is None:
            return self.folder.backup(model)
        ours = (CONFIG_FILE, f"{model}.yaml")  # further recipes don't concern it
        settings = {file: manifest.settings[file] for file in ours if file in manifest.settings}
        return Backup(self.folder.state / model, replace(manifest, settings=settings).key(model))

    @property
    def manifest(self) -> Manifest | None:
        """Tells its own files, with the settings by file; None where it has not begun."""
        return Manifest.read(self.path)

    def look_through(self) -> tuple[list[str], list[str]]:
        """Looks for files that are damaged or not its own, before anything rests on them.

        What a teacher says is made again of the teacher, if that is sound; such a file is removed.

        Returns:
            The names of what was removed, and what is wrong with the rest.
        """
        removed, problems = [], []
        for file in (f"{name}.npz" for name in self.models):
            if not (wrong := self._problems(file)):
                continue
            model = f"{file.removesuffix('.npz')}.keras"
            is_sound = (self.path / model).is_file() and not self._problems(model)
            if is_sound and self.manifest is not None:
                (self.path / file).unlink()
                removed.append(str(self.path / file))
            else:
                problems += wrong
        for file in (*(f"{name}.keras" for name in self.teachers), *self._settings()):
            problems += self._problems(file)
        return removed, problems

    def _problems(self, file: str) -> list[str]:
        """Says what is wrong with a file that is there: by its checksum, or if it can't be read."""
        if (manifest := self.manifest) is not None:
            return manifest.problems([file])
        try:
            if file.endswith(".npz"):
                self.outcome(file.removesuffix(".npz"))
        except ValueError as error:
            return [str(error)]
        return []

    def begin(self) -> None:
        """Makes the folder, unless it is there with other settings, and notes the settings."""
        if changed := self.changed_settings():
            raise ValueError("\n".join(changed))
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = self.manifest
        if manifest is None:  # new, or begun before there were manifests: all files are its own
            manifest = Manifest(self.path, {}, None, {})
            for kind in ("npz", "keras", "yaml"):
                for file in self.path.glob(f"[!.]*.{kind}"):  # none half-written by a kill
                    manifest.note(file.name, file)
        begun = {file: self._saved(file) or now for file, now in self._settings().items()}
        manifest.settings = {**manifest.settings, **begun}
        manifest.write()
        folder = self.folder
        for file, settings in self._settings().items():
            if not (self.path / file).is_file():
                text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
                with folder.artefact(file) as unfinished:
                    unfinished.write_text(text, encoding="utf-8")

    def changed_settings(self) -> list[str]:
        """Lists where settings differ from those that the folder's models were trained with."""
        lines = []
        for file, now in self._settings().items():
            if (saved := self._saved(file)) is not None:
                # A setting that is younger than the file had no effect then: its default.
                if file == CONFIG_FILE:
                    was = shared_settings(RunConfig(**grouped(OLDER, saved)))
                else:  # which alone, without its teacher, need not be a run's
                    was = _of_recipe(DistillationSettings(**grouped(saved)["distillation"]))
                lines += [f"- {self.path / file}: {line}" for line in differences(was, now)]
        return lines

    def _saved(self, file: str) -> dict | None:
        """The settings of a file as its models were trained with them; None before that."""
        manifest = self.manifest
        if manifest is not None and file in manifest.settings:
            return manifest.settings[file]
        return read_yaml(self.path / file) if (self.path / file).is_file() else None

    def _settings(self) -> dict[str, dict]:
        """By file, the settings that matter to its models."""
        return {CONFIG_FILE: shared_settings(self.config)} | {
            f"recipe-{name}.yaml": _of_recipe(recipe.distillation)
            for name, recipe in self.recipes.items()
        }


def _of_recipe(recipe: DistillationSettings) -> dict:
    return {"distillation": recipe_settings(recipe)}


def _outcome_of(arrays: Mapping[str, np.ndarray]) -> Outcome:
    """Reads the arrays of a file; those of before absence was measured have none of it."""
    return Outcome(
        outputs={split: arrays[f"{split}_logits"] for split in SPLITS},
        labels={split: arrays[f"{split}_labels"] for split in SPLITS},
        without={
            split: {
                name.partition(_WITHOUT)[2]: values
                for name, values in arrays.items()
                if name.startswith(f"{split}{_WITHOUT}")
            }
            for split in SPLITS
        },
        parameters=int(arrays["parameters"]),
        seconds=float(arrays["seconds"]),
    )


Outcomes = Mapping[str, Mapping[int, Outcome]]  # by model and seed


def summarize(
    study: StudyConfig,
    units: Sequence[Unit],
    tasks: Mapping[str, Task],
    *,
    test: bool,
    failed: Mapping[str, str],
) -> dict:
    """Measures all models that are trained and compares the students: what `study.json` holds."""
    splits = ("validation", "test") if test else ("validation",)
    datasets, comparisons, trained = {}, {}, {}
    for dataset, task in tasks.items():
        outcomes = _outcomes([unit for unit in units if unit.dataset == dataset])
        if not outcomes:
            continue
        trained[dataset] = outcomes
        compared = {split: _comparisons(outcomes, study.recipes, split, task) for split in splits}
        if dataset not in study.only:
            comparisons[dataset] = compared["validation"]
        datasets[dataset] = {
            "task": task.name,
            "config": shared_settings(study.run_config(dataset, 0)),
            "models": {
                model: {
                    "seeds": list(by_seed),
                    "parameters": next(iter(by_seed.values())).parameters,
                    "seconds": [round(outcome.seconds, 1) for outcome in by_seed.values()],
                }
                for model, by_seed in outcomes.items()
            },
            "splits": {split: _measure(outcomes, compared[split], split, task) for split in splits},
        }
    first = next(iter(study.datasets))
    return {
        "seeds": study.seeds,
        "recipes": {
            name: recipe_settings(study.run_config(first, 0, name).distillation)
            for name in study.recipes
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
    outcomes: dict[str, dict[int, Outcome]] = {}
    for unit in units:
        missing = unit.missing
        if any(not model.startswith("recipe-") for model in missing):
            continue  # there is nothing to compare with
        for model in unit.models:
            if model not in missing and (found := unit.outcome(model)):
                outcomes.setdefault(model, {})[unit.seed] = found
    return outcomes


def _comparisons(outcomes: Outcomes, recipes: Iterable[str], split, task) -> dict[str, Comparison]:
    comparisons = {}
    for recipe in recipes:
        if student := outcomes.get(f"recipe-{recipe}"):
            models = {role: outcomes[role] for role in ("teacher", "student_alone")}
            comparisons[recipe] = _compare(models | {"student": student}, student, split, task)
    return comparisons


def _compare(models: Outcomes, seeds: Iterable[int], split: str, task: Task) -> Comparison:
    """Compares the student of some seeds with the other roles of `compare`."""
    predictions: dict[str, Any] = {
        role: [by_seed[seed].predictions(split, task) for seed in seeds]
        for role, by_seed in models.items()
    }
    return compare(**predictions, rng=np.random.default_rng(0))


def _measure(outcomes, comparisons: Mapping[str, Comparison], split: str, task: Task) -> dict:
    models: dict[str, dict[str, Any]] = {}
    for model, by_seed in outcomes.items():
        measured = scores([outcome.predictions(split, task) for outcome in by_seed.values()])
        means = {key: float(np.mean(values)) for key, values in measured.items()}
        without = {
            name: _mean_score(by_seed, split, task, name)
            for name in next(iter(by_seed.values())).without[split]
        }
        models[model] = {**measured, "mean": means, "without": without}
    labels = next(iter(next(iter(outcomes.values())).values())).labels[split]
    most_frequent = np.bincount(labels).max() / len(labels) if task.has_one_class else None
    verdicts = {
        name: study_verdict(
            each,
            task,
            student=models[f"recipe-{name}"]["mean"][task.headline],
            most_frequent=most_frequent,
        )
        for name, each in comparisons.items()
    }
    return {
        "examples": len(labels),
        "models": models,
        "comparisons": {
            name: {**asdict(each), "verdict": verdicts[name]} for name, each in comparisons.items()
        },
    }


def absence(
    units: Sequence[Unit], outcomes: Mapping[str, Outcomes], tasks: Mapping[str, Task], split: str
) -> dict[str, list[dict]]:
    """Compares the datasets of a study that differ in inputs or dropout of the students alone.

    Returns:
        `left`: models with one input left, beside the student made for that input alone, with
        their mean headline figures and the share of the one in the other. `cost`: models beside
        the same without modality dropout, on complete inputs, with the mean difference and its
        95 % interval over the seeds, None for one seed. Both are empty where the study has no two
        such datasets.
    """
    first = {unit.dataset: unit for unit in reversed(units) if unit.dataset in outcomes}
    left, cost, dropout = [], [], {"student": {"modality_dropout"}}
    for name, unit in first.items():
        for other_name, other in first.items():
            if other_name == name or other.config.data != unit.config.data:
                continue
            pair = (outcomes[name], outcomes[other_name], split, tasks[name])
            read, others = unit.config.student_inputs, other.config.student_inputs
            made_for_it = len(others) == 1 and "student_alone" in outcomes[other_name]
            if len(read) == 2 and made_for_it and others[0] in read:
                left += _left(name, other_name, others[0], *pair)
            same = unit.config.model_dump(exclude=dropout) == other.config.model_dump(
                exclude=dropout
            )
            if same and not _rate(other) and _rate(unit):
                cost += _cost(name, other_name, *pair)
    return {"left": left, "cost": cost}


def _rate(unit: Unit) -> float:
    rates = unit.config.student.modality_dropout
    return max(rates.values(), default=0.0) if isinstance(rates, dict) else rates


def _left(name, other_name, modality: str, own: Outcomes, other: Outcomes, split, task):
    made_for_it = _mean_score(other["student_alone"], split, task)
    rows = []
    for model, by_seed in own.items():
        absent = [each for each in next(iter(by_seed.values())).without[split] if each != modality]
        if _is_student(model) and absent:
            score = _mean_score(by_seed, split, task, absent[0])
            rows.append(
                {
                    "dataset": name,
                    "model": model,
                    "modality": modality,
                    "accuracy": score,
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
            roles = {"teacher": other[model], "student_alone": other[model], "student": own[model]}
            compared = _compare(roles, seeds, split, task)
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


def _mean_score(
    by_seed: Mapping[int, Outcome], split: str, task: Task, without: str | None = None
) -> float:
    """The mean headline figure, complete or where all examples lack an input."""
    found = (outcome.predictions(split, task, without) for outcome in by_seed.values())
    return float(np.mean([each.score for each in found]))
