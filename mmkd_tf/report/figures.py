"""Figures of runs and studies, drawn without a display and without pyplot's global state."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmkd_tf.report.sentences import study_task

_GREY, _DARK = "0.55", "0.0"
_SHIFT = 0.2


def study_figure(results: Mapping) -> Figure:
    """Draws each seed's headline figure alone and distilled, by dataset and recipe.

    A panel for each split and each dataset with students to compare; a pair of columns for each
    recipe. A line joins the two students of a seed. It is readable without colours.
    """
    datasets = {
        name: values
        for name, values in results["datasets"].items()
        if {"teacher", "student_alone"} <= set(values["models"])
    }
    splits = list(next(iter(datasets.values()))["splits"])
    recipes = list(results["recipes"])
    width = max(3.6, 0.9 * len(recipes) + 0.9)
    figure = Figure(figsize=(width * len(datasets), 3.8 * len(splits)), layout="constrained")
    grid = figure.subplots(len(splits), len(datasets), squeeze=False)
    tasks = {name: study_task(results, name) for name in datasets}
    for row, split in zip(grid, splits, strict=True):
        labels: list[str] = []
        for axes, (name, values) in zip(row, datasets.items(), strict=True):
            _panel(axes, values["models"], values["splits"][split], recipes, tasks[name].headline)
            axes.set_title(f"{name}, {split}", fontsize=11)
            if (label := tasks[name].words.headline) not in labels[-1:]:
                axes.set_ylabel(label)
            labels.append(label)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, models: Mapping, split: Mapping, recipes: list[str], key: str) -> None:
    scores = {name: model[key] for name, model in split["models"].items()}
    teacher = split["models"]["teacher"]["mean"][key]
    axes.axhline(teacher, color=_GREY, linestyle="--", linewidth=1.2, label="teacher, mean")
    seeds = models["student_alone"]["seeds"]
    alone_by_seed = dict(zip(seeds, scores["student_alone"], strict=True))
    for place, recipe in enumerate(recipes):
        model = f"recipe-{recipe}"
        if model not in scores:
            continue
        alone = [alone_by_seed[seed] for seed in models[model]["seeds"]]
        first = not axes.get_legend_handles_labels()[1][1:]
        _pairs(axes, place, alone, scores[model], labelled=first)
    axes.set_xticks(range(len(recipes)), recipes, rotation=20 if len(recipes) > 2 else 0)
    axes.set_xlim(-0.5, len(recipes) - 0.5)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _pairs(axes: Axes, place: int, alone: list, distilled: list, *, labelled: bool) -> None:
    left, right = place - _SHIFT, place + _SHIFT
    for pair in zip(alone, distilled, strict=True):
        axes.plot([left, right], pair, color=_GREY, linewidth=1, zorder=2)
    points: dict[str, Any] = {"s": 28, "edgecolors": _DARK, "linewidths": 1.1, "zorder": 3}
    labels = ("student alone", "distilled", "mean over seeds") if labelled else (None,) * 3
    axes.scatter([left] * len(alone), alone, facecolors="1.0", label=labels[0], **points)
    axes.scatter([right] * len(distilled), distilled, facecolors="0.25", label=labels[1], **points)
    for x, values, label in ((left, alone, labels[2]), (right, distilled, None)):
        mean = sum(values) / len(values)
        axes.plot([x - 0.13, x + 0.13], [mean] * 2, color=_DARK, linewidth=2.4, label=label)


# Colours that no one else draws with, by the name of the page's colour that takes their place.
PAGE_COLOURS = {
    "ink": "#010203",
    "quiet": "#020304",
    "line": "#030405",
    "accent": "#040506",
    "card": "#050607",
}
_QUIET = {"color": PAGE_COLOURS["quiet"], "linewidth": 1.4}
CURVES: dict[str, dict[str, Any]] = {
    "teacher": {**_QUIET, "linestyle": (0, (4, 2))},
    "student_scratch": {**_QUIET, "linestyle": (0, (1, 1.5))},
    "student_alone": {
        **_QUIET,
        **{"marker": "o", "markersize": 4, "markerfacecolor": PAGE_COLOURS["card"]},
    },
    "student": {
        "color": PAGE_COLOURS["accent"],
        "linewidth": 2.2,
        "marker": "o",
        "markersize": 4.5,
    },
}


def damage_figure(found: Mapping, *, score: str, absent: float | None, top: float) -> Figure:
    """Draws the models' score under one kind of damage of `results.json`, in a page's colours.

    The curves tell apart by line and mark as well as by colour. A dotted line shows the score of
    the distilled student with the input `absent`; all panels have one scale, up to `top`.
    """
    figure, axes = page_axes()
    for name, curve in found["score"].items():
        if name in CURVES:
            axes.plot(curve, **CURVES[name], label=name, clip_on=False, zorder=3)
    if absent is not None:
        axes.axhline(absent, color=PAGE_COLOURS["accent"], linestyle=":", linewidth=1.4)
    axes.set_xticks(range(len(found["levels"])), found["levels"])
    axes.set_ylim(0, min(1, top + 0.05))
    axes.set_ylabel(score)
    return figure


def page_axes(width: float = 3.3, height: float = 2.2) -> tuple[Figure, Axes]:
    """A figure of one panel in `PAGE_COLOURS`, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=PAGE_COLOURS["quiet"], fontsize=9)
    axes.tick_params(which="both", labelsize=9, color=PAGE_COLOURS["line"])
    axes.tick_params(which="both", labelcolor=PAGE_COLOURS["ink"])
    axes.grid(axis="y", color=PAGE_COLOURS["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(PAGE_COLOURS["line"])
    return figure, axes


def svg(figure: Figure, *, name: str, label: str) -> Markup:
    """Writes a figure in `PAGE_COLOURS` as an `svg` element with the colours and font of its page.

    The same figure gives the same text. `name` keeps the names within apart from those of the
    page's other figures; `label` says what is to be seen, for those who can't.
    """
    file = io.StringIO()
    # Text stays text; without a salt the names of clipping paths would be drawn by chance.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    content = file.getvalue()
    content = content[content.index("<svg") :]
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    # All figures have these names; a page may have each once.
    used = set(re.findall(r"#([\w-]+)", content))
    content = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", content)
    for variable, colour in PAGE_COLOURS.items():
        content = content.replace(colour, f"var(--{variable})")
    width, height = (72 * side for side in figure.get_size_inches())
    start = f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" '
    start += 'xmlns:xlink="http://www.w3.org/1999/xlink">'
    return Markup(start + content[content.index(">") + 1 :])  # noqa: S704
