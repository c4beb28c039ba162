"""Tables by class of a run with many classes: a compact file of their own beside `results.json`.

A confusion matrix of 1,000 classes has a million numbers, nearly all of them 0, and a run has one
for each model and split.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from mmkd_tf.report.sentences import MODELS, task_of

CLASS_TABLES_FILE = "class_tables.json"
MOST_CLASSES = 100  # of which `results.json` itself holds the tables
_MATRIX = "confusion_matrix"


def without_class_tables(results: Mapping) -> tuple[dict, dict]:
    """Divides results into what `results.json` holds and the tables of many classes.

    Returns:
        Results, where there are more than 100 classes without the tables, with `class_tables`, the
        file's name; and what the file holds, empty where it is not needed: by model and split the
        task's figures by class, a list a column, and `confusion_matrix`, three lists `label`,
        `called` and `count` of the entries that are not 0, classes counted from 0.
    """
    slim, tables = dict(results), dict[str, dict]()
    if len(results["dataset"]["class_names"]) <= MOST_CLASSES:
        return slim, tables
    by_class = task_of(results).words.per_output
    for model, split, figures in _measured(results):
        of_split = {}
        if figures.get(by_class):
            columns = figures[by_class][0]
            of_split[by_class] = {key: [one[key] for one in figures[by_class]] for key in columns}
        if figures.get(_MATRIX):
            counts = np.asarray(figures[_MATRIX])
            label, called = np.nonzero(counts)
            columns = {"label": label, "called": called, "count": counts[label, called]}
            of_split[_MATRIX] = {key: column.tolist() for key, column in columns.items()}
        tables.setdefault(model, {})[split] = of_split
        kept = {key: value for key, value in figures.items() if key not in of_split}
        slim[model] = {**slim[model], split: kept}
    return {**slim, "class_tables": CLASS_TABLES_FILE}, tables


def with_class_tables(results: Mapping, tables: Mapping) -> dict:
    """Undoes `without_class_tables`."""
    full, number = dict(results), len(results["dataset"]["class_names"])
    for model, splits in tables.items():
        for split, found in splits.items():
            figures = dict(full[model][split])
            for key, columns in found.items():
                if key == _MATRIX:
                    counts = np.zeros([number, number], int)
                    counts[columns["label"], columns["called"]] = columns["count"]
                    figures[key] = counts.tolist()
                else:
                    rows = zip(*columns.values(), strict=True)
                    figures[key] = [dict(zip(columns, row, strict=True)) for row in rows]
            full[model] = {**full[model], split: figures}
    return {key: value for key, value in full.items() if key != "class_tables"}


def _measured(results: Mapping) -> Iterator[tuple[str, str, Mapping]]:
    """Model, split and figures of all that was measured."""
    for model in MODELS:
        for split, figures in results.get(model, {}).items():
            if isinstance(figures, Mapping):
                yield model, split, figures
