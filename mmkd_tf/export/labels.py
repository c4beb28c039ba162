"""Checks of the labels by which an exported file is measured."""

from collections.abc import Mapping

import numpy as np


def label_problems(
    examples: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    num_classes: int,
    *,
    task: str = "single_label",
) -> list[str]:
    """Says what is wrong with the labels of examples.

    Args:
        examples: By input name, the examples.
        labels: As `Examples.labels`, or None.
        num_classes: Number of classes, labels or targets.
        task: What the model is for.
    """
    if labels is None:
        return []
    given = np.asarray(labels)
    sizes = {name: len(values) for name, values in examples.items()}
    if task == "retrieval":
        problems = _embedding_problems(given)
    elif task != "single_label":
        problems = _row_problems(given, num_classes, task)
    elif given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        return [
            "`labels`: integers [n], the index of each example's class. "
            f"Received: {given.dtype} {list(given.shape)}. Of one-hot rows take argmax(axis=1)."
        ]
    else:
        problems = _class_problems(given, num_classes)
    if given.ndim and any(size != len(given) for size in sizes.values()):
        problems.insert(0, f"`labels`: one for each example, {sizes}. Received: {len(given)}.")
    return problems


def _class_problems(given: np.ndarray, num_classes: int) -> list[str]:
    if not given.size or 0 <= given.min() <= given.max() < num_classes:
        return []
    return [
        f"`labels`: from 0 to {num_classes - 1}, for {num_classes} class names. "
        f"Received: from {given.min()} to {given.max()}."
    ]


def _embedding_problems(given: np.ndarray) -> list[str]:
    if given.ndim == 2 and given.dtype.kind == "f" and np.isfinite(given).all():
        return []
    return [
        "`labels`: float [n, width] for retrieval, the embeddings of what is to be found. "
        f"Received: {given.dtype} {list(given.shape)}."
    ]


def _row_problems(given: np.ndarray, num_classes: int, task: str) -> list[str]:
    what = "0 or 1" if task == "multi_label" else "numbers"
    numeric = given.ndim == 2 and given.dtype.kind in "fiub"
    fits = numeric and given.shape[1] == num_classes and np.isfinite(given).all()
    if fits and (task != "multi_label" or np.isin(given, (0, 1)).all()):
        return []
    return [
        f"`labels`: {what} [n, {num_classes}] for {task}. "
        f"Received: {given.dtype} {list(given.shape)}"
        + (", with other values." if numeric and given.shape[1] == num_classes else ".")
    ]
