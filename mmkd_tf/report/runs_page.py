"""The page that compares runs: verdicts, figures, files, and the settings that differ."""

from collections.abc import Mapping
from pathlib import Path

from mmkd_tf.report.page import render, style
from mmkd_tf.report.sentences import first_look, task_of
from mmkd_tf.report.tables import Table, figure
from mmkd_tf.report.verdict import (
    comparison_of,
    difference_words,
    interval_words,
    score_words,
    verdict,
)
from mmkd_tf.settings.names import flat, full_names


def runs_page(runs: Mapping[str, Mapping], paired: Mapping[str, Mapping] | None = None) -> str:
    """Writes a page that compares runs as HTML, self-contained.

    `runs` are by folder what their `results.json` hold, see `report_page`; figures are of each
    run's own test split. `paired` is by folder the difference to the first run, where it is known:
    see `mmkd_tf.evaluate.run_comparison.compare_runs`.
    """
    names = _names(list(runs))
    differences = {names[path]: each for path, each in (paired or {}).items()}
    found = {names[path]: results for path, results in runs.items()}
    return render(
        "runs.html",
        style=style(),
        verdicts={name: verdict(results) for name, results in found.items()},
        first_looks=[name for name, results in found.items() if first_look(results)],
        figures=_figures(found),
        first=next(iter(found)),
        differences=_differences(found, differences),
        files=_files(found),
        settings=_settings(found),
        one_data=len({_data(results) for results in found.values()}) == 1,
    )


def _names(paths: list[str]) -> dict[str, str]:
    """The folders' own names where these differ, else the whole paths."""
    short = [Path(path).resolve().name for path in paths]
    return dict(zip(paths, short if len(set(short)) == len(short) else paths, strict=True))


def _data(results: Mapping) -> tuple:
    dataset = results.get("dataset", {})
    return task_of(results).name, dataset.get("name"), *dataset.get("sizes", {}).values()


def _figures(runs: Mapping[str, Mapping]) -> Table:
    rows = []
    for name, results in runs.items():
        if "student" not in results:
            rows.append((name, "not finished", *["-"] * 8))
            continue
        task, compared = task_of(results), comparison_of(results)
        models = ("student_scratch", "student_alone", "teacher")
        others = (results.get(model, {}).get("test", {}).get(task.headline) for model in models)
        naive = compared["naive"]
        rows.append(
            (
                name,
                task.words.headline,
                score_words(task, results["student"]["test"][task.headline]),
                interval_words(task, compared["intervals"]["student"], signed=False),
                *(score_words(task, score) for score in others),
                score_words(task, naive and naive["score"]),
                f"{results['student']['parameters']:,}",
                figure(sum(results.get("seconds", {}).values()), ",.0f"),
            )
        )
    columns = ("run", "figure", "distilled student", "95 %", "from scratch", "alone", "teacher")
    columns += ("no input looked at", "parameters", "seconds")
    return Table(columns, rows, num_words=2)


def _differences(runs: Mapping[str, Mapping], differences: Mapping[str, Mapping]) -> Table:
    """Of the students that answered the same test examples as the first run's."""
    rows = []
    for name, found in differences.items():
        task = task_of(runs[name])
        interval = interval_words(task, found["interval"], signed=True)
        rows.append((name, difference_words(task, found["difference"]), interval))
    return Table(("run", "distilled student", "95 %"), rows, num_words=1)


def _files(runs: Mapping[str, Mapping]) -> Table:
    rows = [
        (
            name,
            made["file"],
            made["quantize"],
            f"{made['bytes'] / 1024:,.1f}",
            figure(made.get("latency_ms")),
            score_words(task_of(results), made.get("test_accuracy")),
        )
        for name, results in runs.items()
        for made in results.get("exports", [])
        if made["file"].endswith(".tflite")
    ]
    columns = ("run", "file", "weights", "KiB", "ms per call", "figure on test")
    return Table(columns, rows, num_words=3)


def _settings(runs: Mapping[str, Mapping]) -> Table:
    """The settings that are not the same in all runs."""
    given = {name: dict(flat(full_names(of.get("config", {})))) for name, of in runs.items()}
    names = dict.fromkeys(name for settings in given.values() for name in settings)
    rows = []
    for name in names:
        values = [str(settings.get(name, "-")) for settings in given.values()]
        if len(set(values)) > 1:
            rows.append((name, *("none" if value == "None" else value for value in values)))
    return Table(("setting", *given), rows, num_words=1 + len(given))
