"""The page of a run: one HTML file that needs nothing else."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from mmkd_tf.report import run_tables as tables
from mmkd_tf.report import sentences as say
from mmkd_tf.report.figures import damage_figure, svg
from mmkd_tf.report.tables import capitalized, escape_markdown, figure

_FOLDER = Path(__file__).parent


def render(template: str, **values: object) -> str:
    """Fills in one of the templates; what is put into those of HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"capitalized": capitalized, "md": escape_markdown}
    return environment.get_template(template).render(tables=tables, say=say, **values)


def report_page(results: Mapping) -> str:
    """Writes the page of what `results.json` holds, of earlier versions too, as HTML.

    Everything is in it, figures too; it asks for nothing from elsewhere. Names from the data are
    escaped.
    """
    measured = results.get("robustness") or {"damage": {}}
    return render(
        "report.html",
        results=results,
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        tiles=_tiles(results),
        curves=[
            (name, title)
            for name, title in say.MODELS.items()
            if any(name in found["score"] for found in measured["damage"].values())
        ],
        panels=[_panel(kind, results) for kind in measured["damage"]],
        epochs=say.setting(results, "training.epochs"),
    )


def _tiles(results: Mapping) -> list[tuple[str, str]]:
    """What came out, in four figures, each with its meaning."""
    student, teacher, task = results["student"], results["teacher"], say.task_of(results)
    form = ".1%" if task.has_one_class else ".3f"  # people read an accuracy in percent
    whose = ((student, "of the distilled student"), (teacher, "of its teacher"))
    tiles = [
        (figure(model["test"][task.headline], form), f"{task.words.headline} {words}")
        for model, words in whose
    ]
    smaller = f"{teacher['parameters'] / student['parameters']:,.0f} x"
    counts = f"{student['parameters']:,} for {teacher['parameters']:,}"
    tiles.append((smaller, f"fewer parameters: {counts}"))
    files = [made for made in results.get("exports", []) if made["file"].endswith(".tflite")]
    if files:
        made = min(files, key=lambda file: file["bytes"])
        meaning = f"{made['file']}, {made['latency_ms']:.2g} ms a call"
        tiles.append((f"{made['bytes'] / 1024:,.0f} KiB", meaning))
    return tiles


def _panel(kind: str, results: Mapping) -> dict:
    """Title, measure and picture of a kind of damage."""
    measured, score = results["robustness"], say.task_of(results).words.headline
    found, title = measured["damage"][kind], say.damage_title(kind)
    absent = measured["absent"].get("student", {}).get(found["modality"])
    curves = (curve for each in measured["damage"].values() for curve in each["score"].values())
    ends = ", ".join(
        f"{say.MODELS[name]} from {curve[0]:.2f} to {curve[-1]:.2f}"
        for name, curve in found["score"].items()
        if name in say.MODELS
    )
    picture = svg(
        damage_figure(found, score=score, absent=absent, top=max(map(max, curves))),
        name=kind,
        label=f"{capitalized(score)} under {title}: {ends}.",
    )
    return {"title": title, "measure": found["measure"], "picture": picture}
