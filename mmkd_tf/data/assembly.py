"""Makes a Dataset of raw rows: checks them, divides them, turns them into tensors."""

import warnings
from collections.abc import Mapping, Sequence

from mmkd_tf.data.checks import check_classes
from mmkd_tf.data.dataset import SPLITS, Dataset, Examples
from mmkd_tf.data.division import divide
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.pairs import check_pairs, complete_pairs, number_items
from mmkd_tf.data.rows import DataError, Rows, data_error
from mmkd_tf.data.target_checks import check_label_sets, check_numbers, check_spread
from mmkd_tf.data.targets import label_array
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import in_tensor_form
from mmkd_tf.modalities.text import TOKENISED_AT_ONCE, Text

_CHECKS = {
    "single_label": check_classes,
    "multi_label": check_label_sets,
    "regression": check_numbers,
    "retrieval": check_pairs,
}


def assemble(
    *,
    name: str,
    tables: Mapping[str, Rows],
    fractions: Mapping[str, float],
    options: DatasetOptions,
    class_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Makes a Dataset of raw rows.

    Args:
        name: What people call the data.
        tables: Rows of `train` and of those other splits that have rows of their own, with the
            problems that `check_rows` found.
        fractions: For each of the other splits, the fraction of the training rows that it gets.
        options: Sizes, seed and what to do about bad rows; `task` is known by now.
        class_names: The classes in order; by default those of the labels, see `name_classes`. Of
            regression, the targets.
        notes: What people should know about the data beforehand.

    Raises:
        DataError: A `ValueError` that lists all problems of all rows.
    """
    if options.task == "retrieval":
        tables, incomplete = complete_pairs(tables)
        notes = [*notes, *incomplete]
    tables, class_names, left_out = _check(name, tables, fractions, options, class_names)
    if options.task == "retrieval":
        number_items(tables)
    splits = _divide(name, tables, fractions, options)
    _check_training(name, splits["train"], options.task, class_names)
    notes = [*notes, *left_out, *_repeated_rows(splits)]
    if class_names and options.task != "regression":
        notes += _missing_classes(splits, class_names)
    for note in notes:
        warnings.warn(f"{name}: {note}", stacklevel=3)
    modalities = {}
    if splits["train"].pixels is not None:
        modalities["image"] = Image(options.image_size)
    if splits["train"].texts is not None:
        modalities["text"] = Text.from_texts(
            splits["train"].texts,
            vocabulary_size=options.vocabulary_size,
            length=options.text_length,
        )
    examples = {}
    for split, rows in splits.items():
        inputs = {}
        if "image" in modalities:
            inputs["image"] = rows.pixels
        if "text" in modalities:
            inputs["text"] = in_tensor_form(
                modalities["text"], rows.texts, at_once=TOKENISED_AT_ONCE
            )
        labels = label_array(rows.labels, task=options.task, class_names=class_names)
        examples[split] = Examples(inputs, labels, rows.texts or ())
    return Dataset(
        name=name,
        splits=examples,
        class_names=class_names,
        modalities=modalities,
        notes=notes,
        task=options.task,
    )


def _check(name, tables, fractions, options, class_names):
    """Finds all problems; leaves bad rows out if that is wanted, and raises otherwise.

    Returns:
        The tables, with class names as labels, the class names and notes for people.
    """
    sizes = {split: len(rows) for split, rows in tables.items()}
    while True:
        if options.skip_bad_rows:
            tables = {split: rows.without_problems() for split, rows in tables.items()}
        class_of, names, general = _CHECKS[options.task](
            tables, held_out=list(fractions), class_names=class_names
        )
        has_bad_rows = any(rows.problems for rows in tables.values())
        if general or (has_bad_rows and not options.skip_bad_rows):
            raise data_error(name, tables, general)
        if not has_bad_rows:
            break  # else some rows are to be left out, and with them maybe a class
    notes = []
    for split, rows in tables.items():
        if left_out := sizes[split] - len(rows):
            count = "1 bad row" if left_out == 1 else f"{left_out:,} bad rows"
            notes.append(f"{count} of {rows.source} left out; {len(rows):,} remain.")
        rows.labels = [_renamed(label, class_of) for label in rows.labels]
    return tables, names, notes


def _renamed(label, class_of: Mapping[str, str]):
    """Gives a label with its classes' names; numbers have none."""
    if isinstance(label, str):
        return class_of[label]
    return tuple(dict.fromkeys(class_of[name] for name in label)) if class_of else label


def _divide(name, tables, fractions, options: DatasetOptions) -> dict[str, Rows]:
    """Gives the rows of each split; rows with the same content stay together."""
    splits = dict(tables)
    train = tables["train"]
    if fractions:
        indices = divide(
            train.labels,
            train.content_keys(),
            task=options.task,
            fractions=fractions,
            seed=options.seed,
        )
        splits |= {split: train.select(rows) for split, rows in indices.items()}
    empty = [split for split in SPLITS if not len(splits[split])]
    if empty:
        raise DataError(
            f"{name}: expected rows enough for every split. Received: {len(train):,} rows in "
            f"{train.source}, which leave none for {' and '.join(empty)}: a class needs 3 "
            "different rows to be in train, validation and test. Add rows, or give validation "
            "and test data of their own.",
            num_problems=1,
        )
    return {split: splits[split] for split in SPLITS}


def _check_training(name, train: Rows, task: str, names: Sequence[str]) -> None:
    """Refuses what is left to train on, once the rows are divided, if it teaches nothing."""
    problems = []
    if task == "regression":
        problems = check_spread("the rows left for training", train.labels, names)
    elif task == "retrieval" and len(set(train.labels)) < 2:
        problems = ["the rows left for training: one item only; there is nothing to tell apart."]
    if problems:
        raise data_error(name, {"train": train}, problems)


def _repeated_rows(splits: Mapping[str, Rows]) -> list[str]:
    """Counts the held-out rows whose picture and text an earlier split has too."""
    notes, seen = [], {}
    for split, rows in splits.items():
        keys = rows.content_keys()
        for earlier, earlier_keys in seen.items():
            count = sum(key in earlier_keys for key in keys)
            if count:
                notes.append(
                    f"{count:,} of {len(rows):,} {split} rows are in {earlier} too (same picture "
                    "and text); measured results will look better than they are."
                )
        seen[split] = set(keys)
    return notes


def _missing_classes(splits, class_names) -> list[str]:
    """Names the classes that a split lacks."""
    notes = []
    for split, rows in splits.items():
        labels = ((label,) if isinstance(label, str) else label for label in rows.labels)
        present = {name for label in labels for name in label}
        missing = [name for name in class_names if name not in present]
        if missing:
            shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            count = "1 class" if len(missing) == 1 else f"{len(missing):,} classes"
            notes.append(f"{split} has no rows of {count}: {shown}.")
    return notes
