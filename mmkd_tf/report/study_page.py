"""The study's page: tables and verdicts, as Markdown and as text for the terminal."""

from mmkd_tf.report.absence_page import absence_markdown, absence_text
from mmkd_tf.report.tables import markdown_table, model_title, points_interval, text_table

_PAGE_COLUMNS = (
    "dataset",
    "recipe",
    "seeds",
    "teacher",
    "alone",
    "distilled",
    "difference, points",
    "95 % over seeds",
    "95 % over seeds and examples",
    "gap closed",
)
_MODEL_COLUMNS = (
    "dataset",
    "model",
    "parameters",
    "accuracy",
    "cross-entropy",
    "macro F1",
    "s",
)
_TEXT_COLUMNS = (*_PAGE_COLUMNS[:6], "points", "95 % seeds", "95 % + examples", "gap closed")


def study_page(results: dict, *, figure: str) -> str:
    """Writes the page of a study.

    Args:
        results: What `study.json` holds; see the README.
        figure: File name of the figure, in the page's folder.

    Returns:
        Markdown.
    """
    lines = ["# Student alone and distilled", "", *_ranking(results), ""]
    for split in splits(results):
        lines += [f"## {split.capitalize()} split", "", _PURPOSE[split], ""]
        if results["recipes"]:
            lines += markdown_table(_PAGE_COLUMNS, _rows(results, split), num_words=2)
            lines += ["", *(f"- {line}" for line in _verdicts(results, split)), ""]
        lines += markdown_table(_MODEL_COLUMNS, _model_rows(results, split), num_words=2)
        lines += ["", _MEANS, ""]
        lines += absence_markdown(results, split)
    if results["recipes"]:
        lines += [f"![Each seed's student alone and distilled]({figure})", "", _INTERVALS, ""]
        lines += ["## Recipes", ""]
    lines += [f"- {name}: {_settings(own)}" for name, own in results["recipes"].items()]
    lines += ["", *_failures(results)]
    return "\n".join(lines).rstrip() + "\n"


def study_text(results: dict) -> str:
    """Writes the comparison as plain text.

    Args:
        results: What `study.json` holds.
    """
    lines = []
    for split in splits(results):
        lines += ["", f"{split} split"]
        if results["recipes"]:
            lines += text_table(_TEXT_COLUMNS, _rows(results, split), num_words=2)
            lines += _verdicts(results, split)
        else:
            lines += text_table(_MODEL_COLUMNS, _model_rows(results, split), num_words=2)
        lines += absence_text(results, split)
    return "\n".join([*lines, "", *_ranking(results), *_failures(results)]).rstrip()


def splits(results: dict) -> list[str]:
    """The splits that a study shows, in order."""
    return list(next(iter(results["datasets"].values()))["splits"])


_PURPOSE = {
    "validation": "For choosing a recipe; the figures of the one that was chosen are too good.",
    "test": "For judging a recipe that was chosen on validation, not for choosing one.",
}
_MEANS = "Means over the seeds; cross-entropy in nats; seconds of training."
_INTERVALS = (
    "The interval over seeds is a bootstrap of the paired differences. It speaks of the chance in "
    "training (and in the split, where the seed makes it), not of the choice of the examples, and "
    "with few seeds it is too narrow. The interval over seeds and examples resamples both."
)


def _rows(results, split):
    best = results["ranking"][0]["recipe"] if len(results["ranking"]) > 1 else None
    rows = []
    for dataset, values in results["datasets"].items():
        means = {m: v["mean"]["accuracy"] for m, v in values["splits"][split]["models"].items()}
        for recipe, comparison in values["splits"][split]["comparisons"].items():
            closed = comparison["gap_closed"]
            rows.append(
                (
                    dataset,
                    f"{recipe} (best)" if recipe == best else recipe,
                    str(len(comparison["differences"])),
                    f"{means['teacher']:.3f}",
                    f"{means['student_alone']:.3f}",
                    f"{means['recipe-' + recipe]:.3f}",
                    f"{100 * comparison['mean_difference']:+.1f}",
                    points_interval(comparison["interval"]),
                    points_interval(comparison["interval_with_examples"]),
                    "no gap" if closed is None else f"{closed:.0%}",
                )
            )
    return rows


def _model_rows(results, split):
    return [
        (
            dataset,
            model_title(model),
            f"{values['models'][model]['parameters']:,}",
            f"{measured['mean']['accuracy']:.3f}",
            f"{measured['mean']['cross_entropy']:.3f}",
            f"{measured['mean']['macro_f1']:.3f}",
            f"{sum(s := values['models'][model]['seconds']) / len(s):,.0f}",
        )
        for dataset, values in results["datasets"].items()
        for model, measured in values["splits"][split]["models"].items()
    ]


def _verdicts(results, split):
    return [
        f"{dataset}, {recipe}: {comparison['verdict']}"
        for dataset, values in results["datasets"].items()
        for recipe, comparison in values["splits"][split]["comparisons"].items()
    ]


def _ranking(results):
    if len(results["ranking"]) < 2:
        return []
    listed = ", ".join(
        f"{entry['recipe']} {100 * entry['mean_difference']:+.1f}" for entry in results["ranking"]
    )
    return [
        f"Best recipe on validation: {results['ranking'][0]['recipe']} (points of accuracy over "
        f"the student alone, mean over the datasets: {listed})."
    ]


def _failures(results):
    if not results["failed"]:
        return []
    return ["Failed; run the same command again to try these again:", ""] + [
        f"- {unit}: {reason.strip().splitlines()[-1]}" for unit, reason in results["failed"].items()
    ]


def _settings(settings: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
