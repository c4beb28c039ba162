"""Unit: one dataset and seed of a study, and the files of its models."""

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mmkd_tf.config import RunConfig, differences, grouped
from mmkd_tf.evaluate.statistics import Predictions
from mmkd_tf.run import expert_name
from mmkd_tf.run_folder import CONFIG_FILE, RunFolder, whole_file
from mmkd_tf.study_config import recipe_settings, shared_settings
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.task import Task

SOFT_TARGETS_FOLDER = ".soft_targets"
SPLITS = ("validation", "test")
_WITHOUT = "_without_"


@dataclass(frozen=True)
class Outcome:
    """What one trained model says of the held-out examples.

    Attributes:
        outputs: By split, `validation` and `test`, float32 `[n, num_outputs]`.
        labels: By split, as the task has them, `[n, ...]`.
        without: By split and input that the model reads beside others, the outputs where all
            examples lack it.
        parameters: Number of weights.
        seconds: Time that training took, interrupted parts included.
    """

    outputs: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    without: Mapping[str, Mapping[str, np.ndarray]]
    parameters: int
    seconds: float

    def predictions(
        self, split: str, task: Task | str, *, without: str | None = None
    ) -> Predictions:
        """Labels and outputs of a split, complete or with an input absent."""
        outputs = self.outputs[split] if without is None else self.without[split][without]
        return Predictions(find_task(task), self.labels[split], outputs)


@dataclass(frozen=True)
class Unit:
    """What to train for one dataset and seed. Each of its files is written whole or not at all.

    Its folder holds `teacher.keras`, `<model>.npz` for each model (see `Outcome`; a recipe's model
    is called `recipe-<name>`), the settings (`config.yaml`, `recipe-<name>.yaml`) and the checksum
    of the data.

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

    def __str__(self) -> str:
        return f"{self.dataset}, seed {self.seed}"

    @property
    def folder(self) -> RunFolder:
        """Where its models are."""
        return RunFolder(self.path)

    @property
    def teachers(self) -> list[str]:
        """Its teachers in the order of training; none where there is nobody to teach."""
        experts = self.config.student_inputs if self.config.teacher.experts else []
        return ["teacher", *map(expert_name, experts)] if self.recipes else []

    @property
    def models(self) -> list[str]:
        """The models in the order of training."""
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
        """Reads what `save_outcome` wrote; None if it is not there yet.

        Raises:
            ValueError: If the file is damaged.
        """
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
        arrays = {"parameters": outcome.parameters, "seconds": outcome.seconds}
        for split in SPLITS:
            arrays[f"{split}_labels"] = outcome.labels[split]
            arrays[f"{split}_logits"] = outcome.outputs[split].astype(np.float32)
            for name, values in outcome.without[split].items():
                arrays[f"{split}{_WITHOUT}{name}"] = values.astype(np.float32)
        with whole_file(self.path / f"{model}.npz") as unfinished:
            np.savez_compressed(unfinished, **arrays)

    def take_teacher(self) -> bool:
        """Copies the teacher and its outcome from the unit that has it, if it is there."""
        files = [self.teacher_path / f"teacher{suffix}" for suffix in (".keras", ".npz")]
        if self.teacher_path == self.path or not all(file.is_file() for file in files):
            return False
        for file in files:
            with whole_file(self.path / file.name) as unfinished:
                shutil.copyfile(file, unfinished)
        return True

    def begin(self) -> None:
        """Makes the folder and notes the settings of what is to be trained.

        Raises:
            ValueError: If the folder holds models of other settings; see `changed_settings`.
        """
        if changed := self.changed_settings():
            raise ValueError("\n".join(changed))
        self.path.mkdir(parents=True, exist_ok=True)
        for file, settings in self._settings().items():
            if not (self.path / file).is_file():
                text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
                self.folder.write_text(file, text)

    def changed_settings(self) -> list[str]:
        """Lists where settings differ from those that the folder's models were trained with."""
        lines = []
        for file, now in self._settings().items():
            if (self.path / file).is_file():
                # A setting that is younger than the file had no effect then: its default.
                saved = yaml.safe_load((self.path / file).read_text(encoding="utf-8"))
                was = RunConfig(**grouped(saved))
                was = shared_settings(was) if file == CONFIG_FILE else _of_recipe(was)
                lines += [f"- {self.path / file}: {line}" for line in differences(was, now)]
        return lines

    def _settings(self) -> dict[str, dict]:
        """By file, the settings that matter to its models."""
        recipes = {f"recipe-{name}.yaml": recipe for name, recipe in self.recipes.items()}
        return {CONFIG_FILE: shared_settings(self.config)} | {
            file: _of_recipe(recipe) for file, recipe in recipes.items()
        }


def _of_recipe(config: RunConfig) -> dict:
    return {"distillation": recipe_settings(config)}


def _outcome_of(arrays: Mapping[str, np.ndarray]) -> Outcome:
    """Reads the arrays of a file; one of before absence was measured has none of it."""
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
