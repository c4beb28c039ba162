"""Makes a Dataset of raw rows: checks them, divides them, turns them into tensors."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkd_tf.data.dataset import SPLITS, TRANSFER, UNLABELLED, Dataset, Examples
from mmkd_tf.data.kept import KeptRows
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError, Rows, data_error
from mmkd_tf.data.unlabelled import split_off, transfer_rows
from mmkd_tf.modalities.cells import quote
from mmkd_tf.modalities.modality import InputOptions, Modality, RawValues, in_tensor_form
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.labels import notes_on_classes, unfit_names
from mmkd_tf.tasks.task import Task
from mmkd_tf.terminal import plain

_AT_ONCE = 512
_SHOWN = 5


def assemble(
    *,
    name: str,
    tables: Mapping[str, Rows],
    fractions: Mapping[str, float],
    inputs: Mapping[str, InputOptions],
    options: DatasetOptions,
    class_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Makes a Dataset of raw rows, whose raw values may be overwritten on the way.

    Tables are of `train` and of those splits that have rows of their own, with the problems that
    `check_rows` found; each other split gets its fraction of the training rows. One may be
    `unlabelled`, of `mmkd_tf.data.unlabelled`. The options' `task` is known by now, and so are
    `class_names` unless labels say them.

    Raises:
        DataError: A `ValueError` that lists all problems of all rows.
    """
    task = find_task(options.task)
    tables, more = _without_labels(tables, options)
    if more and task.is_pairwise:
        raise DataError(
            f"`{'`, `'.join(more)}`: nothing for {task.name}, whose rows have no labels anyway. "
            "Leave it out.",
            num_problems=1,
        )
    tables, incomplete = task.complete(tables)
    tables, more, class_names, left_out = _check(
        name, tables, more, fractions, options, class_names
    )
    task.number(tables)
    splits = _divide(name, tables, fractions, options)
    train = splits["train"]
    if problems := task.training_problems(train.labels, class_names):
        raise data_error(name, {"train": train}, problems)
    labels = {split: task.label_array(rows.labels, class_names) for split, rows in splits.items()}
    notes = [*notes, *incomplete, *left_out, *_repeated_rows(splits, task)]
    if task.counts_outputs:
        notes += notes_on_classes(class_names, one_class=task.has_one_class)
    notes += _missing_outputs(task, labels, class_names)
    transfer, counts, about = transfer_rows(more, splits)
    notes += about
    for note in notes:
        warnings.warn(plain(f"{name}: {note}"), stacklevel=3)
    modalities = {
        one: kind.fit(one, train.inputs[one], inputs[one]) for one, kind in train.kinds.items()
    }
    examples = {split: _examples(splits[split], labels[split], modalities) for split in SPLITS}
    examples["test"] = replace(examples["test"], numbers=splits["test"].numbers)
    if transfer is not None:
        nothing = np.zeros([len(transfer), 0], np.uint8)
        found = _examples(transfer, nothing, modalities)
        examples[TRANSFER] = replace(found, numbers=transfer.numbers)
    return Dataset(
        name=name,
        splits=examples,
        class_names=class_names,
        modalities=modalities,
        notes=notes,
        task=task,
        transfer_counts=counts,
    )


def _without_labels(tables: Mapping[str, Rows], options: DatasetOptions) -> tuple[dict, dict]:
    """Divides tables into those with labels and, by source, rows without."""
    tables, (source, own) = dict(tables), UNLABELLED
    more = {source: tables.pop(source)} if source in tables else {}
    if options.unlabelled_rows:
        tables["train"], found = split_off(tables["train"])
        more |= {} if found is None else {own: found}
    return tables, more


def _check(name, tables, more, fractions, options, class_names):
    """Gives tables with outputs' names as labels, these names and notes; raises for problems.

    `more` are rows without labels by source, which are given back too.
    """
    sizes = {split: len(rows) for split, rows in (tables | more).items()}
    while True:
        if options.skip_bad_rows:
            tables, more = (
                {split: rows.without_problems() for split, rows in of.items()}
                for of in (tables, more)
            )
        name_of, names, general = find_task(options.task).check(
            tables, held_out=list(fractions), names=class_names
        )
        general = [*general, *unfit_names(names)]
        has_bad_rows = any(rows.problems for rows in (tables | more).values())
        if general or (has_bad_rows and not options.skip_bad_rows):
            raise data_error(name, tables | more, general)
        if not has_bad_rows:
            break  # else some rows are to be left out, and with them maybe a class
    notes = []
    for split, rows in (tables | more).items():
        if left_out := sizes[split] - len(rows):
            count = "1 bad row" if left_out == 1 else f"{left_out:,} bad rows"
            source = Path(rows.source).name  # the model card has notes
            notes.append(f"{count} of {source} left out; {len(rows):,} remain.")
    for rows in tables.values():
        rows.labels = [_renamed(label, name_of) for label in rows.labels]
    return tables, more, names, notes


