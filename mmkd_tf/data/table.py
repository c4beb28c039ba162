"""Makes a Dataset of a CSV file, a Parquet file or a DataFrame."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmkd_tf.data.assembly import assemble
from mmkd_tf.data.cells import is_missing
from mmkd_tf.data.checks import check_rows
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.options import DEFAULTS, DatasetOptions
from mmkd_tf.data.pictures import read_pictures
from mmkd_tf.data.reading import Table, TableError, read_table
from mmkd_tf.data.rows import Rows
from mmkd_tf.data.splitting import check_fractions
from mmkd_tf.data.targets import MISSING, choose_task, read_labels, target_names


def from_table(
    table,
    *,
    image: str | None = "image",
    text: str | None = "text",
    label: str | Sequence[str] = "label",
    validation=0.15,
    test=0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of a table with a row for each example.

    Pictures are read once and kept as uint8; of the texts, those of the training rows make the
    vocabulary. An empty picture or text cell means that the example lacks that modality.
    Everything that is wrong with the data is found here, before any training, and listed
    together.

    Args:
        table: Path of a CSV file (UTF-8; comma, semicolon or tab between cells) or of a Parquet
            file, or a DataFrame.
        image: Column of picture paths, relative to the table's folder (see
            `DatasetOptions.folder`); Parquet files and DataFrames may hold the bytes of picture
            files instead. None if the data has no pictures.
        text: Column of texts. None if the data has no texts.
        label: Column of classes: words or numbers. Of labels, several in a cell: `red|summer`, or
            a list in a DataFrame; see `DatasetOptions.task`. With `task="regression"`, of numbers;
            several columns as a list or with commas between. `task="retrieval"` reads none.
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
    if image is None and text is None:
        raise ValueError(
            "`image`, `text`: a column for one of them at least. Received: image=None, text=None."
        )
    targets = target_names(label, options.task)
    if len(targets) > 1 and options.task != "regression":
        raise ValueError(
            "`label`: one column, several only with task='regression'. Received: "
            f"label={label!r}, task={options.task!r}."
        )
    held_out = {"test": test, "validation": validation}
    fractions = {split: value for split, value in held_out.items() if _is_number(value)}
    check_fractions(fractions)
    sources = {"train": table} | {
        split: held_out[split] for split in ("validation", "test") if split not in fractions
    }
    columns = [name for name in (image, text, *targets) if name is not None]
    tables = _read_all(sources, list(dict.fromkeys(columns)), options.folder)
    cells = tables["train"].columns[targets[0]] if targets else ()
    task, notes = choose_task(cells, options)
    options = replace(options, task=task)
    rows = {split: _rows(one, image, text, targets, options) for split, one in tables.items()}
    return assemble(
        name=table_name(table),
        tables=rows,
        fractions=fractions,
        options=options,
        class_names=targets if task == "regression" else None,
        notes=notes,
    )


def _is_number(value) -> bool:
    return isinstance(value, (int, float))


def _read_all(sources: dict, columns: Sequence[str], folder) -> dict[str, Table]:
    """Reads the tables of all splits, and lists what is wrong with any of them."""
    tables, wrong = {}, []
    for split, source in sources.items():
        argument = "table" if split == "train" else split
        try:
            tables[split] = read_table(source, columns, folder=folder)
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


def _rows(table: Table, image, text, targets, options: DatasetOptions) -> Rows:
    """Reads the pictures and labels of a table; texts become strings."""
    pixels, problems = None, {}
    if image is not None:
        pixels, problems = read_pictures(
            table.columns[image],
            size=options.image_size,
            folder=table.folder,
            allow_outside=options.allow_outside,
        )
    texts = None
    if text is not None:
        texts = ["" if is_missing(cell) else str(cell) for cell in table.columns[text]]
    cells = table.columns[targets[0]] if targets else table.numbers
    if options.task == "regression":
        cells = list(zip(*(table.columns[name] for name in targets), strict=True))
    labels, wrong = read_labels(
        cells, task=options.task, separator=options.label_separator, names=targets
    )
    rows = Rows(table.source, table.counting, table.numbers, labels, texts, pixels)
    check_rows(rows, problems, wrong)
    for index, reason in table.broken.items():
        # Its cells are not in their columns: all else about it would mislead.
        rows.problems[index], rows.labels[index] = [reason], MISSING
    return rows


def table_name(table) -> str:
    """Gives the data a name: the file's, or its folder's if the file is only called train."""
    if isinstance(table, pd.DataFrame):
        return "table"
    path = Path(table)
    return path.resolve().parent.name if path.stem.lower() == "train" else path.stem
