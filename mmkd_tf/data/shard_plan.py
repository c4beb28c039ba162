"""Divides a large table into shards, and says which of them are not there yet.

A shard is made by itself, anywhere and in any order, by `mmkd_tf.data.shard_writer`;
`mmkd_tf.data.shard_pipeline` divides shards over machines.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL

from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.files.csv_tables import Part, divide
from mmkd_tf.files.shards import (
    ANSWERS,
    FORM,
    SHARDS_FILE,
    listed,
    read_footer,
    shard_files,
    shard_name,
)
from mmkd_tf.files.tables import NPZ_SUFFIX, PARQUET, TableError, check_columns, read_header
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.modalities.text import Text
from mmkd_tf.tasks import DEFAULT_TASK, find_task

ROWS_PER_SHARD = 10_000


@dataclass(frozen=True)
class Settings:
    """What decides what a shard holds.

    Attributes:
        inputs: By name, what is read; kinds image, text and tabular.
        labels: Columns of the answers; none of rows without labels.
        task: By which label cells are judged.
        options: `allow_outside`, `label_separator`, `unlabelled_rows`, `folder`; others are not
            read.
    """

    inputs: Mapping[str, InputOptions]
    labels: Sequence[str]
    task: str
    options: DatasetOptions

    def columns(self) -> list[dict]:
        """The columns of a shard: `name`, `kind`, and the `size` of pictures."""
        found: dict[str, dict] = {}
        for name, one in self.inputs.items():
            for column in one.columns_of(name):
                size = {"size": one.size} if isinstance(one, Image.Options) else {}
                found.setdefault(column, {"name": column, "kind": one.kind, **size})
        return [*found.values(), *({"name": name, "kind": "label"} for name in self.labels)]


def shard_settings(
    table: Path,
    inputs: Mapping[str, InputOptions],
    label: str | Sequence[str] | None,
    options: DatasetOptions,
) -> Settings:
    """The settings of shards that `from_table` is to read with the same arguments.

    Rows without labels, with `label=None`, may lack inputs, as `options.unlabelled` may.
    """
    if label is None:
        header = set(read_header(table) or ())
        there = {name: one for name, one in inputs.items() if header & set(one.columns_of(name))}
        return Settings(there or inputs, (), DEFAULT_TASK, options)
    task = find_task(DEFAULT_TASK if options.task == "auto" else options.task)
    labels = task.label_columns(label)
    if options.task == "auto" and _holds_lists(table, labels):
        return Settings(inputs, labels, "multi_label", options)
    return Settings(inputs, labels, task.name, options)


@dataclass(frozen=True)
class Job:
    """A shard that is to be made.

    Attributes:
        table: The table's file.
        output: The folder of the shards.
        index: Number of the shard, from 0.
        total: Number of all shards.
        part: Its rows: of a CSV file a `Part`, of a Parquet file the first and the one behind.
        settings: What decides what it holds.
        key: What tells it from shards of other tables and settings; the same for all of a folder.
    """

    table: Path
    output: Path
    index: int
    total: int
    part: Part | tuple[int, int]
    settings: Settings
    key: Mapping[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """The shard's file."""
        return self.output / shard_name(self.index, self.total)


def plan(
    table: Path, output: Path, settings: Settings, *, rows_per_shard: int = ROWS_PER_SHARD
) -> list[Job]:
    """Divides a table into shards; of a Parquet file they begin where row groups do.

    Args:
        table: A CSV or Parquet file, which is read once.
        output: The folder of the shards: a new or empty one, or one that holds some of them.
        settings: What the shards are to hold.
        rows_per_shard: Rows of a shard, 1 or more, before bad ones are left out.

    Returns:
        All shards in order, also those that are there.

    Raises:
        TableError: A `ValueError`: the table can't be read or lacks a column.
        ValueError: If the folder holds something else, or settings don't fit; all are listed.
    """
    _check_settings(settings, rows_per_shard)
    if table.is_dir() or table.suffix.lower() == NPZ_SUFFIX:
        raise TableError(f"{table}: expected a CSV or Parquet file, which can be read in parts.")
    names = [one["name"] for one in settings.columns()]
    check_columns(table, names)
    with table.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    parts: Sequence[Part | tuple[int, int]] = (
        _row_ranges(table, rows_per_shard) if _is_parquet(table) else divide(table, rows_per_shard)
    )
    key = {
        "form": FORM,
        "table": sha256,
        "rows_per_shard": rows_per_shard,
        "columns": settings.columns(),
        "task": settings.task,
        "label_separator": settings.options.label_separator,
        "unlabelled_rows": settings.options.unlabelled_rows,
        "allow_outside": settings.options.allow_outside,
        "pillow": PIL.__version__,
    }
    jobs = [
        Job(table, output, index, len(parts), part, settings, key)
        for index, part in enumerate(parts)
    ]
    _check_output(output, {job.path.name: job for job in jobs})
    return jobs


