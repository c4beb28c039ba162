"""The section about the classes: which ones the student knows, which ones it confuses."""

from mmkd_tf.report.sections.html import Markup, bar, paragraph, section, table, tag

_MOST_IN_A_MATRIX = 20
_CONFUSIONS = 15


def classes(results: dict) -> Markup:
    """Shows the distilled student's figures of each class and its mistakes.

    Args:
        results: What `results.json` holds.
    """
    test = results["student"]["test"]
    names = results["dataset"]["class_names"]
    rows = [
        (
            found["name"],
            f"{found['precision']:.3f}",
            bar(found["recall"], f"{found['recall']:.3f}"),
            f"{found['f1']:.3f}",
            f"{found['support']:,}",
        )
        for found in test["per_class"]
    ]
    few = len(names) <= _MOST_IN_A_MATRIX
    mistakes = _matrix if few else _confusions
    return section(
        "Class by class",
        paragraph(
            "Of the distilled student. Precision: of the examples that it gave this class, the "
            "share that has it. Recall: of the examples that have it, the share that got it."
        ),
        table(("class", "precision", "recall", "F1", "examples"), rows),
        tag("h3", "What it takes for what"),
        mistakes(names, test["confusion_matrix"]),
    )


def _matrix(names: list[str], counts: list[list[int]]) -> Markup:
    """Writes the counts as a table, darker where more of a row are."""
    heads = [tag("th", tag("span", name), scope="col") for name in names]
    rows = []
    for label, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(sum(row), 1)
        cells = [
            tag(
                "td",
                count or "",
                class_="right" if label == column else "wrong",
                style=f"--share: {100 * count / total:.0f}%",
                title=f"{name}, called {names[column]}: {count}" if count else None,
            )
            for column, count in enumerate(row)
        ]
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    content = tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", *rows)
    return Markup(
        paragraph(
            "Each row holds the examples of a class, each column those that the student called so; "
            "the diagonal is right. A cell is darker the larger its share of the row; an empty one "
            "is 0."
        )
        + tag("div", tag("table", *content, class_="matrix"), class_="scroll", tabindex=0)
    )


def _confusions(names: list[str], counts: list[list[int]]) -> Markup:
    """Lists the most frequent mistakes, where a matrix would be too large to read."""
    found = sorted(
        (
            (-count, names[label], names[column])
            for label, row in enumerate(counts)
            for column, count in enumerate(row)
            if count and label != column
        ),
    )
    if not found:
        return paragraph("It made no mistakes.")
    rows = [(label, called, f"{-count:,}") for count, label, called in found[:_CONFUSIONS]]
    return Markup(
        paragraph(
            f"The most frequent of {len(found):,} kinds of mistakes; the whole matrix is in ",
            tag("code", "results.json"),
            ".",
        )
        + table(("class", "called", "examples"), rows, num_words=2)
    )
