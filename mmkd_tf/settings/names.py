"""Names of settings: full ones, short ones and older ones, and the YAML files that hold them.

Nothing here needs TensorFlow, so that the command line can say at once what is wrong with names and
paths.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmkd_tf.files.tables import is_folder
from mmkd_tf.settings.groups import (
    FAST,
    DataSettings,
    DistillationSettings,
    ExportSettings,
    StudentSettings,
    TeacherSettings,
    TrainingSettings,
)
from mmkd_tf.settings.yaml_files import parse_yaml, read_yaml_file

# Inputs of the short form: a setting of that name is the column of a table, or "none".
SHORT_FORM = ("image", "text")
GROUPS: dict[str, type[BaseModel]] = {
    "data": DataSettings,
    "teacher": TeacherSettings,
    "student": StudentSettings,
    "distillation": DistillationSettings,
    "training": TrainingSettings,
    "export": ExportSettings,
}
# Settings that stand in no group.
OTHERS = ("seed", "robustness", "fast", "tensorboard", "callbacks")

_RENAMED = {
    "data": "data.source",
    "image": "inputs.image.column",
    "text": "inputs.text.column",
    "teacher": "teacher.architecture",
    "teacher_modality_dropout": "teacher.modality_dropout",
    "learning_rate": "teacher.learning_rate",
    "student_modalities": "student.inputs",
    "student_learning_rate": "student.learning_rate",
    "modality_dropout": "student.modality_dropout",
    "fusion": "teacher.fusion",
    "image_size": "inputs.image.size",
    "text_length": "inputs.text.length",
    "vocabulary_size": "inputs.text.vocabulary_size",
    "student_image_size": "inputs.image.student.size",
    "student_text_length": "inputs.text.student.length",
    "student_vocabulary_size": "inputs.text.student.vocabulary_size",
}


def setting_names() -> list[str]:
    """Full names of all settings but those of inputs."""
    return [f"{group}.{name}" for group in GROUPS for name in GROUPS[group].model_fields] + [
        *OTHERS
    ]


# The full name of each setting that also has a name without its group.
_YOUNGER_THAN_GROUPS = ("data.source", "teacher.architecture", "student.inputs")
SHORT_NAMES = {
    name.rpartition(".")[2]: name
    for name in setting_names()
    if "." in name and name not in _YOUNGER_THAN_GROUPS
} | _RENAMED


def full_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Gives settings by their full names, such as `training.epochs`.

    They may have full names, short ones (`epochs`) as all of them had once, or come by groups with
    mappings. A mapping `inputs` says all inputs anew; longer names change one.
    """
    named: dict[str, Any] = {}
    for name, value in settings.items():
        named |= _in_full(name, value)
    if named.get("teacher.architecture") == "document":  # as it was called once
        named["teacher.architecture"] = "baseline"
    return named


def _in_full(name: str, value) -> dict[str, Any]:
    if name in GROUPS and (isinstance(value, Mapping) or value is None):
        return {f"{name}.{field}": one for field, one in (value or {}).items()}
    return {SHORT_NAMES.get(name, name): value}


