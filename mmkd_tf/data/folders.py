"""Makes a Dataset of a folder of pictures with a folder for each class."""

from collections.abc import Mapping
from pathlib import Path

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.options import DEFAULTS, DatasetOptions, named_inputs
from mmkd_tf.data.table import from_table
from mmkd_tf.edge.picture import SUFFIXES
from mmkd_tf.files.tables import Table, TableError
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions

_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


def from_folder(
    folder,
    *,
    inputs: Mapping[str, Mapping | InputOptions] | None = None,
    validation=0.15,
    test=0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of a folder in which each folder is a class and holds its pictures.

    Pictures may lie in folders within a class's. Where the folder holds `train` and, maybe,
    `validation` and `test`, each of these holds the classes.

    Args:
        folder: Path of the folder.
        inputs: In place of an input called `image`, one of another name, of kind `image`, with the
            options of the kind, as for `from_table`.
        validation: Fraction of the pictures to hold out where there is no such folder.
        test: The same for the test split.
        options: Sizes, seed, and what to do about bad rows.

    Returns:
        The Dataset, named as the folder.

    Raises:
        TableError: A `ValueError`, if the folder does not look so.
        DataError: A `ValueError` that lists all problems of all pictures.
    """
    root = Path(folder)
    text = None if inputs is None else "text"  # beside `inputs`, as by default
    named = named_inputs(inputs, image="image", text=text, options=options)
    if len(named) != 1 or next(iter(named.values())).kind != Image.kind:
        raise ValueError(
            "`inputs`: one of kind image, since a folder of classes holds pictures alone. "
            f"Received: {', '.join(f'{name}: {each.kind}' for name, each in named.items())}. Take "
            "a table for more."
        )
    if inputs is not None:
        inputs = {name: each.model_copy(update={"column": "image"}) for name, each in named.items()}
    if not root.is_dir():
        raise TableError(f"`folder`: {root}: no such folder.")
    splits = _split_folders(root) or {"train": root}
    held_out = {"validation": validation, "test": test}
    for split in splits:
        if split in held_out:
            held_out[split] = _table(splits[split], root)
    table = _table(splits["train"], root)
    return from_table(table, text=text, inputs=inputs, **held_out, options=options)


def _split_folders(root: Path) -> dict[str, Path]:
    """By split its folder; empty where the folders within are classes."""
    found = {}
    for entry in _folders(root):
        names = [split for split, known in _SPLITS.items() if entry.name.lower() in known]
        if not names:
            return {}
        found[names[0]] = entry
    return found if "train" in found else {}


def _table(folder: Path, root: Path) -> Table:
    """Pictures and their classes, paths from `root`."""
    paths, labels = [], []
    for entry in _folders(folder):
        files = sorted(f for f in entry.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
        paths += [str(file.relative_to(root)) for file in files]
        labels += [entry.name] * len(files)
    if not paths:
        raise TableError(
            f"`folder`: a folder with a folder of pictures ({', '.join(SUFFIXES)}) for each class. "
            f"Received: {folder}, which holds no such folder. A table of paths and labels does too."
        )
    numbers = range(1, 1 + len(paths))
    columns = {"image": paths, "label": labels}
    return Table(str(folder), root, "pictures by name, from 1", numbers, columns, header=[*columns])


def _folders(folder: Path) -> list[Path]:
    return sorted(e for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
