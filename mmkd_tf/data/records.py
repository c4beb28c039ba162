"""Makes a Dataset of what other libraries hold: Hugging Face datasets, and tf.data datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.options import DEFAULTS, DatasetOptions, named_inputs
from mmkd_tf.data.table import from_table
from mmkd_tf.data.tfds import SPLIT_NAMES
from mmkd_tf.files.tables import Table
from mmkd_tf.modalities.modality import InputOptions

_COUNTING = "examples counted from 0"


def from_hugging_face(
    dataset,
    *,
    image: str | None = "image",
    text: str | None = "text",
    label: str = "label",
    inputs: Mapping[str, Mapping | InputOptions] | None = None,
    validation=0.15,
    test=0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of an object of Hugging Face's library `datasets`.

    Args:
        dataset: A `datasets.Dataset`, or a `datasets.DatasetDict`, whose splits `train`,
            `validation` and `test` are taken as such. The library itself is not needed.
        image: Column of pictures; None if there are none.
        text: Column of texts; None if there are none.
        label: Column of classes: a class label, a number or a text; or lists of these.
        inputs: As for `from_table`.
        validation: Fraction of the training rows to hold out where there is no such split.
        test: The same for the test split.
        options: Sizes, seed, and what to do about bad rows.

    Raises:
        TypeError: If it is something else, or is streamed.
        ValueError: As `from_table`.
    """
    splits = dict(dataset) if isinstance(dataset, Mapping) else {"train": dataset}
    for part in splits.values():
        if not hasattr(part, "column_names") or not hasattr(part, "__len__"):
            raise TypeError(
                "`dataset`: a datasets.Dataset or DatasetDict. Received: "
                f"{type(part).__name__}. One that is streamed is loaded with streaming=False."
            )
    columns = [
        column
        for name, options in named_inputs(inputs, image=image, text=text, options=options).items()
        for column in options.columns_of(name)
    ]
    tables = {
        split: _of_hugging_face(part, split, columns, label)
        for split, part in _by_split(splits).items()
    }
    return _dataset(
        tables,
        {"validation": validation, "test": test},
        image=image,
        text=text,
        label=label,
        inputs=inputs,
        options=options,
    )


