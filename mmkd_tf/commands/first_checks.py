"""What can be said of a command's data before TensorFlow is there: paths and names of columns."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmkd_tf.table_files import (
    BUILT_IN,
    TableError,
    check_columns,
    is_folder,
    is_table,
    why_no_file,
)


def check_data(settings: Mapping[str, Any]) -> None:
    """Looks for the tables and columns that a run's settings name.

    What it lets pass is checked again when the data is read; what it can't judge, such as the names
    of TensorFlow datasets or settings of a wrong type, it leaves to that.

    Args:
        settings: As `mmkd_tf.setting_names.grouped` gives them.

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
