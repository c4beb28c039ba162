"""What a run keeps with inputs absent or damaged, as text and Markdown."""

import textwrap

from mmkd_tf.report.by_task import WORDS, task_of
from mmkd_tf.report.tables import markdown_table

_WIDTH = 100
_MEANING = (
    "Means from no damage to the strongest of six levels (the area under the curve): higher is "
    "better, and no damage at all would give the clean figure."
)


def robustness_lines(results: dict, titles: dict[str, str]) -> list[str]:
    """Writes the accuracies without each input, and the student's mean ones under damage.

    Args:
        results: What `results.json` holds.
        titles: By name, what the models are called.

    Returns:
        Lines of text; none where it was not measured.
    """
    measured = results.get("robustness")
    if not measured:
        return []
    header, *rows = absent_rows(results, titles)
    lines = ["", f"{header[0]:<20}" + "".join(f"{cell:>15}" for cell in header[1:])]
    lines += [f"{first:<20}" + "".join(f"{cell:>15}" for cell in cells) for first, *cells in rows]
    means = ", ".join(_student_means(measured))
    if means:
        said = f"Mean {headline(results)} of the distilled student under damage: {means}."
        lines += textwrap.wrap(said, _WIDTH, subsequent_indent="  ")
    lines.append(f"Measured on {num_examples(results)}.")
    return lines


def robustness_markdown(results: dict, titles: dict[str, str]) -> list[str]:
    """Writes the same as Markdown.

    Args:
        results: As for `robustness_lines`.
        titles: As for `robustness_lines`.
    """
    measured = results.get("robustness")
    if not measured:
        return []
    header, *rows = absent_rows(results, titles)
    lines = [f"## With an input absent or damaged\nOn {num_examples(results)}:", ""]
    lines += markdown_table(header, rows, num_words=1)
    means = "; ".join(_student_means(measured))
    return [*lines, "", *([f"The student under damage: {means}. {_MEANING}", ""] if means else [])]


def absent_rows(results: dict, titles: dict[str, str]) -> list[tuple[str, ...]]:
    """Gives a header and a row for each model: its headline with all inputs and without each.

    Args:
        results: As for `robustness_lines`.
        titles: As for `robustness_lines`.
    """
    measured = results["robustness"]
    modalities = list(dict.fromkeys(m for found in measured["absent"].values() for m in found))
    rows = [(headline(results), "all inputs", *(f"without {modality}" for modality in modalities))]
    for name, found in measured["absent"].items():
        scores = [measured["clean"][name], *map(found.get, modalities)]
        cells = ("-" if score is None else f"{score:.3f}" for score in scores)
        rows.append((titles.get(name, name), *cells))
    return rows


def headline(results: dict) -> str:
    """What the figure is called by which models are judged."""
    return WORDS[task_of(results)].headline


def num_examples(results: dict) -> str:
    """Says which examples were looked at, and how many."""
    split, number = (results["robustness"][key] for key in ("split", "num_examples"))
    total = results["dataset"]["sizes"][split]
    said = f"the {number:,} {split} examples"
    if number < total:
        said = f"{number:,} of the {total:,} {split} examples, chosen at random"
    if "teacher" not in results["robustness"]["clean"]:
        said += " (students alone, since their inputs have other sizes than the teacher's)"
    return said


def damage_title(kind: str) -> str:
    """Says what a kind of damage is called."""
    return "JPEG" if kind == "jpeg" else kind.replace("_", " ")


def _student_means(measured: dict) -> list[str]:
    return [
        f"{damage_title(kind)} {found['relative']['student']:.3f}"
        for kind, found in measured["damage"].items()
        if "student" in found["relative"]
    ]
