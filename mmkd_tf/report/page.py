"""The page of a run: one HTML file that needs nothing else."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from mmkd_tf.report import page_parts as parts
from mmkd_tf.report import run_tables as tables
from mmkd_tf.report import sentences as say
from mmkd_tf.report import verdict as judge
from mmkd_tf.report.tables import capitalized, escape_markdown

_FOLDER = Path(__file__).parent
MOST_BYTES = 3_000_000  # of a page; examples are left out where it would be more

# In the order of the page: by the name of a template `section_<name>.html` the title.
_SECTIONS = {
    "figures": "The models",
    "cost": "Size and time",
    "learning": "Learning curves",
    "examples": "Examples",
    "outputs": "",  # the task's own
    "sure": "How sure it is",
    "inputs": "What each input gives",
    "robustness": "With an input absent or damaged",
    "data": "The data",
    "making": "How it was made",
}


def render(template: str, **values: object) -> str:
    """Fills in one of the templates; what is put into those of HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"capitalized": capitalized, "md": escape_markdown, "name": _breakable}
    return environment.get_template(template).render(tables=tables, say=say, judge=judge, **values)


def _breakable(name: str) -> Markup:
    """A name that a narrow column may break behind `_` and `/`."""
    return Markup("<wbr>").join(escape(part) for part in re.split("(?<=[_/])", name) if part)


def style() -> Markup:
    """The style sheet of the pages."""
    return Markup((_FOLDER / "page.css").read_text(encoding="utf-8"))  # noqa: S704


def report_page(results: Mapping, *, examples: Sequence[Mapping] | None = None) -> str:
    """Writes the page of what `results.json` holds, of earlier versions too, as HTML.

    Everything is in it, figures too; it asks for nothing from elsewhere. Names from the data are
    escaped. What is not there is left out, and said to be.

    Args:
        results: What `results.json` holds; of a run that stopped half-way, `unfinished` with
            what there is of `config`, `history` and `seconds`.
        examples: What `mmkd_tf.report.gallery.gallery` gave; None where nothing was kept.
    """
    sections = _sections(results, examples)
    words = say.task_of(results).words
    shown = {
        "results": results,
        "words": words,
        "dataset": results.get("dataset", {}),
        "found": judge.verdict(results),
        "style": style(),
        "sections": sections,
        "missing": parts.missing(results, examples),
        "parts": parts,
    }
    most = max((len(group["examples"]) for group in examples or ()), default=0)
    while True:
        cut = [{**each, "examples": each["examples"][:most]} for each in examples or ()]
        page = render("report.html", examples=cut, **shown)
        if most == 0 or len(page.encode()) <= MOST_BYTES:
            return page
        most //= 2


def _sections(results: Mapping, examples: Sequence | None) -> list[tuple[str, str]]:
    """Name and title of those for which there is something to show."""
    finished = "student" in results
    is_shown = {
        "figures": finished,
        "cost": bool(results.get("exports")),
        "learning": bool(parts.learning_curves(results)),
        "examples": any(group["examples"] for group in examples or ()),
        "outputs": finished and bool(tables.outputs(results).rows),
        "sure": bool(results.get("reliability")),
        "inputs": finished and parts.tells_of_inputs(results),
        "robustness": finished,
        "data": "dataset" in results,
        "making": True,
    }
    titles = _SECTIONS | {"outputs": say.task_of(results).words.output_title}
    return [(name, title) for name, title in titles.items() if is_shown[name]]