def _renamed(label, name_of: Mapping[str, str]):
    """A label with its outputs' names; numbers have none."""
    if isinstance(label, str):
        return name_of[label]
    return tuple(dict.fromkeys(name_of[name] for name in label)) if name_of else label


def _divide(name, tables, fractions, options: DatasetOptions) -> dict[str, Rows]:
    """Gives the rows of each split; rows with the same content stay together."""
    splits = dict(tables)
    train = tables["train"]
    if fractions:
        indices = find_task(options.task).divide(
            train.labels, train.content_keys(), fractions=fractions, seed=options.seed
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


def _repeated_rows(splits: Mapping[str, Rows], task: Task) -> list[str]:
    """Notes rows with the inputs of others: in two splits, in one, and with another class."""
    (kinds,) = {tuple(rows.kinds.values()) for rows in splits.values()}
    nouns = " and ".join(dict.fromkeys(kind.noun for kind in kinds))
    keys = {split: rows.content_keys() for split, rows in splits.items()}
    notes, seen, repeats, contradicted = [], dict[str, dict](), dict[str, int](), set()
    for split, rows in splits.items():
        seen[split], counts = {}, Counter[str]()
        for key, label in zip(keys[split], rows.labels, strict=True):
            for other, label_of in seen.items():
                if key in label_of:
                    differs = label_of[key] != label
                    if task.has_one_class and differs:
                        contradicted.add(key)
                    elif other != split or not differs:
                        counts[other] += 1
            seen[split].setdefault(key, label)
        repeats[split] = counts.pop(split, 0)
        notes += [
            f"{count:,} of {len(rows):,} {split} rows are in {earlier} too (same {nouns}); "
            "measured results will look better than they are."
            for earlier, count in counts.items()
        ]
    if total := sum(repeats.values()):
        same = nouns if task.is_pairwise else f"{nouns}, same label"
        shown = ", ".join(f"{count:,} of {split}" for split, count in repeats.items() if count)
        notes.append(f"{total:,} rows repeat others of their split (same {same}): {shown}.")
    return notes + (_contradictions(splits, keys, contradicted, nouns) if contradicted else [])


def _contradictions(
    splits: Mapping[str, Rows], keys: Mapping[str, list], contradicted: set, nouns: str
) -> list[str]:
    """Notes rows of the same inputs and of different classes, with their numbers."""
    several = len({rows.source for rows in splits.values()}) > 1
    found: dict = {}
    for split, rows in splits.items():
        for number, key, label in zip(rows.numbers, keys[split], rows.labels, strict=True):
            if key in contradicted:
                where = f"{number} of {Path(rows.source).name}" if several else f"{number}"
                found.setdefault(key, []).append((number, f"{where} ({quote(label)})"))
    groups = [", ".join(said for _, said in sorted(rows)[:_SHOWN]) for rows in found.values()]
    shown = "; ".join(f"rows {rows}" for rows in groups[:_SHOWN])
    count = sum(map(len, found.values()))
    return [
        f"{count:,} rows contradict each other (same {nouns}, another label): {shown}"
        f"{'; ...' if len(groups) > _SHOWN else ''}. Correct their labels."
    ]


def _missing_outputs(task: Task, labels: Mapping[str, np.ndarray], names) -> list[str]:
    """Names the classes that a split lacks."""
    notes = []
    for split, array in labels.items():
        missing = [name for name, count in task.output_counts(array, names).items() if not count]
        if missing:
            shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            count = "1 class" if len(missing) == 1 else f"{len(missing):,} classes"
            notes.append(f"{split} has no rows of {count}: {shown}.")
    return notes


def _examples(rows: Rows, labels: np.ndarray, modalities: Mapping[str, Modality]) -> Examples:
    inputs, raw = {}, {}
    for name, modality in modalities.items():
        values = rows.inputs[name]
        if modality.keeps_raw:
            inputs[name], raw[name] = in_tensor_form(modality, values), values
        else:
            inputs[name] = _in_place(modality, values)
    return Examples(inputs, labels, raw)


def _in_place(modality: Modality, values: RawValues) -> Any:
    """The tensor form, in the memory of the raw values where they are such an array already."""
    if isinstance(values, KeptRows):  # of kinds whose raw values are in that form
        return values
    shape, dtype = modality.input().shape[1:], modality.input().dtype
    if not isinstance(values, np.ndarray) or (values.shape[1:], values.dtype) != (shape, dtype):
        return in_tensor_form(modality, values)
    for start in range(0, len(values), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values[part] = modality.to_tensor(values[part]).numpy()
    return values
