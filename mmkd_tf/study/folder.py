"""UnitFolder: what one dataset and seed of a study leaves, and finds when it is gone on with."""

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mmkd_tf.config import RunConfig
from mmkd_tf.evaluate.study import Predictions
from mmkd_tf.run_folder import RunFolder, whole_file
from mmkd_tf.study.config import RECIPE_FIELDS

CONFIG_FILE = "config.yaml"
SPLITS = ("validation", "test")
_WITHOUT = "_without_"


@dataclass(frozen=True)
class Outcome:
    """What one trained model says of the held-out examples.

    Attributes:
        logits: By split, `validation` and `test`, float32 `[n, num_classes]`.
        labels: By split, int32 `[n]`.
        without: By split and modality that the model reads beside others, the logits where all
            examples lack it.
        parameters: Number of weights.
        seconds: Time that training took, interrupted parts included.
    """

    logits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    without: Mapping[str, Mapping[str, np.ndarray]]
    parameters: int
    seconds: float

    def predictions(self, split: str, *, without: str | None = None) -> Predictions:
        """Labels and logits of a split, complete or with a modality absent."""
        logits = self.logits[split] if without is None else self.without[split][without]
        return Predictions(self.labels[split], logits)


class UnitFolder:
    """The folder of one dataset and seed. Each file is written whole or not at all.

    It holds `teacher.keras`, `<model>.npz` for each model (see `Outcome`; a recipe's model is
    called `recipe-<name>`), the settings (`config.yaml`, `recipe-<name>.yaml`) and the checksum
    of the data.

    Args:
        path: The folder; made by `begin`.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.run_folder = RunFolder(path)

    def outcome(self, model: str) -> Outcome | None:
        """Reads what `save_outcome` wrote; None if it is not there yet.

        Raises:
            ValueError: If the file is damaged.
        """
        file = self.path / f"{model}.npz"
        if not file.is_file():
            return None
        try:
            with np.load(file) as arrays:
                return _outcome_of(dict(arrays))
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            LookupError,
            ValueError,
        ) as error:
            raise ValueError(
                f"`{file}`: what a trained model says. Received: a damaged file ({error}). Remove "
                "it: this model is then trained again."
            ) from None

    def save_outcome(self, model: str, outcome: Outcome) -> None:
        """Writes `<model>.npz`."""
        arrays = {"parameters": outcome.parameters, "seconds": outcome.seconds}
        for split in SPLITS:
            arrays[f"{split}_labels"] = outcome.labels[split]
            arrays[f"{split}_logits"] = outcome.logits[split].astype(np.float32)
            for modality, values in outcome.without[split].items():
                arrays[f"{split}{_WITHOUT}{modality}"] = values.astype(np.float32)
        with whole_file(self.path / f"{model}.npz") as unfinished:
            np.savez_compressed(unfinished, **arrays)

    def take_teacher(self, other: Path) -> bool:
        """Copies the teacher and its outcome from another unit's folder, if they are there.

        Args:
            other: The folder; where it is this one there is nothing to take.
        """
        files = [other / f"teacher{suffix}" for suffix in (".keras", ".npz")]
        if other == self.path or not all(file.is_file() for file in files):
            return False
        for file in files:
            with whole_file(self.path / file.name) as unfinished:
                shutil.copyfile(file, unfinished)
        return True

    def begin(self, config: RunConfig, recipes: Mapping[str, RunConfig]) -> None:
        """Makes the folder and notes the settings of what is to be trained.

        Raises:
            ValueError: If the folder holds models of other settings; see `differences`.
        """
        if differences := self.differences(config, recipes):
            raise ValueError("\n".join(differences))
        self.path.mkdir(parents=True, exist_ok=True)
        for file, settings in _settings(config, recipes).items():
            if not (self.path / file).is_file():
                text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
                self.run_folder.write_text(file, text)

    def differences(self, config: RunConfig, recipes: Mapping[str, RunConfig]) -> list[str]:
        """Lists where settings differ from those that the folder's models were trained with.

        Args:
            config: Settings of data, teacher and student alone.
            recipes: By name, settings of the distilled students.

        Returns:
            A line for each setting; none for what is not there yet.
        """
        lines = []
        for file, now in _settings(config, recipes).items():
            if not (self.path / file).is_file():
                continue
            # A setting that is younger than the file had no effect then: its default.
            defaults = {name: RunConfig.model_fields[name].default for name in now}
            was = defaults | yaml.safe_load((self.path / file).read_text(encoding="utf-8"))
            lines += [
                f"- {self.path / file}: {name} was {was[name]!r}, is now {now.get(name)!r}"
                for name in was
                if was[name] != now.get(name)
            ]
        return lines


def _outcome_of(arrays: Mapping[str, np.ndarray]) -> Outcome:
    """Reads the arrays of a file; one of before absence was measured has none of it."""
    return Outcome(
        logits={split: arrays[f"{split}_logits"] for split in SPLITS},
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


def shared_settings(config: RunConfig) -> dict:
    """The settings of data, teacher and student alone; of tables only the file's name.

    Where a table lies says nothing of what it holds; the checksum of the data does.
    """
    settings = {k: v for k, v in config.model_dump().items() if k not in RECIPE_FIELDS}
    for name in ("data", "validation", "test"):
        if isinstance(settings[name], str):
            settings[name] = Path(settings[name]).name
    return settings


def recipe_settings(config: RunConfig) -> dict:
    """The settings of the distilled student alone."""
    return {name: getattr(config, name) for name in RECIPE_FIELDS}


def _settings(config: RunConfig, recipes: Mapping[str, RunConfig]) -> dict[str, dict]:
    """By file, the settings that matter to its models."""
    return {CONFIG_FILE: shared_settings(config)} | {
        f"recipe-{name}.yaml": recipe_settings(recipe) for name, recipe in recipes.items()
    }
