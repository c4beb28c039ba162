"""Makes shards of a large table: pictures decoded, texts and labels checked, bad rows left out.

A shard is made by itself, anywhere and in any order, and written whole or not at all. Of its rows a
model reads what it would read of the table. `mmkd_tf.data.shard_pipeline` divides shards over
machines.
"""

import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from mmkd_tf.csv_files import Part, divide, read_part
from mmkd_tf.data.kept import PART_BYTES
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import Rows, cells_of, check_rows
from mmkd_tf.data.table import decode_labels
from mmkd_tf.data.unlabelled import without_label
from mmkd_tf.kept_files import UNFINISHED
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.cells import cell_text
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions, is_absent
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.modalities.text import Text
from mmkd_tf.shard_files import (
    FORM,
    SHARD_KEY,
    SHARDS_FILE,
    listed,
    read_footer,
    shard_files,
    shard_name,
)
from mmkd_tf.table_files import (
    NPZ_SUFFIX,
    PARQUET,
    Table,
    TableError,
    check_columns,
    read_header,
    read_table,
)
from mmkd_tf.tasks import DEFAULT_TASK, find_task
from mmkd_tf.tasks.labels import is_list
from mmkd_tf.tasks.task import MISSING
from mmkd_tf.whole_file import whole_file

ROWS_PER_SHARD = 10_000
_MOST_AT_ONCE = 4096
_SHOWN_ROWS = 5  # of a shard that are left out
_VARIABLE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d[\d,.]*")


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
    others = [e.name for e in output.iterdir() if e.name not in own and not e.name.startswith(".")]
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


def make_shard(job: Job) -> dict:
    """Makes a shard, unless it is there.

    Returns:
        What it says of itself: `rows`, `left_out` with the number of rows by reason, `bad_rows`,
        `shown` with the first of them, and a checksum of its content, `sha256`.

    Raises:
        TableError: A `ValueError`: the table has changed since it was divided.
        OSError: If a file can't be written.
    """
    if (footer := found_shard(job)) is not None:
        return footer
    import pyarrow as pa
    import pyarrow.parquet

    columns, digest = job.settings.columns(), hashlib.sha256()
    reasons, shown, rows, bad_rows = Counter[str](), list[str](), 0, 0
    job.output.mkdir(parents=True, exist_ok=True)
    writer: Any = None
    with whole_file(job.path) as unfinished:
        try:
            for table, original in _tables(job):
                checked = _checked(table, job.settings)
                for index in sorted(checked.problems):
                    reasons.update({_category(reason) for reason in checked.problems[index]})
                    reason = "; ".join(checked.problems[index])
                    shown.append(f"row {table.numbers[index]}: {reason}")
                del shown[_SHOWN_ROWS:]
                bad_rows += len(checked.problems)
                kept = [row for row in range(len(table)) if row not in checked.problems]
                cells = _arrays(checked, table, original, job.settings, kept)
                part = pa.table(cells)
                if writer is None:
                    writer = _writer(unfinished, part.schema, columns)
                if kept:
                    writer.write_table(part, row_group_size=len(kept))
                    digest.update(_content(part))
                rows += len(kept)
            footer = {
                "key": job.key,
                "rows": rows,
                "bad_rows": bad_rows,
                "left_out": dict(reasons),
                "shown": shown,
                "sha256": digest.hexdigest(),
            }
            writer.add_key_value_metadata({SHARD_KEY: json.dumps(footer)})
        finally:
            if writer is not None:
                writer.close()
    return footer


def _writer(path: Path, schema, columns: Sequence[Mapping]):
    import pyarrow.parquet

    repeated = [one["name"] for one in columns if one["kind"] not in (Image.kind, Text.kind)]
    return pyarrow.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=repeated,
        write_statistics=False,
        write_page_checksum=True,
    )


def _content(part) -> memoryview:
    import pyarrow as pa

    file = io.BytesIO()
    with pa.ipc.new_stream(file, part.schema) as stream:
        stream.write_table(part)
    return file.getbuffer()


