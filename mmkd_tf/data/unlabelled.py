"""Unlabelled rows: read beside a table or a dataset, without those that held-out rows repeat.

They become the split `transfer` of a Dataset. What the teacher says of a row that is in the test
split too would tell the student of the test.
"""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from mmkd_tf.data.decoding import kept_shape, read_values
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError, Rows, cells_of, check_rows, check_sizes
from mmkd_tf.edge.picture import SUFFIXES
from mmkd_tf.files.shards import is_shards
from mmkd_tf.files.tables import Table, TableError, decode, read_table
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.modalities.text import Text
from mmkd_tf.processes import available_memory
from mmkd_tf.tasks.labels import label_text
from mmkd_tf.tasks.task import MISSING

REPEATS, OF_TRAINING = "repeats_left_out", "repeats_of_training"
# Of what is decoded there are as many copies at a time: while parts are joined, and in training.
_COPIES = 3
_AT_ONCE = 256


def read_unlabelled(
    inputs: Mapping[str, InputOptions],
    options: DatasetOptions,
    *,
    labels: Sequence[str],
    labelled: Rows,
) -> tuple[Rows, list[str]]:
    """Reads `options.unlabelled`.

    Args:
        inputs: By name, what the data have.
        options: What to read and how.
        labels: Label columns of the data, which are not read here.
        labelled: The training rows, by which is known what a decoded row takes.

    Returns:
        Rows without labels, with their problems, and notes.

    Raises:
        TableError: A `ValueError`: it is missing, unreadable or empty, or has none of the inputs.
        DataError: A `ValueError`: the rows would take more memory than is free.
    """
    try:
        table = _table(options.unlabelled, inputs, options)
    except (TableError, TypeError) as error:
        raise type(error)(f"`unlabelled`: {error}") from None
    check_sizes(table, inputs)
    _check_memory(table, labelled, inputs)
    values, problems = {}, []
    for name, settings in inputs.items():
        values[name], wrong = read_values(
            labelled.kinds[name],
            cells_of(table.columns, name, settings),
            settings,
            source=table.source,
            folder=table.folder,
            allow_outside=options.allow_outside,
        )
        problems.append(wrong)
    nothing = [MISSING] * len(table)
    rows = Rows(table.source, table.counting, table.numbers, nothing, values, labelled.kinds)
    check_rows(rows, problems, {})
    for index, reason in table.broken.items():
        rows.problems[index] = [reason]
    ignored = [name for name in labels if name in table.header]
    notes = [f"{table.source}: its labels ({', '.join(ignored)}) are not read."] if ignored else []
    return rows, [*table.notes, *notes]


def _table(source, inputs: Mapping[str, InputOptions], options: DatasetOptions) -> Table:
    """What there is to read, as columns of cells."""
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    if path is not None and os.path.isdir(path) and not is_shards(path):
        column = _only(Image.kind, inputs, f"{path}: a folder of pictures")
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
        if not files:
            raise TableError(f"{path}: a folder without pictures ({', '.join(SUFFIXES)}).")
        cells = [str(file.relative_to(path)) for file in files]
        numbers = range(1, 1 + len(cells))
        return Table(str(path), path, "pictures by name, from 1", numbers, {column: cells})
    if path is not None and os.path.isfile(path) and path.suffix.lower() == ".txt":
        column = _only(Text.kind, inputs, f"{path}: a file of texts, one a line")
        # At line feeds alone: U+2028 and the like are parts of a text.
        lines = re.split(r"\r\n|\r|\n", decode(path.read_bytes(), path))
        numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
        if not numbers:
            raise TableError(f"{path}: an empty file.")
        cells = [lines[number - 1] for number in numbers]
        return Table(str(path), path.parent, "its lines, from 1", numbers, {column: cells})
    columns = list(dict.fromkeys(c for name, one in inputs.items() for c in one.columns_of(name)))
    folder = options.folder if isinstance(source, pd.DataFrame) else None
    table = read_table(source, columns, folder=folder, some=True)
    if isinstance(source, pd.DataFrame):
        table.source = "the DataFrame without labels"
    return table


def _only(kind: str, inputs: Mapping[str, InputOptions], what: str) -> str:
    """The column of the one input of a kind."""
    of_kind = {name: one for name, one in inputs.items() if one.kind == kind}
    found = {
        name: one.column or name
        for name, one in of_kind.items()
        if not getattr(one, "columns", None)
    }
    if len(found) != 1:
        raise TableError(
            f"{what}, which is for data with one input of kind {kind}. Received: "
            f"{', '.join(found) or 'none'}, of the inputs {', '.join(inputs)}. Write a table with "
            "a column for each."
        )
    return next(iter(found.values()))


