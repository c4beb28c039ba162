"""Makes a Dataset of a CSV file, a Parquet file or a DataFrame."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmkd_tf.data.assembly import assemble
from mmkd_tf.data.dataset import UNLABELLED, Dataset
from mmkd_tf.data.decoding import read_values
from mmkd_tf.data.options import DEFAULTS, DatasetOptions, check_fractions, named_inputs
from mmkd_tf.data.rows import Rows, cells_of, check_rows, check_sizes
from mmkd_tf.data.unlabelled import read_unlabelled, without_label
from mmkd_tf.files.tables import Table, TableError, read_header, read_table
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.cell_files import NO_FILE
from mmkd_tf.modalities.cells import cell_text, is_value, plain_text, quote
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.settings.names import SHORT_FORM
from mmkd_tf.tasks import DEFAULT_TASK, choose_task, find_task
from mmkd_tf.tasks.labels import is_list
from mmkd_tf.tasks.task import MISSING, Task

_FEW_FILES = 10  # fewer that are missing say nothing of the column
_ENDING = re.compile(r"[^\s.]\.[A-Za-z]\w{1,4}$")


def from_table(
    table,
    *,
    image: str | None = "image",
    text: str | None = "text",
    label: str | Sequence[str] = "label",
    inputs: Mapping[str, Mapping | InputOptions] | None = None,
    validation=0.15,
    test=0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of a table with a row for each example.

    Pictures are read once and kept as uint8, many of them on disk for later runs (see
    `mmkd_tf.data.kept`); of the texts, those of the training rows make the
    vocabulary. An empty cell means that the example lacks that input. Everything that is wrong
    with the data is found here, before any training, and listed together.

    Args:
        table: Path of a CSV file (UTF-8; comma, semicolon or tab between cells) or of a Parquet
            file, or of a NumPy archive (`.npz`, an array a column with the examples along its first
            axis), or a DataFrame, or a folder of shards that `mmkd-tf data prepare` made.
        image: Column of picture paths, relative to the table's folder (see
            `DatasetOptions.folder`); Parquet files and DataFrames may hold the bytes of picture
            files instead. None if the data has no pictures.
        text: Column of texts. None if the data has no texts.
        label: Column of classes: words or numbers. Of labels, several in a cell: `red|summer`, or
            a list in a DataFrame; see `DatasetOptions.task`. With `task="regression"`, of numbers;
            several columns as a list or with commas between. `task="retrieval"` reads none.
        inputs: In place of `image` and `text`, any inputs by name, each with its `kind`, its
            `column` (its name by default) and the options of the kind:
            `{"front": {"kind": "image", "column": "photo_front"}, "title": {"kind": "text"}}`.
        validation: Fraction of the rows to hold out for validation, or a table of its own with
            the same columns.
        test: The same for the test split.
        options: Sizes, seed, and what to do about bad rows.

    Returns:
        The Dataset; `notes` says what was found, such as rows that occur in two splits.

    Raises:
        TableError: A `ValueError`: a table is missing, unreadable or empty, or lacks a column.
        DataError: A `ValueError` that lists all problems of all rows.

    Examples:
        >>> rows = [(f"{kind} {number}", kind) for kind in ("cup", "lamp") for number in range(10)]
        >>> from_table(pd.DataFrame(rows, columns=["text", "label"]), image=None).sizes
        {'train': 12, 'validation': 4, 'test': 4}
    """
    inputs = named_inputs(inputs, image=image, text=text, options=options)
    task = find_task(DEFAULT_TASK if options.task == "auto" else options.task)
    labels = task.label_columns(label)
    if told := [c for name, one in inputs.items() for c in one.columns_of(name) if c in labels]:
        raise TableError(
            f"`inputs`: columns that do not hold the answer. Received: {', '.join(told)}, which is "
            "the label. Leave it out of the inputs."
        )
    held_out = {"test": test, "validation": validation}
    fractions = {
        split: value for split, value in held_out.items() if isinstance(value, (int, float))
    }
    check_fractions(fractions)
    sources = {"train": table} | {
        split: held_out[split] for split in ("validation", "test") if split not in fractions
    }
    columns = [*(c for name, one in inputs.items() for c in one.columns_of(name)), *labels]
    unnamed = [n for n, one in inputs.items() if one.kind == "tabular" and one.columns_of(n) == [n]]
    tables = _read_all(sources, list(dict.fromkeys(columns)), options.folder, unnamed)
    for one in tables.values():
        check_sizes(one, inputs)
        decode_labels(one, labels)
    cells = tables["train"].columns[labels[0]] if labels else ()
    task, notes = choose_task(cells, name=options.task, separator=options.label_separator)
    notes = [*(note for one in tables.values() for note in one.notes), *notes]
    rows = {
        split: _rows(one, inputs, task, labels, options, is_training=split == "train")
        for split, one in tables.items()
    }
    if options.unlabelled is not None:
        rows[UNLABELLED[0]], about = read_unlabelled(
            inputs, options, labels=labels, labelled=rows["train"]
        )
        notes = [*notes, *about]
    return assemble(
        name=table_name(table),
        tables=rows,
        fractions=fractions,
        inputs=inputs,
        options=replace(options, task=task.name),
        class_names=task.output_names(labels),
        notes=notes,
    )


