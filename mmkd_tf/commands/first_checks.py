"""What can be said of a command's data before TensorFlow is there: paths, columns, run folders."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmkd_tf.files.tables import (
    BUILT_IN,
    TableError,
    check_columns,
    is_folder,
    is_table,
    why_no_file,
)

# What a run leaves in its folder sooner or later, one of which shows that it is one.
_OF_RUNS = ("config.yaml", "results.json", "manifest.json")
# Settings of the data that are names, which are compared as they are written.
_NAMES = ("data.source", "data.label", "data.task", "data.unlabelled")
_TABLES = ("data.validation", "data.test")  # or shares of the rows


def check_run_folders(*folders: Path) -> None:
    """Looks whether folders are those of runs; a ValueError says of each that is not what it is."""
    if problems := [problem for folder in folders if (problem := _no_run(folder))]:
        raise ValueError("\n".join(problems))


def _no_run(folder: Path) -> str:
    wanted = f"`{folder}`: the folder of a run. Received: "
    if not folder.exists():
        return wanted + why_no_file(folder).replace("no such file", "no such folder")
    if not folder.is_dir():
        return f"{wanted}a file."
    if any((folder / name).is_file() for name in _OF_RUNS):
        return ""
    return f"{wanted}one without {' and '.join(_OF_RUNS[:2])}. Begin a run with mmkd-tf run."


def check_model(path: Path) -> None:
    """Raises a ValueError where there is neither a `.tflite` file nor a run's folder."""
    if not path.exists():
        raise ValueError(
            "`MODEL`: a .tflite file, or the folder of a run. Received: "
            f"{path}, {why_no_file(path).replace('no such file', 'nothing of that name', 1)}"
        )


def check_resume(
    folder: Path | None, settings: Mapping[str, Any], *, config: Path | None = None
) -> None:
    """Looks whether there is a run to go on with, on data that are there and are its own.

    Args:
        folder: That of `--output`.
        settings: By the names of `mmkd_tf.settings.names.full_names`, what was given again.
        config: The file of `--config`, which is not read.

    Raises:
        ValueError: If there is none, or the data are others.
    """
    if folder is None or config is not None:
        raise ValueError(
            "`--resume`: needs --output, the folder of the run, which holds its settings; "
            "--config is not read."
        )
    check_run_folders(folder)
    if (folder / "results.json").is_file():
        raise ValueError(
            f"`--resume`: a run that was interrupted. Received: {folder}, which is finished."
        )
    if not (folder / "config.yaml").is_file():
        return  # what else is there may do
    # Not above: an install for edge devices, which has these commands too, has no pydantic.
    from mmkd_tf.settings.names import full_names, grouped, read_yaml

    saved, given = full_names(read_yaml(folder / "config.yaml")), full_names(settings)
    changed = [
        f"- {name}: was {saved.get(name)!r}, now {given[name]!r}"
        for name in (*_NAMES, *_TABLES)
        if isinstance(given.get(name), str)
        and isinstance(saved.get(name), str)
        and given[name] != saved[name]
        and not (name in _TABLES and _is_number(given[name]) and _is_number(saved[name]))
    ]
    if changed:
        raise ValueError(
            "`--resume`: the data that the run began with. Received other settings of them:\n"
            + "\n".join(changed)
            + "\nLeave them out, or begin a new run in another folder."
        )
    try:
        check_data(grouped(saved))
    except TableError as error:
        raise TableError(
            f"{error}\nThe run in {folder} began with it: put it back, then go on."
        ) from None


def check_data(settings: Mapping[str, Any]) -> None:
    """Looks for the tables and columns that a run's settings name.

    What it lets pass is checked again when the data is read; what it can't judge, such as the names
    of TensorFlow datasets or settings of a wrong type, it leaves to that.

    Args:
        settings: As `mmkd_tf.settings.names.grouped` gives them.

    Raises:
        TableError: A `ValueError`; lists all tables that are not there or lack a column.
    """
    data = settings.get("data")
    data = data if isinstance(data, Mapping) else {}
    source = data.get("source", "emoji")
    if not isinstance(source, str):
        return
    problems = []
    if is_table(source):
        inputs = settings.get("inputs")
        columns, unnamed = _columns(inputs, data), _without_columns(inputs)
        held_out = {name: data.get(name) for name in ("validation", "test")}
        tables = {"DATA": source} | {
            f"--{name}": value
            for name, value in held_out.items()
            if isinstance(value, str) and not _is_number(value)
        }
        for flag, path in tables.items():
            try:
                check_columns(path, columns, unnamed=unnamed)
            except TableError as error:
                problems.append(f"`{flag}`: {error}")
    elif not is_folder(source) and source not in BUILT_IN and _is_path(source):
        problems.append(f"`DATA`: {source}: {why_no_file(Path(source))}")
    unlabelled = data.get("unlabelled")
    if isinstance(unlabelled, str) and not Path(unlabelled).exists():
        problems.append(f"`--unlabelled`: {unlabelled}: {why_no_file(Path(unlabelled))}")
    if problems:
        raise TableError("\n".join(problems))


def _columns(inputs, data: Mapping) -> list[str]:
    """The columns that a table must have; none where the settings are not understood."""
    if not isinstance(inputs, Mapping):
        return []
    named: list = []
    for name, options in inputs.items():
        if isinstance(options, Mapping):
            several = options.get("columns")
            named += several if isinstance(several, list) else [options.get("column") or name]
    labels = data.get("label", "label")
    if data.get("task") == "retrieval":
        labels = []
    elif data.get("task") == "regression" and isinstance(labels, str):
        labels = [name.strip() for name in labels.split(",")]
    labels = [labels] if isinstance(labels, str) else labels
    columns: Sequence = [*named, *labels] if isinstance(labels, list) else named
    return list(dict.fromkeys(str(column) for column in columns))


def _without_columns(inputs) -> list[str]:
    """Names of the inputs of kind tabular that name no column."""
    inputs = inputs if isinstance(inputs, Mapping) else {}
    return [
        str(name)
        for name, options in inputs.items()
        if isinstance(options, Mapping)
        and options.get("kind") == "tabular"
        and not (options.get("columns") or options.get("column"))
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_path(source: str) -> bool:
    """Whether a text can't be the name of a TensorFlow dataset, which may have `/` and `:`."""
    looks = "\\" in source or source.startswith((".", "~", "/")) or " " in source
    # A folder's name that is nearly right is no dataset either.
    near = get_close_matches(source, [entry.name for entry in Path().iterdir()], n=1, cutoff=0.85)
    return looks or bool(near)
