"""Makes shards of a large table: pictures decoded, texts and labels checked, bad rows left out.

A shard is written whole or not at all. Of its rows a model reads what it would read of the table.
"""

import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkd_tf.data.kept import PART_BYTES
from mmkd_tf.data.rows import Rows, cells_of, check_rows
from mmkd_tf.data.shard_plan import Job, Settings, found_shard, is_list_column
from mmkd_tf.data.table import decode_labels
from mmkd_tf.data.unlabelled import without_label
from mmkd_tf.files.csv_tables import Part, read_part
from mmkd_tf.files.kept import UNFINISHED
from mmkd_tf.files.shards import FORM, SHARD_KEY, SHARDS_FILE, listed
from mmkd_tf.files.tables import Table, read_table
from mmkd_tf.files.whole import whole_file
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.cells import cell_text
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import is_absent
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.modalities.text import Text
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.labels import is_list
from mmkd_tf.tasks.task import MISSING

_MOST_AT_ONCE = 4096
_SHOWN_ROWS = 5  # of a shard that are left out
_VARIABLE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d[\d,.]*")


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
        lists = original is not None and is_list_column(original.schema, name)
        arrays[name] = pa.array(cells, pa.list_(pa.string()) if lists else pa.string())
    return {one["name"]: arrays[one["name"]] for one in settings.columns()}


def _as_they_are(cells: Sequence, column: str, original, kept: list[int]):
    import pyarrow as pa

    if original is None:
        return pa.array([cells[row] for row in kept], pa.string())
    (at,) = [i for i, name in enumerate(original.schema.names) if name.strip() == column]
    return original.column(at).take(pa.array(kept, pa.int64()))


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