def _check_memory(table: Table, labelled: Rows, inputs: Mapping[str, InputOptions]) -> None:
    """Refuses more than the memory holds, by the shapes of what is decoded in the training rows.

    Where an input is absent there are as many zeros. What is kept on disk takes no memory.
    """
    arrays = [
        values
        for name, values in labelled.inputs.items()
        if isinstance(values, np.ndarray)
        and len(values)
        and kept_shape(labelled.kinds[name], inputs[name], len(table)) is None
    ]
    a_row = sum(values.nbytes // len(values) for values in arrays)
    needed, free = _COPIES * a_row * len(table), available_memory()
    if needed > free:
        raise DataError(
            f"`unlabelled`: rows that fit into memory. Received: {len(table):,} of {table.source}, "
            f"which take {needed / 2**20:,.0f} MiB once they are decoded ({_COPIES} copies of "
            f"{a_row:,} bytes each), while {free / 2**20:,.0f} MiB are free. Give fewer rows, or "
            "make pictures smaller (inputs.NAME.size).",
            num_problems=1,
        )


def without_label(
    cells: Sequence[tuple], problems: Mapping[int, str], options: DatasetOptions
) -> tuple[list[int], dict[int, str]]:
    """Finds the rows whose label cells are all empty.

    Gives their indices, and the problems with labels, without theirs if `options` lets them be.
    """
    empty = [i for i, row in enumerate(cells) if row and not any(map(label_text, row))]
    left = set(problems).difference(empty) if options.unlabelled_rows else problems
    return empty, {index: problems[index] for index in left}


def split_off(rows: Rows) -> tuple[Rows, Rows | None]:
    """Divides rows into those with labels and those whose label cells are empty; None if none."""
    without = set(rows.unlabelled)
    if not without:
        return rows, None
    kept = [index for index in range(len(rows)) if index not in without]
    return rows.select(kept), rows.select(sorted(without))


def transfer_rows(
    parts: Mapping[str, Rows], splits: Mapping[str, Rows]
) -> tuple[Rows | None, dict[str, int], list[str]]:
    """Puts rows without labels together, but for those that repeat held-out rows.

    A row repeats another if all inputs that it has are near copies of that row's, see
    `Modality.are_copies`.

    Args:
        parts: By source, rows without problems.
        splits: The rows with labels, by split.

    Returns:
        All rows, None of no parts; numbers of rows by source, of `REPEATS` that are left out, and
        `OF_TRAINING`, which stay; notes.

    Raises:
        DataError: A `ValueError`, if nothing is left.
    """
    if not parts:
        return None, {}, []
    counts, kept, notes = {REPEATS: 0, OF_TRAINING: 0}, {}, []
    for source, rows in parts.items():
        held_out = repeats(rows, [splits["validation"], splits["test"]])
        kept[source] = rows.select(np.flatnonzero(~held_out)) if held_out.any() else rows
        counts[source] = len(kept[source])
        counts[REPEATS] += int(held_out.sum())
        counts[OF_TRAINING] += int(repeats(kept[source], [splits["train"]]).sum())
    total = sum(map(len, parts.values()))
    names = " and ".join(rows.source for rows in parts.values())
    if not sum(map(len, kept.values())):
        reason = "all of them repeat validation or test rows" if total else "there are none"
        raise DataError(
            f"`{'`, `'.join(parts)}`: rows without labels that teach the student something. "
            f"Received: {total:,} of {names}; {reason}. Give others, or leave them out.",
            num_problems=1,
        )
    if counts[REPEATS]:
        notes.append(
            f"{counts[REPEATS]:,} of {total:,} rows without labels left out, because they repeat "
            "validation or test rows."
        )
    if counts[OF_TRAINING]:
        notes.append(
            f"Rows without labels that repeat training rows, which does no harm: "
            f"{counts[OF_TRAINING]:,}."
        )
    return _joined(list(kept.values())), counts, notes


def _joined(parts: Sequence[Rows]) -> Rows:
    first = parts[0]
    if len(parts) == 1:
        return first
    inputs = {}
    for name, values in first.inputs.items():
        several = [rows.inputs[name] for rows in parts]
        is_array = isinstance(values, np.ndarray)
        inputs[name] = np.concatenate(several) if is_array else [*chain(*several)]
    nothing = [MISSING] * sum(map(len, parts))
    numbers = [*chain(*(rows.numbers for rows in parts))]
    return Rows(first.source, "all in turn", numbers, nothing, inputs, first.kinds)


def repeats(rows: Rows, others: Sequence[Rows]) -> np.ndarray:
    """Which rows are near copies of one of some others in all inputs that they have, bool `[n]`."""
    found = np.zeros(len(rows), bool)
    if not len(rows):
        return found
    ours = {name: kind.copy_keys(rows.inputs[name]) for name, kind in rows.kinds.items()}
    absent = {name: kind.absent(rows.inputs[name]) for name, kind in rows.kinds.items()}
    for other in others:
        theirs = {name: kind.copy_keys(other.inputs[name]) for name, kind in rows.kinds.items()}
        there = {name: ~kind.absent(other.inputs[name]) for name, kind in rows.kinds.items()}
        for start in range(0, len(rows), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            same = np.ones([len(found[some]), len(other)], bool)
            for name, kind in rows.kinds.items():
                copies = kind.are_copies(ours[name][some], theirs[name]) & there[name]
                same &= copies | absent[name][some][:, None]
            found[some] |= same.any(axis=1)
    return found
