"""The study's page: tables and verdicts, as Markdown and as text for the terminal."""

from collections.abc import Mapping

from mmkd_tf.report.page import render
from mmkd_tf.report.sentences import study_task
from mmkd_tf.report.tables import Table, capitalized, points_interval, wrapped
from mmkd_tf.report.tables import figure as shown
from mmkd_tf.settings.names import flat


def study_page(results: Mapping, *, figure: str) -> str:
    """Writes the page of what `study.json` holds, with its figure's file name, as Markdown."""
    recipes = {
        name: ", ".join(f"{setting} {value}" for setting, value in flat(settings))
        for name, settings in results["recipes"].items()
    }
    return render(
        "study.md",
        figure=figure,
        ranking=_ranking(results),
        parts=_parts(results),
        recipes=recipes,
        failures=_failures(results),
    )


def study_text(results: Mapping) -> str:
    """Writes the comparison of what `study.json` holds as plain text."""
    blocks = []
    for part in _parts(results):
        # What is left out is in the verdicts.
        compared = part["comparisons"].without("seeds", "95 % over seeds")
        tables = [compared] if results["recipes"] else part["models"]
        lines = [f"{part['split']} split", *(table.to_text() for table in tables)]
        blocks.append("\n".join([*lines, *map(wrapped, part["verdicts"])]))
        blocks += [table.to_text() for table in part["absence"]]
    end = [wrapped(_ranking(results)), "\n".join(_failures(results))]
    return "\n" + "\n\n".join([*blocks, *filter(None, end)])


def _parts(results: Mapping) -> list[dict]:
    """What there is to show of each split."""
    return [
        {
            "split": split,
            "comparisons": _comparisons(results, split),
            "verdicts": [
                f"{dataset}, {recipe}: {comparison['verdict']}"
                for dataset, values in results["datasets"].items()
                for recipe, comparison in values["splits"][split]["comparisons"].items()
            ],
            "models": _models(results, split),
            "absence": _absence(results, split),
        }
        for split in next(iter(results["datasets"].values()))["splits"]
    ]


def _comparisons(results: Mapping, split: str) -> Table:
    """The distilled students beside those alone, by dataset and recipe."""
    best = results["ranking"][0]["recipe"] if len(results["ranking"]) > 1 else None
    rows = []
    for dataset, values in results["datasets"].items():
        key, models = study_task(results, dataset).headline, values["splits"][split]["models"]
        for recipe, comparison in values["splits"][split]["comparisons"].items():
            compared = ("teacher", "student_alone", f"recipe-{recipe}")
            rows.append(
                (
                    dataset,
                    f"{recipe} (best)" if recipe == best else recipe,
                    str(len(comparison["differences"])),
                    *(shown(models[model]["mean"][key]) for model in compared),
                    f"{100 * comparison['mean_difference']:+.1f}",
                    points_interval(comparison["interval"]),
                    points_interval(comparison["interval_with_examples"]),
                    _closed(comparison["gap_closed"]),
                )
            )
    columns = ("dataset", "recipe", "seeds", "teacher", "alone", "distilled", "gain, points")
    columns += ("95 % over seeds", "95 % over seeds and examples", "gap closed")
    return Table(columns, rows, num_words=2)


def _closed(share: float | None) -> str:
    if share is None:
        return "no gap"
    return "none" if share <= 0 else "all" if share >= 1 else f"{share:.0%}"


def _models(results: Mapping, split: str) -> list[Table]:
    """All figures of all models; a table for the datasets with the same figures."""
    tables: dict = {}
    for dataset, values in results["datasets"].items():
        columns = study_task(results, dataset).words.columns
        known = {key: (title, form) for title, key, form in columns}
        for model, measured in values["splits"][split]["models"].items():
            trained, scores = values["models"][model], measured["mean"]
            found = [known.get(key, (key.replace("_", "-"), ".3f")) for key in scores]
            titles, forms = zip(*found, strict=True)
            row = (
                dataset,
                _model_title(model),
                f"{trained['parameters']:,}",
                *map(shown, scores.values(), forms),
                f"{sum(trained['seconds']) / len(trained['seconds']):,.0f}",
            )
            tables.setdefault(("dataset", "model", "parameters", *titles, "s"), []).append(row)
    return [Table(columns, rows, num_words=2) for columns, rows in tables.items()]


def _absence(results: Mapping, split: str) -> list[Table]:
    """What is lost where an input is absent; no tables where no model reads two."""
    found = results.get("absence", {}).get(split, {})
    headline = _headline(results)
    left = [
        (
            *(row["dataset"], _model_title(row["model"]), row["modality"], row["made_for_it"]),
            *map(shown, (row["accuracy"], row["made_for_it_accuracy"], row["share"])),
        )
        for row in found.get("left", [])
    ]
    cost = [
        (
            *(row["dataset"], _model_title(row["model"]), row["without_dropout"]),
            f"{100 * row['mean_difference']:+.1f}",
            points_interval(row["interval"]),
        )
        for row in found.get("cost", [])
    ]
    tables = [
        _without(results, split),
        Table(
            ("dataset", "model", "left", "made for it", headline, f"its {headline}", "share"),
            left,
            "One modality left, beside the student alone that was made for it",
            num_words=4,
        ),
        Table(
            ("dataset", "model", "without dropout", "points", "95 % over seeds"),
            cost,
            "Complete inputs: trained for absence less trained without modality dropout",
            num_words=3,
        ),
    ]
    return [table for table in tables if table.rows]


def _without(results: Mapping, split: str) -> Table:
    measured = [
        (dataset, model, values["mean"][study_task(results, dataset).headline], values["without"])
        for dataset, found in results["datasets"].items()
        for model, values in found["splits"][split]["models"].items()
        if values.get("without")
    ]
    names = sorted({name for *_, without in measured for name in without})
    rows = [
        (dataset, _model_title(model), *map(shown, (complete, *map(without.get, names))))
        for dataset, model, complete, without in measured
    ]
    columns = ("dataset", "model", "complete", *(f"without {name}" for name in names))
    title = f"{capitalized(_headline(results))} where all examples lack a modality"
    return Table(columns, rows, title, num_words=2)


def _ranking(results: Mapping) -> str:
    if len(results["ranking"]) < 2:
        return ""
    listed = ", ".join(
        f"{entry['recipe']} {100 * entry['mean_difference']:+.1f}" for entry in results["ranking"]
    )
    return (
        f"Best recipe on validation: {results['ranking'][0]['recipe']} (points of "
        f"{_headline(results)} over the student alone, mean over the datasets: {listed})."
    )


def _failures(results: Mapping) -> list[str]:
    reasons = {unit: text.strip().splitlines()[-1] for unit, text in results["failed"].items()}
    start = ["Failed; run the same command again to try these again:", ""] if reasons else []
    return start + [f"- {unit}: {reason}" for unit, reason in reasons.items()]


def _headline(results: Mapping) -> str:
    """What the figure is called by which models are compared."""
    words = (study_task(results, dataset).words for dataset in results["datasets"])
    return " or ".join(dict.fromkeys(each.headline for each in words))


def _model_title(model: str) -> str:
    """What people call a model of a study."""
    return model.replace("_", " ").replace("recipe-", "distilled: ")
