"""One unit of a study's work: all models of one dataset and seed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    problems = []
    for name in unit.missing:
        try:
            seconds, accuracy = _train_one(name, unit, dataset, folder)
        except ValueError as error:
            if name == "teacher":
                raise
            problems.append(f"{name}: {error}")
        else:
            say(f"{unit}: {name}, validation accuracy {accuracy:.3f}, {seconds:.0f} s")
    if problems:
        raise ValueError("\n".join(problems))
    folder.run_folder.finish()


def _train_one(name, unit, dataset, folder) -> tuple[float, float]:
    """Trains a model, writes its outcome, gives the seconds and the validation accuracy."""
    files = folder.run_folder
    role = "student" if name.startswith("recipe-") else name
    config = unit.recipes[name.removeprefix("recipe-")] if role == "student" else unit.config
    models = untrained(config, dataset)
    teacher = files.load_model("teacher")
    if teacher is not None:
        models["teacher"] = teacher
    if role == "student":
        models["teacher"] = _soft_targets(teacher, unit, dataset, files.state)
    if role != "teacher" or teacher is None:
        start = time.monotonic()
        try:
            train_model(role, models, dataset, config, backup=files.state / name)
        finally:
            files.add_seconds(name, time.monotonic() - start)
    outcome = _outcome(models[role], dataset, files.seconds().get(name, 0.0))
    if role == "teacher" and teacher is None:
        files.save_model("teacher", models["teacher"])
    folder.save_outcome(name, outcome)
    hits = outcome.validation_logits.argmax(axis=1) == outcome.validation_labels
    return outcome.seconds, float(hits.mean())


def _soft_targets(teacher, unit, dataset, state) -> SoftTargetCache:
    """Asks the teacher once for all recipes what it says in every epoch."""
    config = unit.config
    terms = [
        term
        for recipe in unit.recipes.values()
        for term in distillation_terms(recipe, dataset.modalities)
    ]
    layers = sorted({layer for term in terms for layer in term.teacher_layers})
    return cache_soft_targets(
        teacher=teacher,
        dataset=dataset,
        folder=state / "-".join(["soft_targets", *layers]),
        views=config.epochs if config.augment else 1,
        seed=config.seed,
        augment=config.augment,
        layers=layers,
    )


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
