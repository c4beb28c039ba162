"""The section about the outputs: which classes the student knows, which ones it confuses."""

from mmkd_tf.report.by_task import WORDS, figure, task_of
from mmkd_tf.report.sections.html import Markup, bar, paragraph, section, table, tag

_MOST_IN_A_MATRIX = 20
_CONFUSIONS = 15
_BARS = ("recall", "r2", "recall_at_10")


def classes(results: dict) -> Markup:
    """Shows the distilled student's figures of each class, label, target or direction.

    Of classes its mistakes too.

    Args:
        results: What `results.json` holds.
    """
    task, test = task_of(results), results["student"]["test"]
    words = WORDS[task]
    columns = (words.output, *(title for title, _, _ in words.output_columns))
    rows = [
        (found["name"], *(_cell(found[key], key, form) for _, key, form in words.output_columns))
        for found in test[words.per_output]
    ]
    return section(
        words.output_title,
        paragraph("Of the distilled student. ", words.output_meaning),
        table(columns, rows),
        _mistakes(results["dataset"]["class_names"], test) if task == "single_label" else "",
    )


def _cell(value: float | None, key: str, form: str) -> object:
    shown = figure(value, form or ",")
    return bar(value or 0, shown) if key in _BARS else shown


def _mistakes(names: list[str], test: dict) -> Markup:
    few = len(names) <= _MOST_IN_A_MATRIX
    shown = (_matrix if few else _confusions)(names, test["confusion_matrix"])
    return Markup(tag("h3", "What it takes for what") + shown)


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