def _read_all(sources: dict, columns: Sequence[str], folder, unnamed) -> dict[str, Table]:
    """Reads the tables of all splits, and lists what is wrong with any of them."""
    tables, wrong = {}, []
    for split, source in sources.items():
        argument = "table" if split == "train" else split
        try:
            tables[split] = read_table(source, columns, folder=folder, unnamed=unnamed)
            if isinstance(source, pd.DataFrame) and len(sources) > 1:
                tables[split].source = f"the DataFrame for {split}"
        except TableError as error:
            wrong.append(f"`{argument}`: {error}")
        except TypeError as error:
            or_fraction = "" if split == "train" else "a fraction of the rows, "
            raise TypeError(f"`{argument}`: {or_fraction}{error}") from None
    if wrong:
        raise TableError("\n".join(wrong))
    return tables


def decode_labels(table: Table, columns: Sequence[str]) -> None:
    """Makes texts of the UTF-8 in label cells; what is no value of one is a problem of its row."""
    table.broken = dict(table.broken)
    for name in columns:
        cells = list(table.columns[name])
        for index, cell in enumerate(cells):
            try:
                cells[index] = _decoded(cell)
            except ValueError as error:
                cells[index] = None
                table.broken.setdefault(index, f"label: {error}")
        table.columns[name] = cells


def _decoded(cell):
    if is_list(cell):
        return [_decoded(one) for one in cell]
    return plain_text(cell) if isinstance(cell, (bytes, bytearray)) or not is_value(cell) else cell


def _rows(
    table: Table,
    inputs: Mapping[str, InputOptions],
    task: Task,
    label_columns: Sequence[str],
    options: DatasetOptions,
    *,
    is_training: bool,
) -> Rows:
    kinds = {name: KINDS[settings.kind] for name, settings in inputs.items()}
    values, problems = {}, []
    for name, settings in inputs.items():
        values[name], wrong = read_values(
            kinds[name],
            cells_of(table.columns, name, settings),
            settings,
            source=table.source,
            folder=table.folder,
            allow_outside=options.allow_outside,
        )
        if not options.skip_bad_rows:
            _check_files(table, name, settings, wrong)
        problems.append(wrong)
    cells = [tuple(table.columns[name][row] for name in label_columns) for row in range(len(table))]
    labels, wrong = task.read_labels(cells, separator=options.label_separator, names=label_columns)
    rows = Rows(table.source, table.counting, table.numbers, labels, values, kinds)
    if is_training:
        rows.unlabelled, wrong = without_label(cells, wrong, options)
    check_rows(rows, problems, wrong)
    for index, reason in table.broken.items():
        # Its cells are not in their columns: all else about it would mislead.
        rows.problems[index], labels[index] = [reason], MISSING
    rows.unlabelled = [index for index in rows.unlabelled if index not in table.broken]
    return rows


def _check_files(table: Table, name: str, options: InputOptions, wrong: Mapping[int, str]) -> None:
    """Asks for another column where next to no value of one is a file, and they look like none."""
    column, *others = options.columns_of(name)
    missing = [index for index, reason in wrong.items() if NO_FILE in reason]
    if others or len(missing) < _FEW_FILES:
        return
    texts = [cell_text(table.columns[column][index]) for index in missing]
    filled = sum(bool(cell_text(cell)) for cell in table.columns[column])
    if len(missing) <= 0.9 * filled or _are_paths(texts):
        return
    noun, short = KINDS[options.kind].noun, name in SHORT_FORM
    others = _columns_of_paths(table, column)
    flag, set_to = f"--{name} ", name
    if not short:
        flag, set_to = f"--set inputs.{name}.column=", f"inputs.{name}.column"
    ways = " or ".join(f"{set_to}={c!r} (on the command line {flag}{c})" for c in others)
    advice = f"Values of {' and '.join(map(quote, others))} look like paths: {ways}."
    raise TableError(
        f"`{set_to}`: the column of {noun} files. Received: {quote(column)}, of whose {filled:,} "
        f"values {len(missing):,} are no file in '{table.folder}', such as {quote(texts[0])}. Is "
        f"it the column of {noun}s? {advice if others else ''}".rstrip()
    )


def _columns_of_paths(table: Table, column: str) -> list[str]:
    """Names of other columns whose first values look like paths, of those not yet read too."""
    columns = dict(table.columns)
    try:
        columns |= read_table(table.source, read_header(table.source) or ()).columns
    except (TableError, TypeError):  # no file, or one with two columns of a name
        pass
    return [
        name
        for name, cells in columns.items()
        if name != column and _are_paths([cell_text(cell) for cell in cells[:_FEW_FILES]])
    ]


def _are_paths(texts: Sequence[str]) -> bool:
    """Whether most of these texts end as names of files do."""
    filled = [text for text in texts if text]
    return 2 * sum(bool(_ENDING.search(text)) for text in filled) > max(1, len(filled))


def table_name(table) -> str:
    """Gives the data a name: the file's, or its folder's if the file is only called train."""
    if isinstance(table, Table):
        table = table.source
    if isinstance(table, pd.DataFrame):
        return "table"
    path = Path(table)
    return path.resolve().parent.name if path.stem.lower() == "train" else path.stem
