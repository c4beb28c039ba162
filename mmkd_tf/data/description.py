"""Describes a Dataset to people: its sizes, inputs, labels and notes."""

import numpy as np

from mmkd_tf.modalities.modality import is_absent

_COUNTED = {"multi_label": "labels", "regression": "targets"}


def describe(dataset) -> str:
    """Says what a Dataset holds; its `repr`.

    Args:
        dataset: A `Dataset`.

    Returns:
        Several lines.
    """
    sizes = ", ".join(f"{size:,} {split}" for split, size in dataset.sizes.items())
    parts = dataset.splits.values()
    if dataset.task == "retrieval":
        what = f"{len(set(np.concatenate([part.labels for part in parts]))):,} items"
    else:
        what = f"{dataset.num_classes} {_COUNTED.get(dataset.task, 'classes')}"
    lines = [f"Dataset {dataset.name}: {sizes}, {what}"]
    for name, modality in dataset.modalities.items():
        absent = sum(int(is_absent(part.inputs[name]).sum()) for part in parts)
        note = f"; absent in {absent:,}" if absent else ""
        lines.append(f"  {name}: {modality.describe()}{note}")
    lines += _targets(dataset) if dataset.task == "regression" else _counts(dataset)
    return "\n".join([*lines, *(f"  Note: {note}" for note in dataset.notes)])


def _counts(dataset) -> list[str]:
    counts = dataset.class_counts
    width = max(map(len, dataset.class_names), default=0)
    return [
        f"  {label:<{width}} " + " ".join(f"{of[label]:>7,}" for of in counts.values())
        for label in dataset.class_names
    ]


def _targets(dataset) -> list[str]:
    targets = dataset.splits["train"].labels
    columns = zip(
        dataset.class_names, *dataset.target_statistics, targets.min(0), targets.max(0), strict=True
    )
    return [
        f"  {name}: mean {mean:.4g}, standard deviation {std:.4g}, {low:.4g} to {high:.4g}"
        for name, mean, std, low, high in columns
    ]
