"""The page of a run: one HTML file that needs nothing else."""

from pathlib import Path

from mmkd_tf.report.sections.classes import classes
from mmkd_tf.report.sections.comparison import comparison, opening
from mmkd_tf.report.sections.data import data
from mmkd_tf.report.sections.files import files
from mmkd_tf.report.sections.html import Markup, tag
from mmkd_tf.report.sections.making import making
from mmkd_tf.report.sections.robustness import robustness
from mmkd_tf.report.sections.weights import weights

SECTIONS = (opening, comparison, classes, robustness, weights, files, data, making)
_STYLE = Path(__file__).with_name("page.css")


def report_page(results: dict) -> str:
    """Writes the page of a run.

    Everything is in it, figures too; it asks for nothing from elsewhere. Names from the data are
    escaped.

    Args:
        results: What `results.json` holds; see the README.

    Returns:
        HTML.
    """
    head = (
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", f"Student distilled on {results['dataset']['name']}"),
        tag("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    foot = tag(
        "footer",
        f"Made by mmkd-tf {results['versions'].get('mmkd-tf', '')}. All figures are in ",
        tag("code", "results.json"),
        " beside this file.",
    )
    body = tag("main", *(section(results) for section in SECTIONS), foot)
    page = tag("html", tag("head", *head), tag("body", body), lang="en")
    return f"<!doctype html>\n{page}\n"
