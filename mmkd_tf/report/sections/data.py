"""The section about the data: how many examples, of what, with which labels."""

from mmkd_tf.report.by_task import having, task_of
from mmkd_tf.report.sections.html import Markup, folded, paragraph, section, table, tag

_MANY_CLASSES = 20


def data(results: dict) -> Markup:
    """Says what the models learnt from and were judged on.

    Args:
        results: What `results.json` holds.
    """
    dataset, task = results["dataset"], task_of(results)
    splits = list(dataset["sizes"])
    inputs = table(("input", "as the models read it"), dataset["modalities"].items(), num_words=2)
    rows = [("all", *(f"{size:,}" for size in dataset["sizes"].values()))]
    rows += [
        (name, *(f"{dataset['class_counts'][split][name]:,}" for split in splits))
        for name in dataset["class_names"]
        if task != "regression"
    ]
    counts = table(("examples", *splits), rows)
    if len(rows) > _MANY_CLASSES:
        counts = folded(f"Examples of each of the {len(rows) - 1:,}", counts)
    notes = tag("ul", *(tag("li", note) for note in dataset["notes"]))
    return section(
        "The data",
        paragraph(
            f"{dataset['name']}: {sum(dataset['sizes'].values()):,} examples"
            f"{having(task, len(dataset['class_names']))}. The models learnt from the training "
            "examples; validation chose among quantised files; the test examples were used for no "
            "choice, and every figure of this page is theirs unless it says otherwise."
        ),
        inputs,
        counts,
        _targets(dataset["targets"]) if "targets" in dataset else "",
        notes if dataset["notes"] else "",
    )


def _targets(targets: dict) -> Markup:
    rows = [
        (name, f"{found['mean']:.4g}", f"{found['standard_deviation']:.4g}")
        for name, found in targets.items()
    ]
    return table(("target, in training", "mean", "standard deviation"), rows)