def from_tf_data(
    train: tf.data.Dataset,
    *,
    class_names: Sequence[str] | None = None,
    label: str = "label",
    inputs: Mapping[str, Mapping | InputOptions] | None = None,
    validation=0.15,
    test=0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of tf.data datasets, which are read once, to their end.

    Args:
        train: Single examples or batches: `(x, label)`, x being a dict by name of an input, one
            picture `[height, width, 3]` with values 0 to 255, or one text; or a dict that holds
            the label too.
        class_names: Names of the classes in the order of whole numbers, or of the places of
            vectors of zeros and ones, as labels have them; numbers stay numbers without.
        label: In dicts that hold it, the label's key.
        inputs: As for `from_table`, columns being keys of x; by default `image` and `text`, those
            that there are.
        validation: A tf.data dataset of the same form, or a fraction of the training examples.
        test: The same for the test split.
        options: Sizes, seed, and what to do about bad rows.

    Raises:
        TypeError: If it is something else.
        ValueError: If a dataset never ends, or as `from_table`.
    """
    given = {"train": train, "validation": validation, "test": test}
    tables, fractions = {}, {}
    for split, part in given.items():
        if isinstance(part, tf.data.Dataset):
            tables[split] = _of_tf_data(part, split, class_names, label)
        elif split == "train" or not isinstance(part, (int, float)):
            raise TypeError(f"`{split}`: a tf.data.Dataset. Received: {type(part).__name__}.")
        else:
            fractions[split] = part
    there = tables["train"].columns
    names = {name: name if name in there else None for name in ("image", "text")}
    return _dataset(tables, fractions, **names, label=label, inputs=inputs, options=options)


def _dataset(tables: dict[str, Table], held_out: Mapping[str, Any], *, inputs, **arguments):
    if inputs is not None:
        arguments |= {"image": "image", "text": "text"}
    held_out = {split: tables.get(split, value) for split, value in held_out.items()}
    held_out |= {split: table for split, table in tables.items() if split != "train"}
    return from_table(tables["train"], inputs=inputs, **held_out, **arguments)


def _by_split(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Splits by the names that they have here."""
    if "train" not in splits and len(splits) > 1:
        raise ValueError(
            f"`dataset`: a split 'train', or a single one. Received: the splits {list(splits)}."
        )
    found = {"train": splits.get("train", next(iter(splits.values())))}
    for split, names in SPLIT_NAMES.items():
        there = [name for name in names if name in splits]
        found |= {split: splits[there[0]]} if there else {}
    return found


def _of_hugging_face(part, split: str, columns: Sequence[str], label: str) -> Table:
    features, cells = getattr(part, "features", None) or {}, {}
    for column in dict.fromkeys([*columns, label]):
        if column not in part.column_names:
            continue  # the table says so
        feature: Any = features.get(column)
        if column == label:
            names = _class_names(feature)
            cells[column] = [_label(cell, names) for cell in part[column]]
            continue
        if type(feature).__name__ == "Image" and getattr(feature, "decode", False):
            # The files as they are: to decode and encode them again would take memory and time.
            part = part.cast_column(column, type(feature)(decode=False))
        cells[column] = [_picture(cell) for cell in part[column]]
    header = [*cells, *(name for name in part.column_names if name not in cells)]
    return _table(split, cells, len(part), header)


def _class_names(feature) -> Sequence[str] | None:
    """Names of a class label, or of those in a list; None of other features."""
    of_list = feature[0] if isinstance(feature, list) and feature else None
    for found in (feature, getattr(feature, "feature", None), of_list):
        if isinstance(names := getattr(found, "names", None), list | tuple):
            return names
    return None


def _picture(cell):
    """Bytes of a picture that lies in a file elsewhere; other cells as they are."""
    if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        return Path(cell["path"]).read_bytes()
    return cell


def _of_tf_data(part: tf.data.Dataset, split: str, class_names, label: str) -> Table:
    if int(part.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"`{split}`: a dataset that ends. Received: one without end. Take some.")
    rows: dict[str, list] = {}
    for element in part.as_numpy_iterator():
        x, y = element if isinstance(element, tuple) else (element, None)
        if not isinstance(x, Mapping):
            x = {"text" if np.asarray(x).dtype == object or isinstance(x, bytes) else "image": x}
        if y is not None:
            x = {**x, label: y}
        batched = _is_batch(x, label)
        for name, values in x.items():
            rows.setdefault(name, []).extend(values if batched else [values])
    if label in rows:
        rows[label] = [_label(cell, class_names) for cell in rows[label]]
    return _table(split, rows, len(next(iter(rows.values()), ())), list(rows))


def _is_batch(x: Mapping, label: str) -> bool:
    """Whether values have one more axis than an example: texts none, pictures three."""
    ranks = {name: np.ndim(value) for name, value in x.items() if name != label}
    text = [
        rank
        for name, rank in ranks.items()
        if isinstance(x[name], bytes) or np.asarray(x[name]).dtype == object
    ]
    return any(rank == 4 for rank in ranks.values()) or any(rank == 1 for rank in text)


def _label(cell, names: Sequence[str] | None):
    """A label as a cell of a table: text, or a tuple of them."""
    cell = cell.decode(errors="replace") if isinstance(cell, bytes) else cell
    if isinstance(cell, np.ndarray | list | tuple) and np.ndim(cell):
        values = np.asarray(cell)
        if names is not None and len(values) == len(names) and set(values.tolist()) <= {0, 1}:
            found = [names[index] for index in np.flatnonzero(values).tolist()]
            return found[0] if len(found) == 1 else tuple(found)
        return tuple(_label(value, names) for value in values.tolist())
    if names is None or cell is None or isinstance(cell, str):
        return cell
    return names[int(cell)] if 0 <= int(cell) < len(names) else ""  # -1 stands for no label


def _table(split: str, cells: dict[str, list], number: int, header: Sequence[str]) -> Table:
    source = f"the split {split}"
    return Table(source, Path("."), _COUNTING, range(number), cells, header=header)
