"""One unit of a study's work: all models of one dataset and seed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.soft_targets import SoftTargetCache, cache_soft_targets
from mmkd_tf.recipe import distillation_terms
from mmkd_tf.roles import expert_name, predict, train_model, untrained
from mmkd_tf.run import load_dataset
from mmkd_tf.study.folder import Outcome, UnitFolder

SOFT_TARGETS_FOLDER = ".soft_targets"


@dataclass(frozen=True)
class Unit:
    """What to train for one dataset and seed.

    Attributes:
        dataset: Name of the dataset.
        seed: The seed.
        path: Folder for what comes out.
        config: Settings of data, teacher and student alone.
        recipes: By name, settings of the distilled students.
        teacher_path: Folder of the unit whose teacher this one takes, if it is there already:
            its own, or that of a unit whose students alone are others.
    """

    dataset: str
    seed: int
    path: Path
    config: RunConfig
    recipes: Mapping[str, RunConfig]
    teacher_path: Path

    @property
    def modalities(self) -> list[str]:
        """What its students read."""
        return self.config.modalities_of_students

    @property
    def teachers(self) -> list[str]:
        """Its teachers in the order of training; none where there is nobody to teach."""
        if not self.recipes:
            return []
        return ["teacher", *(expert_name(m) for m in self.modalities if self.config.experts)]

    @property
    def models(self) -> list[str]:
        """The models in the order of training."""
        return [*self.teachers, "student_alone", *(f"recipe-{name}" for name in self.recipes)]

    @property
    def soft_targets_path(self) -> Path:
        """Folder for what its teacher says, which units of one teacher share."""
        name = "-".join(self.teacher_path.parts[-2:])
        return self.teacher_path.parents[1] / SOFT_TARGETS_FOLDER / name

    @property
    def missing(self) -> list[str]:
        """The models that are not trained yet."""
        return [name for name in self.models if not (self.path / f"{name}.npz").is_file()]

    def __str__(self) -> str:
        return f"{self.dataset}, seed {self.seed}"


def train_unit(unit: Unit, say: Callable[[str], None]) -> None:
    """Trains the models that are missing; all students begin with the same weights.

    Args:
        unit: What to train.
        say: Told each model that is done, in one line.

    Raises:
        ValueError: If the data can't be used or the folder was begun with other settings or data.
    """
    folder = UnitFolder(unit.path)
    folder.begin(unit.config, unit.recipes)
    dataset = load_dataset(unit.config)
    folder.run_folder.check_same_data(dataset.fingerprint())
    training, problems = _Training(unit, dataset, folder), []
    for name in unit.missing:
        try:
            outcome = training.train(name)
        except ValueError as error:
            if name in unit.teachers:
                raise
            problems.append(f"{name}: {error}")
        else:
            accuracy = outcome.predictions("validation").correct.mean()
            say(f"{unit}: {name}, validation accuracy {accuracy:.3f}, {outcome.seconds:.0f} s")
    if problems:
        raise ValueError("\n".join(problems))
    folder.run_folder.finish()


class _Training:
    """The training of a unit's models; teachers are asked once for all recipes."""

    def __init__(self, unit: Unit, dataset: Dataset, folder: UnitFolder):
        self.unit = unit
        self.dataset = dataset
        self.folder = folder

    @cached_property
    def soft_targets(self) -> dict[str, SoftTargetCache]:
        """By teacher, what it says in every epoch."""
        unit, config = self.unit, self.unit.config
        terms = [
            term
            for recipe in unit.recipes.values()
            for term in distillation_terms(recipe, self.dataset)
        ]
        caches = {}
        for name in unit.teachers:
            heard = [term for term in terms if term.teacher in (None, name)]
            layers = sorted({layer for term in heard for layer in term.teacher_layers})
            caches[name] = cache_soft_targets(
                teacher=self.folder.run_folder.load_model(name),
                dataset=self.dataset,
                folder=unit.soft_targets_path / "-".join([name, *layers]),
                views=config.epochs if config.augment else 1,
                seed=config.seed,
                augment=config.augment,
                layers=layers,
            )
        return caches

    def train(self, name: str) -> Outcome:
        """Trains a model and writes its outcome."""
        files, config = self.folder.run_folder, self.unit.config
        if name == "teacher" and self.folder.take_teacher(self.unit.teacher_path):
            return self.folder.outcome(name)
        role = "student" if name.startswith("recipe-") else name
        if role == "student":
            config = self.unit.recipes[name.removeprefix("recipe-")]
        models = untrained(config, self.dataset)
        # A teacher without an outcome was interrupted between the two.
        is_there = (files.path / f"{name}.keras").is_file()
        if is_there:
            models[name] = files.load_model(name)
        else:
            if role == "student":
                models |= self.soft_targets
            start = time.monotonic()
            try:
                train_model(role, models, self.dataset, config, backup=files.state / name)
            finally:
                files.add_seconds(name, time.monotonic() - start)
        outcome = _outcome(role, models[role], self.dataset, files.seconds().get(name, 0.0))
        if role in self.unit.teachers and not is_there:
            files.save_model(role, models[role])
        self.folder.save_outcome(name, outcome)
        return outcome


def _outcome(role: str, model: keras.Model, dataset: Dataset, seconds: float) -> Outcome:
    logits = predict(role, model, dataset)
    for split, values in logits.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"the training diverged: it gives NaN or infinity on {split}. Lower the learning "
                "rate, or the weight of the teacher."
            )
    names = list(model.input) if len(model.input) > 1 else []
    without = {name: predict(role, model, dataset.without(name)) for name in names}
    return Outcome(
        logits=logits,
        labels={split: dataset.splits[split].labels.astype(np.int32) for split in logits},
        without={
            split: {name: values[split] for name, values in without.items()} for split in logits
        },
        parameters=model.count_params(),
        seconds=seconds,
    )
