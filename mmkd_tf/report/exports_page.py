"""Exported files beside Keras, and the ladder of quantisation levels, as text and Markdown."""

from mmkd_tf.report.by_task import WORDS, task_of
from mmkd_tf.report.tables import markdown_table

_DIFFERENCES = {
    "single_label": "logit difference",
    "multi_label": "logit difference",
    "regression": "difference in standard deviations",
    "retrieval": "difference of a number",
}


def exports_lines(exports: list[dict]) -> list[str]:
    """Writes the exported files beside Keras, and the ladder of quantisation levels.

    Args:
        exports: A dict for each file, with the keys of `mmkd_tf.export.Export`.

    Returns:
        Lines of text.
    """
    words = WORDS[task_of(exports[0])]
    lines = [
        f"{'file':<24}{'level':>9}{'KiB':>9}{'ms':>9}{words.short_headline:>10}{'in Keras':>10}"
        f"{words.same:>12}{'on test':>9}{'difference':>12}"
    ]
    for made in exports:
        lines.append(
            f"{made['file']:<24}{made['quantize']:>9}{made['bytes'] / 1024:>9,.1f}"
            f"{made['latency_ms']:>9.3f}{_share(made['accuracy']):>10}"
            f"{_share(made['keras_accuracy']):>10}{made['top1_agreement']:>12.1%}"
            f"{_percent(made['test_top1_agreement']):>9}"
            f"{made['max_abs_logit_difference']:>12.1e}"
        )
    for made in exports:
        if made["ladder"]:
            lines += ["", f"Levels tried for {made['file']}, without labels and vocabulary:"]
            lines += _ladder_lines(made)
    counts = sorted({made["num_examples"] for made in exports})
    lines.append(f"Measured on {' or '.join(map(str, counts))} validation examples.")
    return lines


def _ladder_lines(made: dict) -> list[str]:
    words = WORDS[task_of(made)]
    lines = [
        f"{'level':<10}{'KiB':>9}{'ms':>9}{words.short_headline:>10}{words.same:>12}"
        f"{'difference':>12}"
    ]
    for rung in made["ladder"]:
        verdict = _verdict(made, rung)
        if rung["bytes"] is None:
            lines.append(f"{rung['level']:<10}can't be made: {verdict}")
            continue
        lines.append(
            f"{rung['level']:<10}{rung['bytes'] / 1024:>9,.1f}{rung['latency_ms']:>9.3f}"
            f"{_share(rung['accuracy']):>10}{rung['top1_agreement']:>12.1%}"
            f"{rung['max_abs_logit_difference']:>12.1e}  {verdict}".rstrip()
        )
    return lines


def file_columns(exports: list[dict]) -> tuple[str, ...]:
    """Gives the titles of `file_rows`.

    Args:
        exports: As for `exports_lines`.
    """
    task = task_of(exports[0])
    return (
        "file",
        "weights",
        "KiB",
        "ms per call",
        f"largest {_DIFFERENCES[task]}",
        _as_keras(WORDS[task].same),
        "on test",
        f"{WORDS[task].headline} on test",
    )


def rung_columns(made: dict) -> tuple[str, ...]:
    """Gives the titles of `rung_rows`; the last column has none.

    Args:
        made: One of the exports.
    """
    words = WORDS[task_of(made)]
    return ("weights", "KiB", "ms per call", words.headline, _as_keras(words.same), "")


def file_rows(exports: list[dict]) -> list[tuple[str, ...]]:
    """Gives a row for each file.

    Args:
        exports: As for `exports_lines`.
    """
    return [
        (
            made["file"],
            made["quantize"],
            f"{made['bytes'] / 1024:,.0f}",
            f"{made['latency_ms']:.3f}",
            f"{made['max_abs_logit_difference']:.2g}",
            f"{made['top1_agreement']:.1%}",
            _percent(made["test_top1_agreement"]),
            _share(made["test_accuracy"]),
        )
        for made in exports
    ]


def rung_rows(made: dict) -> list[tuple[str, ...]]:
    """Gives a row for each level tried for a file.

    Args:
        made: One of the exports.
    """
    rows = []
    for rung in made["ladder"]:
        verdict = _verdict(made, rung)
        if rung["bytes"] is None:
            rows.append((rung["level"], "", "", "", "", f"can't be made: {verdict}"))
            continue
        size, latency = f"{rung['bytes'] / 1024:,.1f}", f"{rung['latency_ms']:.3f}"
        accuracy, agreement = _share(rung["accuracy"]), f"{rung['top1_agreement']:.1%}"
        rows.append((rung["level"], size, latency, accuracy, agreement, verdict))
    return rows


def exports_markdown(exports: list[dict]) -> list[str]:
    """Writes the same as Markdown tables.

    Args:
        exports: As for `exports_lines`.
    """
    lines = [*_escaped_table(file_columns(exports), file_rows(exports), num_words=2), ""]
    for made in exports:
        if made["ladder"]:
            lines += [
                f"`{made['file']}` is the smallest of these that is accepted on validation (sizes "
                "without labels and vocabulary):",
                "",
                *_escaped_table(rung_columns(made), rung_rows(made), num_words=1),
                "",
            ]
    return lines


def _escaped_table(columns, rows, *, num_words: int) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return markdown_table(columns, cells, num_words=num_words)


def _as_keras(same: str) -> str:
    return same if same.endswith("Keras") else f"{same} as Keras"


def _verdict(made: dict, rung: dict) -> str:
    return "taken" if rung["level"] == made["quantize"] else rung["reason"] or ""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