def _check_settings(settings: Settings, rows_per_shard: int) -> None:
    wrong, seen = [], set[str]()
    if rows_per_shard < 1:
        wrong.append(f"`rows_per_shard`: 1 or more. Received: {rows_per_shard}.")
    for name, one in settings.inputs.items():
        if one.kind not in (Image.kind, Text.kind, Tabular.kind):
            wrong.append(
                f"`inputs.{name}`: kind image, text or tabular. Received: {one.kind}, which is not "
                "prepared; give mmkd-tf run the table itself."
            )
        for column in one.columns_of(name):
            if one.kind == Image.kind and column in seen:
                wrong.append(
                    f"`inputs.{name}`: pictures of a column that no other input reads. Received: "
                    f"'{column}'. Write the column twice."
                )
        seen |= set(one.columns_of(name))
    if both := seen & set(settings.labels):
        wrong.append(f"`label`: a column that no input reads. Received: {listed(sorted(both))}.")
    if wrong:
        raise ValueError("\n".join(wrong))


def _row_ranges(table: Path, most: int) -> list[tuple[int, int]]:
    """Small row groups together, large ones in even parts."""
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(table)
    except (OSError, ValueError) as error:
        raise TableError(f"{table}: a damaged Parquet file ({error}). Copy it again.") from error
    bounds, end = [0], 0
    for group in range(metadata.num_row_groups):
        begin, number = end, metadata.row_group(group).num_rows
        end += number
        if end - bounds[-1] <= most:
            continue
        if begin > bounds[-1]:
            bounds.append(begin)
        parts = -(-number // most)
        bounds += [begin + number * part // parts for part in range(1, parts)]
        if parts > 1:
            bounds.append(end)
    if end > bounds[-1]:
        bounds.append(end)
    if not end:
        raise TableError(f"{table}: no rows, only column names.")
    return list(zip(bounds, bounds[1:], strict=False))


def _check_output(output: Path, jobs: Mapping[str, Job]) -> None:
    """Refuses a folder with shards of another table, division or settings, or with other files."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"`--output`: a folder. Received: the file {output}.")
    if not output.exists():
        return
    own = {SHARDS_FILE, *(path.name for path in shard_files(output))}
    others = [
        entry.name
        for entry in output.iterdir()
        if entry.name not in own and not entry.name.startswith((".", ANSWERS))
    ]
    advice = "Choose another folder, or remove this one if nobody needs it."
    if others:
        raise ValueError(
            f"`--output`: a new or empty folder, or one of shards. Received: {output}, which holds "
            f"{listed(sorted(others))}. {advice}"
        )
    wanted = next(iter(jobs.values())).key
    for path in shard_files(output):
        footer = read_footer(path)
        if footer is None:
            continue  # damaged: made again
        if footer["key"] == wanted and path.name in jobs:
            continue
        made = footer["key"]
        lines = [
            "- another table, or one that has changed since"
            if name == "table"
            else f"- {name}: {made.get(name)} there, now {now}"
            for name, now in wanted.items()
            if made.get(name) != now
        ]
        raise ValueError(
            f"`--output`: shards of this table with these settings. Received: {output}, where "
            f"{path.name} differs in:\n" + "\n".join(lines) + f"\n{advice}"
        )


def missing(jobs: Sequence[Job]) -> list[Job]:
    """The shards that are not there yet, or not whole."""
    return [job for job in jobs if found_shard(job) is None]


def found_shard(job: Job) -> dict | None:
    """What a shard that is there says of itself; None where it is to be made."""
    footer = read_footer(job.path) if job.path.is_file() else None
    return footer if footer is not None and footer["key"] == job.key else None


def is_list_column(schema, column: str) -> bool:
    """Whether the cells of a column of an Arrow table are lists."""
    import pyarrow.types

    (of,) = [field.type for field in schema if field.name.strip() == column]
    types = pyarrow.types
    return types.is_list(of) or types.is_large_list(of) or types.is_fixed_size_list(of)


def _holds_lists(table: Path, columns: Sequence[str]) -> bool:
    import pyarrow.parquet

    if not _is_parquet(table):
        return False
    schema = pyarrow.parquet.read_schema(table)
    there = {name.strip() for name in schema.names}
    return any(is_list_column(schema, name) for name in columns if name in there)


def _is_parquet(table: Path) -> bool:
    if not table.is_file():
        return False
    with table.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET
