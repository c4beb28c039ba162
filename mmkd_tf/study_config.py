"""StudyConfig: what a study compares, from flags and a YAML file, checked at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from mmkd_tf.config import RunConfig, problems_of
from mmkd_tf.data.table import table_name
from mmkd_tf.files.tables import is_table
from mmkd_tf.settings.groups import AUTO, DistillationSettings
from mmkd_tf.settings.names import full_names, layered, read_yaml, setting_names
from mmkd_tf.settings.values import Settings
from mmkd_tf.tasks.task import SoftTargetDefaults

# A recipe may set these alone. Whatever else differed between two recipes would change the data,
# the teacher or the student alone, and so what the recipe is compared with.
RECIPE_GROUP = "distillation."
_TABLES = ("data.source", "data.validation", "data.test", "data.unlabelled")

# Datasets and recipes are names of folders and files too.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class StudyConfig(Settings):
    """What `mmkd-tf study` compares; each field is also a key of its YAML file.

    A dataset's settings take precedence over `settings`, a recipe's over both. They may be written
    in each form that `mmkd_tf.config.full_names` knows.
    """

    seeds: int = Field(5, ge=1, le=1000, description="Number of seeds: 0, 1, and so on.")
    settings: dict[str, Any] = Field({}, description="Settings of every run.")
    datasets: dict[Name, dict[str, Any]] = Field(
        {"emoji": {}}, min_length=1, description="By name, settings; `data` is the name if not set."
    )
    recipes: dict[Name, dict[str, Any]] = Field(
        {"default": {}},
        description="By name, settings of the distilled student; none for students alone.",
    )
    only: dict[Name, Literal["teacher", "student_alone"]] = Field(
        {},
        description="By dataset, the one model that others are compared with; no more is trained.",
    )

    def run_config(self, dataset: str, seed: int, recipe: str | None = None) -> RunConfig:
        """The settings of one run, of a recipe or, without one, of teacher and student alone."""
        own = (self.settings, self.datasets[dataset], self.recipes[recipe] if recipe else {})
        return RunConfig(**layered({"data.source": dataset}, *own, {"seed": seed}))


def make_study(given: Mapping, path: Path | None = None) -> StudyConfig:
    """Makes a study's checked config of a YAML file and of flags.

    Settings have their full names then, tables absolute paths; those of the file are looked for in
    its own folder.

    Args:
        given: What the flags say, None where they say nothing: `data`, a table or a TensorFlow
            dataset in place of the file's datasets; `seeds`; `settings`, which go before those of
            the file's `settings` and `datasets`.
        path: A YAML file with keys of `StudyConfig`.
    """
    values = {
        key: each
        for key, each in read_yaml(path, StudyConfig.model_fields).items()
        if each is not None
    }
    # `emoji:` with nothing behind it means: as it is.
    for part in ("datasets", "recipes"):
        if isinstance(values.get(part), dict):
            values[part] = {name: own or {} for name, own in values[part].items()}
    problems = []
    if given.get("data") is not None:
        if "datasets" in values:
            problems.append("`DATA`: the YAML file names `datasets` already; leave one out.")
        # A folder is named after it.
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", table_name(given["data"])).lstrip("_.-")[:64]
        values["datasets"] = {name or "data": {"data": given["data"]}}
    if given.get("seeds") is not None:
        values["seeds"] = given["seeds"]
    try:
        study = StudyConfig(**values)
    except ValidationError as error:
        raise _unusable(problems + problems_of(error)) from None
    folder = Path(path).parent if path else Path()
    near = folder if given.get("data") is None else Path()
    flags = _resolved(given.get("settings") or {}, Path())
    study = study.model_copy(
        update={
            "settings": _resolved(study.settings, folder) | flags,
            "datasets": {n: _resolved(own, near) | flags for n, own in study.datasets.items()},
            "recipes": {name: full_names(own) for name, own in study.recipes.items()},
        }
    )
    problems += _wrong_settings(study)
    if problems:
        raise _unusable(problems)
    return study


def _wrong_settings(study: StudyConfig) -> list[str]:
    """Lists what is wrong with the settings of datasets and recipes, each problem once."""
    owners = {"settings.": study.settings}
    owners |= {f"datasets.{name}.": own for name, own in study.datasets.items()}
    recipes = {f"recipes.{name}.": own for name, own in study.recipes.items()}
    problems = [
        f"`{place}seed`: `seeds` sets it; leave it out."
        for place, own in (owners | recipes).items()
        if "seed" in own
    ]
    known = set(setting_names()) - {"seed"}
    problems += [
        f"`{place}{name}`: concerns more than the distilled student, so that recipes could not be "
        "compared; put it into `settings` or `datasets`."
        for place, own in recipes.items()
        for name in own
        if (name in known or name.startswith("inputs")) and not name.startswith(RECIPE_GROUP)
    ]
    problems += [
        f"`{place}teacher.encoders`: pretrained, scratch, both or backbones, for a study "
        "compares what it is told. Received: auto. Name a dataset twice, with a teacher of each."
        for place, own in owners.items()
        if own.get("teacher.encoders") == AUTO
    ]
    problems += [
        f"`{place}teacher.finetune`: none in a study. Received: {own['teacher.finetune']}. Leave "
        "it out, and compare runs."
        for place, own in owners.items()
        if own.get("teacher.finetune", "none") != "none"
    ]
    problems += [
        f"`only`: names of `datasets`, {', '.join(study.datasets)}. Received: {name}."
        for name in study.only
        if name not in study.datasets
    ]
    if study.recipes and not set(study.datasets) - set(study.only):
        problems.append("`only`: not for all datasets; one at least is for the recipes.")
    for dataset, own in study.datasets.items():
        for place, changed in {"": {}, **recipes}.items():
            layers = {place: changed, f"datasets.{dataset}.": own, "settings.": study.settings}
            try:
                RunConfig(**layered({"data.source": dataset}, *reversed(layers.values())))
            except ValidationError as error:
                problems += [_placed(line, layers) for line in problems_of(error)]
    return list(dict.fromkeys(problems))


def _placed(line: str, layers: Mapping[str, Mapping]) -> str:
    """Says of a problem who set the value that is wrong."""
    name = line.split("`")[1]
    mine = (place for place, own in layers.items() if any(_overlap(name, each) for each in own))
    return f"`{next(mine, '')}{line[1:]}"


def _overlap(name: str, other: str) -> bool:
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _resolved(settings: Mapping, folder: Path) -> dict:
    """Makes the paths of tables absolute; other data are names of TensorFlow datasets."""
    resolved = full_names(settings)
    for name in _TABLES:
        if not isinstance(value := resolved.get(name), str):
            continue
        is_folder = name == "data.unlabelled" and (folder / value).is_dir()
        if is_folder or is_table(folder / value):
            resolved[name] = str((folder / value).resolve())
    return resolved


def _unusable(problems: list[str]) -> ValueError:
    return ValueError(
        "The study is not usable:\n"
        + "\n".join(f"- {line}" for line in problems)
        + f"\nA study has {', '.join(StudyConfig.model_fields)}; settings are "
        + f"{', '.join(setting_names())}, inputs.NAME.OPTION; a recipe may set those that begin "
        + f"with {RECIPE_GROUP}"
    )


def shared_settings(config: RunConfig) -> dict:
    """The settings of data, teacher and student alone; of tables only the file's name.

    Where a table lies says nothing of what it holds; the checksum of the data does.
    """
    settings = config.model_dump(exclude={"distillation"})
    for name in ("source", "validation", "test", "unlabelled"):
        if isinstance(settings["data"][name], str):
            settings["data"][name] = Path(settings["data"][name]).name
    return settings


def recipe_settings(recipe: DistillationSettings) -> dict:
    """The settings of the distilled student alone, the weight of the labels filled in."""
    settings = recipe.model_dump()
    if settings["hard_label_weight"] is None:
        settings["hard_label_weight"] = SoftTargetDefaults.hard_label_weight
    return settings


def teacher_settings(config: RunConfig) -> dict:
    """What a teacher follows from: equal for two runs whose students alone differ."""
    settings = config.model_dump(exclude={"distillation": True, "student": True})
    del settings["teacher"]["experts"]
    settings["inputs"] = {
        name: {key: value for key, value in options.items() if key != "student"}
        for name, options in settings["inputs"].items()
    }
    return settings