def _tables(job: Job) -> Iterator[tuple[Table, Any]]:
    """The rows of a shard, some at a time, and as Arrow has them where the table is Parquet."""
    settings = job.settings
    names = [one["name"] for one in settings.columns()]
    folder = Path(settings.options.folder or job.table.parent)
    shapes = [KINDS[one.kind].decoded_shape(one) for one in settings.inputs.values()]
    row_bytes = sum(math.prod(shape) for shape in shapes if shape is not None)
    at_once = max(1, min(_MOST_AT_ONCE, PART_BYTES // max(1, row_bytes)))
    if isinstance(job.part, Part):
        records = read_part(
            job.table, job.part, lambda header: {name: header.index(name) for name in names}
        )
        for start in range(0, len(records.numbers), at_once):
            some = slice(start, start + at_once)
            numbers = records.numbers[some]
            cells = {name: records.cells[name][some] for name in names}
            broken = {
                index - start: f"{number} cells of {len(records.header)}; put quotation marks "
                "around a text that holds the separator, and close each of them"
                for index, number in records.broken.items()
                if start <= index < start + at_once
            }
            counting = "the header is row 1"
            yield Table(str(job.table), folder, counting, numbers, cells, broken, names), None
        return
    import pyarrow as pa

    for first, batch in _batches(job, job.part, at_once):
        found = read_table(pa.Table.from_batches([batch]).to_pandas(ignore_metadata=True), names)
        found.numbers = range(first, first + len(found))
        found.source, found.folder = str(job.table), folder
        yield found, batch


def _batches(job: Job, part: tuple[int, int], at_once: int) -> Iterator[tuple[int, Any]]:
    """Rows of a Parquet file with the number of the first, from the row groups that hold them."""
    import pyarrow.parquet

    begin, end = part
    with pyarrow.parquet.ParquetFile(job.table) as file:
        wanted = {one["name"] for one in job.settings.columns()}
        columns = [name for name in file.schema_arrow.names if name.strip() in wanted]
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        groups = [
            g for g in range(file.num_row_groups) if starts[g] < end and starts[g + 1] > begin
        ]
        row = starts[groups[0]]
        for batch in file.iter_batches(at_once, row_groups=groups, columns=columns):
            first, row = row, row + len(batch)
            low, high = max(begin, first), min(end, row)
            if low < high:
                yield low, batch.slice(low - first, high - low)
            if row >= end:
                return


def _checked(table: Table, settings: Settings) -> Rows:
    """Reads some rows as `from_table` does, and notes what is wrong with each."""
    decode_labels(table, settings.labels)
    kinds = {name: KINDS[one.kind] for name, one in settings.inputs.items()}
    values, problems = {}, []
    for name, one in settings.inputs.items():
        values[name], wrong = kinds[name].read(
            cells_of(table.columns, name, one),
            one,
            folder=table.folder,
            allow_outside=settings.options.allow_outside,
        )
        # Whether a column is of numbers is known once all of it is there.
        problems.append({} if kinds[name] is Tabular else wrong)
    labels, wrong = [MISSING] * len(table), {}
    if settings.labels:
        cells = [tuple(table.columns[n][row] for n in settings.labels) for row in range(len(table))]
        separator = settings.options.label_separator
        task = find_task(settings.task)
        labels, wrong = task.read_labels(cells, separator=separator, names=settings.labels)
        _, wrong = without_label(cells, wrong, settings.options)
    rows = Rows(table.source, table.counting, table.numbers, labels, values, kinds)
    check_rows(rows, problems, wrong)
    for index, reason in table.broken.items():
        rows.problems[index] = [reason]
    return rows


def _arrays(rows: Rows, table: Table, original, settings: Settings, kept: list[int]) -> dict:
    """By column, an Arrow array of the rows that are kept."""
    import pyarrow as pa

    arrays: dict[str, Any] = {}
    for name, one in settings.inputs.items():
        columns, values = one.columns_of(name), rows.inputs[name]
        if one.kind == Image.kind:
            pictures = np.asarray(values).reshape(len(table), len(columns), -1)
            for at, column in enumerate(columns):
                there = ~is_absent(pictures[:, at])
                cells = [pictures[row, at].tobytes() if there[row] else None for row in kept]
                arrays[column] = pa.array(cells, pa.binary())
        elif one.kind == Text.kind:
            arrays[columns[0]] = pa.array([values[row] for row in kept], pa.string())
        else:
            for column in columns:
                if column not in arrays:
                    arrays[column] = _as_they_are(table.columns[column], column, original, kept)
    for name in settings.labels:
        cells = [_label(table.columns[name][row]) for row in kept]
        lists = original is not None and _is_list_column(original.schema, name)
        arrays[name] = pa.array(cells, pa.list_(pa.string()) if lists else pa.string())
    return {one["name"]: arrays[one["name"]] for one in settings.columns()}


def _as_they_are(cells: Sequence, column: str, original, kept: list[int]):
    import pyarrow as pa

    if original is None:
        return pa.array([cells[row] for row in kept], pa.string())
    (at,) = [i for i, name in enumerate(original.schema.names) if name.strip() == column]
    return original.column(at).take(pa.array(kept, pa.int64()))


def _is_list_column(schema, column: str) -> bool:
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
    return any(_is_list_column(schema, name) for name in columns if name in there)


def _is_parquet(table: Path) -> bool:
    if not table.is_file():
        return False
    with table.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def _label(cell):
    if is_list(cell):
        return [cell_text(one) for one in cell]
    return cell if isinstance(cell, str) else cell_text(cell) or None


def _category(reason: str) -> str:
    """A reason without names and numbers, so that rows can be counted by it."""
    return _VARIABLE.sub("...", reason)


def finish(jobs: Sequence[Job]) -> dict:
    """Writes `shards.json` of a folder whose shards are all there, and gives what it holds.

    Raises:
        ValueError: If shards are missing.
    """
    footers = [found_shard(job) for job in jobs]
    if lost := [job.path.name for job, one in zip(jobs, footers, strict=True) if one is None]:
        raise ValueError(
            f"{jobs[0].output}: {len(lost):,} of {len(jobs):,} shards are missing: {listed(lost)}."
        )
    found = [footer for footer in footers if footer is not None]
    reasons, shown = Counter[str](), [line for footer in found for line in footer["shown"]]
    for footer in found:
        reasons.update(footer["left_out"])
    manifest = {
        "form": FORM,
        "table": jobs[0].table.name,
        "key": jobs[0].key,
        "columns": jobs[0].settings.columns(),
        "rows": sum(footer["rows"] for footer in found),
        "bad_rows": sum(footer["bad_rows"] for footer in found),
        "left_out": dict(reasons.most_common()),
        "shown": shown[:_SHOWN_ROWS],
        "shards": [
            {
                "file": job.path.name,
                "rows": footer["rows"],
                "bytes": job.path.stat().st_size,
                "sha256": footer["sha256"],
            }
            for job, footer in zip(jobs, found, strict=True)
        ],
    }
    output = jobs[0].output
    with whole_file(output / SHARDS_FILE) as unfinished:
        unfinished.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    for leftover in output.glob(f"{UNFINISHED}*.part-*.parquet"):  # of processes that were killed
        leftover.unlink(missing_ok=True)
    return manifest
