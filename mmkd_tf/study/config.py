"""StudyConfig: what a study compares, from flags and a YAML file, checked at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mmkd_tf.config import RunConfig
from mmkd_tf.data.table import table_name

# What concerns the distilled student alone. Whatever else differed between two recipes would
# change the data, the teacher or the student alone, and so what the recipe is compared with.
RECIPE_FIELDS = (
    "soft_target_loss",
    "temperature",
    "hard_label_weight",
    "soft_target_weight",
    "modality_hint_weight",
    "relation_weight",
    "on_wrong_teacher",
)
# What concerns both students: datasets that differ in these alone have one teacher.
STUDENT_FIELDS = (
    "student_modalities",
    "student_image_size",
    "student_text_length",
    "student_vocabulary_size",
    "student_learning_rate",
    "modality_dropout",
    "experts",
)
_TABLES = ("data", "validation", "test")

# Datasets and recipes are names of folders and files too.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class StudyConfig(BaseModel):
    """What `mmkd-tf study` compares; each field is also a key of its YAML file.

    A dataset's settings take precedence over `settings`, a recipe's over both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(5, ge=1, le=1000, description="Number of seeds: 0, 1, and so on.")
    settings: dict[str, Any] = Field({}, description="Settings of every run.")
    datasets: dict[Name, dict[str, Any]] = Field(
        {"emoji": {}}, min_length=1, description="By name, settings; `data` is the name if not set."
    )
    recipes: dict[Name, dict[str, Any]] = Field(
        {"default": {}},
        description="By name, settings of the distilled student; none for students alone.",
    )

    def run_config(self, dataset: str, seed: int, recipe: str | None = None) -> RunConfig:
        """Gives the settings of one run.

        Args:
            dataset: A name in `datasets`.
            seed: The seed.
            recipe: A name in `recipes`; None for teacher and student alone.
        """
        values = {"data": dataset, **self.settings, **self.datasets[dataset], "seed": seed}
        return RunConfig(**{**values, **(self.recipes[recipe] if recipe else {})})


def make_study(given: Mapping, path: Path | None = None) -> StudyConfig:
    """Makes a study's config of a YAML file and of flags.

    Args:
        given: What the flags say, None where they say nothing: `data`, a table or a TensorFlow
            dataset in place of the file's datasets; `seeds`; `settings`, which take precedence
            over the file's `settings` and `datasets`.
        path: A YAML file with keys of `StudyConfig`. Tables that it names are looked for in its
            own folder.

    Returns:
        The checked config; tables have absolute paths.

    Raises:
        ValueError: If the file can't be read as YAML or anything in it is wrong; all is listed.
    """
    values = _read(path)
    problems = []
    if given.get("data") is not None:
        if "datasets" in values:
            problems.append("- `DATA`: the YAML file names `datasets` already; leave one out.")
        values["datasets"] = {_name(given["data"]): {"data": given["data"]}}
    if given.get("seeds") is not None:
        values["seeds"] = given["seeds"]
    try:
        study = StudyConfig(**values)
    except ValidationError as error:
        raise _unusable(problems + [_line((), problem) for problem in error.errors()]) from None
    folder = Path(path).parent if path else Path()
    near = folder if given.get("data") is None else Path()
    flags = _resolve(given.get("settings") or {}, Path())
    datasets = {name: _resolve(own, near) | flags for name, own in study.datasets.items()}
    study = study.model_copy(
        update={"settings": _resolve(study.settings, folder) | flags, "datasets": datasets}
    )
    problems += _wrong_settings(study)
    if problems:
        raise _unusable(problems)
    return study


def _read(path: Path | None) -> dict:
    if path is None:
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"`--config`: a YAML file. Received: {path} ({error}).") from None
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(
            f"`--config`: a YAML file with keys of {', '.join(StudyConfig.model_fields)}. "
            f"Received: {path}, which holds {values!r:.80}."
        )
    values = {key: value for key, value in values.items() if value is not None}
    # `emoji:` with nothing behind it means: as it is.
    for part in ("datasets", "recipes"):
        if isinstance(values.get(part), dict):
            values[part] = {name: own or {} for name, own in values[part].items()}
    return values


def _wrong_settings(study: StudyConfig) -> list[str]:
    """Lists what is wrong with the settings of datasets and recipes, each problem once."""
    problems = []
    for part, owners in (
        ("settings", {None: study.settings}),
        ("datasets", study.datasets),
        ("recipes", study.recipes),
    ):
        for owner, own in owners.items():
            place = (part,) if owner is None else (part, owner)
            if "seed" in own:
                problems.append(f"- `{'.'.join(place)}.seed`: `seeds` sets it; leave it out.")
    for recipe, own in study.recipes.items():
        problems += [
            f"- `recipes.{recipe}.{field}`: concerns more than the distilled student, so that "
            "recipes could not be compared; put it into `settings` or `datasets`."
            for field in own
            if field in RunConfig.model_fields and field not in (*RECIPE_FIELDS, "seed")
        ]
    for dataset, own in study.datasets.items():
        base = {"data": dataset, **study.settings, **own}
        for recipe, changed in {None: {}, **study.recipes}.items():
            try:
                RunConfig(**{**base, **changed})
            except ValidationError as error:
                owners = {
                    **({("recipes", recipe): changed} if recipe else {}),
                    ("datasets", dataset): own,
                    ("settings",): study.settings,
                }
                problems += [_line(_owner(owners, problem), problem) for problem in error.errors()]
    return list(dict.fromkeys(problems))


def _owner(owners: Mapping, problem: Mapping) -> tuple:
    """Finds who set the value that is wrong."""
    field = problem["loc"][0] if problem["loc"] else None
    return next((place for place, own in owners.items() if field in own), next(iter(owners)))


def _resolve(settings: Mapping, folder: Path) -> dict:
    """Makes the paths of tables absolute; other data are names of TensorFlow datasets."""
    resolved = dict(settings)
    for field in _TABLES:
        value = settings.get(field)
        if isinstance(value, str) and ((folder / value).is_file() or _looks_like_a_table(value)):
            resolved[field] = str((folder / value).resolve())
    return resolved


def _looks_like_a_table(value: str) -> bool:
    return Path(value).suffix.lower() in (".csv", ".tsv", ".parquet", ".pq")


def _name(data: str) -> str:
    """Names a dataset of the command line as a folder can be named."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", table_name(data)).lstrip("_.-")[:64] or "data"


def _line(place: tuple, problem: Mapping) -> str:
    where = ".".join(str(part) for part in (*filter(None, place), *problem["loc"]))
    received = f" Received: {problem['input']!r}." if problem["loc"] else ""
    return f"- `{where}`: {problem['msg'].rstrip('.')}.{received}"


def _unusable(problems: list[str]) -> ValueError:
    return ValueError(
        "The study is not usable:\n"
        + "\n".join(problems)
        + f"\nA study has {', '.join(StudyConfig.model_fields)}; settings are "
        + f"{', '.join(RunConfig.model_fields)}; a recipe may set {', '.join(RECIPE_FIELDS)}."
    )