def check_once(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError if a setting comes by two of its names, with different values."""
    named: dict[str, Any] = {}
    twice = []
    for name, value in settings.items():
        given = _in_full(name, value)
        twice += [
            f"`{full}`: one value. Received: {named[full]!r} and, as {name}, {one!r}. Leave one "
            "out."
            for full, one in given.items()
            if full in named and named[full] != one
        ]
        named |= given
    if twice:
        raise ValueError("\n".join(twice))


def grouped(*layers: Mapping[str, Any]) -> dict:
    """Merges settings in the forms of `full_names`, later before earlier, for a run's config."""
    made = {"inputs": {name: {"kind": name} for name in SHORT_FORM}}
    for layer in layers:
        named = full_names(layer)
        for name in sorted(named, key=lambda name: name != "inputs"):
            _assign(made, name.split("."), named[name])
    if isinstance(made["inputs"], dict):
        made["inputs"] = {name: each for name, each in made["inputs"].items() if each is not None}
    return made


def _assign(made: dict, path: list[str], value) -> None:
    if path == ["inputs"]:
        copied = isinstance(value, Mapping)
        made["inputs"] = {k: _plain(v) for k, v in value.items()} if copied else value
        return
    inputs = made["inputs"]
    if path[0] == "inputs" and isinstance(inputs, dict):
        name = path[1]
        if name in SHORT_FORM and path[2:] == ["column"]:
            known = inputs.get(name) or {"kind": name}
            inputs[name] = None if value in (None, "none") else {**known, "column": value}
            return
        # Of an input that was left out, a size says nothing; null is what it is without.
        if inputs.get(name, path) is None or (value is None and len(path) > 3):
            return
    at = made
    for part in path[:-1]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            return
    at[path[-1]] = value


def _plain(options):
    """Options of an input as a mapping that may be changed."""
    options = options.model_dump() if isinstance(options, BaseModel) else options
    if not isinstance(options, Mapping):
        return options
    return {key: dict(v) if isinstance(v, Mapping) else v for key, v in options.items()}


def layered(*layers: Mapping[str, Any]) -> dict:
    """Merges settings as `grouped`, later before earlier.

    Below them lie the settings of a first look, where one is asked for; a folder of pictures has no
    texts unless inputs are named.

    Raises:
        ValueError: If a setting comes by two of its names in one layer, with different values.
    """
    for layer in layers:
        check_once(layer)
    named = {name: value for layer in layers for name, value in full_names(layer).items()}
    below: list[Mapping] = [FAST] if named.get("fast") is True else []
    source = named.get("data.source")
    if isinstance(source, str) and is_folder(source):
        below.append({"inputs": {"image": {"kind": "image"}}})
    return grouped(*below, *layers)


def read_yaml(path: Path | None, keys: Iterable[str] = (*GROUPS, "inputs", *OTHERS)) -> dict:
    """Reads the YAML file of `--config`; empty where there is none. `keys` are named in errors."""
    try:
        values = {} if path is None else read_yaml_file(path)
    except ValueError as error:
        raise ValueError(f"`--config`: a YAML file. Received: {path} ({error}).") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ValueError(
            f"`--config`: a YAML file with keys of {', '.join(keys)}. Received: "
            f"{path}, which holds a {type(values).__name__}: {values!r:.80}."
        )
    return values


def parse_settings(pairs: list[str]) -> dict:
    """Reads `name=value` pairs, values as in YAML."""
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise ValueError(
            f"`--set`: NAME=VALUE, for example training.batch_size=64. Received: {wrong}."
        )
    settings = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        try:
            settings[name] = parse_yaml(value)
        except ValueError as error:
            raise ValueError(
                f"`--set`: NAME=VALUE with a value as in YAML. Received: {name}={value:.80} "
                f"({error}). Put quotation marks around the value."
            ) from None
    return settings


def close_setting(name: str) -> str | None:
    """The full name of the setting that is most likely meant; None if none is like it."""
    start, _, end = name.rpartition(".")
    # The end is compared with those of its group alone, since a long group makes all of it alike.
    group = close_group(start)
    if group and (near := get_close_matches(end, GROUPS[group].model_fields, n=1)):
        return f"{group}.{near[0]}"
    known = SHORT_NAMES | {other: other for other in OTHERS}
    return known[near[0]] if (near := get_close_matches(end, known, n=1)) else close_group(name)


def close_group(name: str) -> str | None:
    """The group of settings that is called nearly so; None if none is."""
    return next(iter(get_close_matches(name, GROUPS, n=1, cutoff=0.8)), None)


def differences(was: Mapping, now: Mapping) -> list[str]:
    """Says by full names where two dumps of settings differ."""
    was, now = dict(flat(was)), dict(flat(now))
    return [
        f"{name}: was {was.get(name)!r}, now {now.get(name)!r}"
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    ]


def flat(values: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of nested mappings."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
