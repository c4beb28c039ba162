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
from mmkd_tf.run import load_dataset, predict, train_model, untrained
from mmkd_tf.study.folder import Outcome, UnitFolder


@dataclass(frozen=True)
class Unit:
    """What to train for one dataset and seed.

    Attributes:
        dataset: Name of the dataset.
        seed: The seed.
        path: Folder for what comes out.
        config: Settings of data, teacher and student alone.
        recipes: By name, settings of the distilled students.
    """

    dataset: str
    seed: int
    path: Path
    config: RunConfig
    recipes: Mapping[str, RunConfig]

    @property
    def models(self) -> list[str]:
        """The models in the order of training."""
        return ["teacher", "student_alone", *(f"recipe-{name}" for name in self.recipes)]

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
            if name == "teacher":
                raise
            problems.append(f"{name}: {error}")
        else:
            accuracy = outcome.predictions("validation").correct.mean()
            say(f"{unit}: {name}, validation accuracy {accuracy:.3f}, {outcome.seconds:.0f} s")
    if problems:
        raise ValueError("\n".join(problems))
    folder.run_folder.finish()


class _Training:
    """The training of a unit's models; what they share is read once, and only if one needs it."""

    def __init__(self, unit: Unit, dataset: Dataset, folder: UnitFolder):
        self.unit = unit
        self.dataset = dataset
        self.folder = folder

    @cached_property
    def teacher(self) -> keras.Model | None:
        """The trained teacher; None if it is not there yet."""
        return self.folder.run_folder.load_model("teacher")

    @cached_property
    def soft_targets(self) -> SoftTargetCache:
        """What the teacher, asked once for all recipes, says in every epoch."""
        config = self.unit.config
        terms = [
            term
            for recipe in self.unit.recipes.values()
            for term in distillation_terms(recipe, self.dataset)
        ]
        layers = sorted({layer for term in terms for layer in term.teacher_layers})
        return cache_soft_targets(
            teacher=self.teacher,
            dataset=self.dataset,
            folder=self.folder.run_folder.state / "-".join(["soft_targets", *layers]),
            views=config.epochs if config.augment else 1,
            seed=config.seed,
            augment=config.augment,
            layers=layers,
        )

    def train(self, name: str) -> Outcome:
        """Trains a model and writes its outcome."""
        files, config = self.folder.run_folder, self.unit.config
        role = "student" if name.startswith("recipe-") else name
        if role == "student":
            config = self.unit.recipes[name.removeprefix("recipe-")]
        models = untrained(config, self.dataset)
        # A teacher without an outcome was interrupted between the two.
        is_there = role == "teacher" and self.teacher is not None
        if is_there:
            models["teacher"] = self.teacher
        else:
            if role == "student":
                models["teacher"] = self.soft_targets
            start = time.monotonic()
            try:
                train_model(role, models, self.dataset, config, backup=files.state / name)
            finally:
                files.add_seconds(name, time.monotonic() - start)
        outcome = _outcome(models[role], self.dataset, files.seconds().get(name, 0.0))
        if role == "teacher" and not is_there:
            files.save_model("teacher", models["teacher"])
            del self.teacher  # the None from before it was there
        self.folder.save_outcome(name, outcome)
        return outcome


def _outcome(model: keras.Model, dataset: Dataset, seconds: float) -> Outcome:
    logits = predict(model, dataset)
    for split, values in logits.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"the training diverged: it gives NaN or infinity on {split}. Lower the learning "
                "rate, or the weight of the teacher."
            )
    return Outcome(
        validation_logits=logits["validation"].astype(np.float32),
        validation_labels=dataset.splits["validation"].labels.astype(np.int32),
        test_logits=logits["test"].astype(np.float32),
        test_labels=dataset.splits["test"].labels.astype(np.int32),
        parameters=model.count_params(),
        seconds=seconds,
    )
