"""The section about the data: how many examples, of what, in which classes."""

from mmkd_tf.report.sections.html import Markup, folded, paragraph, section, table, tag

_MANY_CLASSES = 20


def data(results: dict) -> Markup:
    """Says what the models learnt from and were judged on.

    Args:
        results: What `results.json` holds.
    """
    dataset = results["dataset"]
    splits = list(dataset["sizes"])
    inputs = table(("input", "as the models read it"), dataset["modalities"].items(), num_words=2)
    rows = [("all", *(f"{size:,}" for size in dataset["sizes"].values()))]
    rows += [
        (name, *(f"{dataset['class_counts'][split][name]:,}" for split in splits))
        for name in dataset["class_names"]
    ]
    counts = table(("examples", *splits), rows)
    if len(dataset["class_names"]) > _MANY_CLASSES:
        counts = folded(f"Examples of each of the {len(rows) - 1:,} classes", counts)
    notes = tag("ul", *(tag("li", note) for note in dataset["notes"]))
    return section(
        "The data",
        paragraph(
            f"{dataset['name']}: {sum(dataset['sizes'].values()):,} examples in "
            f"{len(dataset['class_names']):,} classes. The models learnt from the training "
            "examples; validation chose among quantised files; the test examples were used for no "
            "choice, and every figure of this page is theirs unless it says otherwise."
        ),
        inputs,
        counts,
        notes if dataset["notes"] else "",
    )
