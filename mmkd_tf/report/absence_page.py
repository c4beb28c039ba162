"""What a study says of absent modalities, as Markdown and as text."""

from mmkd_tf.report.tables import markdown_table, model_title, points_interval, text_table

_WITHOUT = "Accuracy where all examples lack a modality:"
_LEFT = "One modality left, beside the student alone that was made for it:"
_LEFT_COLUMNS = ("dataset", "model", "left", "made for it", "accuracy", "its accuracy", "share")
_COST = "Complete inputs: trained for absence less trained without modality dropout:"
_COST_COLUMNS = ("dataset", "model", "without dropout", "points", "95 % over seeds")


def absence_markdown(results: dict, split: str) -> list[str]:
    """Lines of Markdown on a split; none where no model reads two modalities."""
    lines = []
    for title, columns, rows, num_words in _tables(results, split):
        lines += [title, "", *markdown_table(columns, rows, num_words=num_words), ""]
    return lines


def absence_text(results: dict, split: str) -> list[str]:
    """The same as plain text."""
    lines = []
    for title, columns, rows, num_words in _tables(results, split):
        lines += ["", title, *text_table(columns, rows, num_words=num_words)]
    return lines


def _tables(results: dict, split: str) -> list[tuple]:
    """Titles, columns, rows and numbers of columns of words, of the tables that have rows."""
    names = sorted(
        {
            modality
            for values in results["datasets"].values()
            for model in values["splits"][split]["models"].values()
            for modality in model["without"]
        }
    )
    columns = ("dataset", "model", "complete", *(f"without {name}" for name in names))
    found = results["absence"][split]
    tables = [
        (_WITHOUT, columns, _without_rows(results, split, names), 2),
        (_LEFT, _LEFT_COLUMNS, [_left_row(row) for row in found["left"]], 4),
        (_COST, _COST_COLUMNS, [_cost_row(row) for row in found["cost"]], 3),
    ]
    return [table for table in tables if table[2]]


def _without_rows(results, split, names) -> list[tuple]:
    rows = []
    for dataset, values in results["datasets"].items():
        for model, measured in values["splits"][split]["models"].items():
            if measured["without"]:
                figures = [measured["mean"]["accuracy"], *map(measured["without"].get, names)]
                shown = ("-" if value is None else f"{value:.3f}" for value in figures)
                rows.append((dataset, model_title(model), *shown))
    return rows


def _left_row(row: dict) -> tuple:
    figures = (row["accuracy"], row["made_for_it_accuracy"], row["share"])
    words = (row["dataset"], model_title(row["model"]), row["modality"], row["made_for_it"])
    return (*words, *(f"{value:.3f}" for value in figures))


def _cost_row(row: dict) -> tuple:
    words = (row["dataset"], model_title(row["model"]), row["without_dropout"])
    points = f"{100 * row['mean_difference']:+.1f}"
    return (*words, points, points_interval(row["interval"]))
