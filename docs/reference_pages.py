"""A Sphinx extension: reference pages made from the code, and formulas without scripts."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from docutils import nodes
from docutils.statemachine import StringList
from latex2mathml.converter import convert
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from mmkd_tf import run
from mmkd_tf.config import RunConfig
from mmkd_tf.modalities import KINDS
from mmkd_tf.settings.names import SHORT_NAMES
from mmkd_tf.settings.words import settings_of
from mmkd_tf.tasks import TASKS

PACKAGES = ("backbones", "data", "distill", "edge", "export", "losses", "modalities", "models")
PUBLIC = ["mmkd_tf", *(f"mmkd_tf.{name}" for name in PACKAGES)]
EXPLAINED = Path(__file__).with_name("running.md")  # where people read what a key means
NUM_ROWS, NAMES = 6, ["a", "b", "c"]

log = logging.getLogger(__name__)


class FromCode(SphinxDirective):
    """Markdown that a function of this file makes of the directive's argument."""

    optional_arguments = 1

    def run(self):
        lines = StringList(list(MAKERS[self.name](*self.arguments)), source=__file__)
        where = nodes.section()
        self.state.nested_parse(lines, self.content_offset, where)
        return where.children


def settings_table(group: str) -> Iterator[str]:
    """The settings of a group (`run`: those without one), or the options of a kind of input."""
    if group in KINDS:
        found = list(settings_of(KINDS[group].Options, "inputs.NAME."))
    elif group == "run":
        found = [one for one in settings_of(RunConfig) if "." not in one.name]
    else:
        found = list(settings_of(RunConfig.model_fields[group].annotation, f"{group}."))
    short = {name: own for own, name in SHORT_NAMES.items()}
    yield from ("| setting | default | values | meaning |", "| --- | --- | --- | --- |")
    for one in found:
        if one.name == "inputs":
            continue
        own = short.get(one.name, one.name)
        names = f"`{one.name}`" + (f" or `{own}`" if own != one.name else "")
        default = "" if one.default is None else f"`{one.default}`"
        cells = [names, default, one.allowed, " ".join(one.meaning.split())]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def results_table() -> Iterator[str]:
    """The keys that `mmkd_tf.run` writes into results.json, with the words of docs/running.md."""
    nodes_of_run = ast.walk(ast.parse(inspect.getsource(run.run)))
    assigned = [node for node in nodes_of_run if isinstance(node, ast.Assign)]
    (made,) = [node.value for node in assigned if ast.unparse(node.targets[0]) == "results"]
    written = [key.value for key in made.keys if key is not None]
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", EXPLAINED.read_text("utf-8"), re.MULTILINE)
    meanings = {key: about for keys, about in rows for key in re.findall("`([a-z_]+)", keys)}
    if unexplained := [key for key in written if key not in meanings]:
        log.warning("docs/running.md: no row on the keys %s of results.json", unexplained)
    yield from ("| key | meaning |", "| --- | --- |")
    yield f"| `teacher`, `student_alone`, `student` | {meanings['student_alone']} |"
    yield from (f"| `{key}` | {meanings[key]} |" for key in written if key in meanings)


def measures_table() -> Iterator[str]:
    """What each task measures, tried on a few rows."""
    yield from ("| task | keys under `validation` and `test` |", "| --- | --- |")
    rng = np.random.default_rng(0)
    for task in TASKS.values():
        labels = rng.integers(0, 2, [NUM_ROWS, len(NAMES)]).astype("float32")
        if task.has_one_class or task.is_pairwise or task.gives_embeddings:
            labels = np.arange(NUM_ROWS) % (NUM_ROWS if task.is_pairwise else len(NAMES))
        outputs = rng.normal(size=[NUM_ROWS, 4 if task.is_pairwise else len(NAMES)])
        given = {"labels": labels, "outputs": outputs.astype("float32")}
        found = task.measure(**given, names=NAMES, inputs=["image", "text"])
        keys = [f"**`{key}`**" if key == task.headline else f"`{key}`" for key in found]
        yield f"| `{task.name}` | {', '.join(keys)} |"


MAKERS = {"settings": settings_table, "results": results_table, "measures": measures_table}


def mathml(display: str) -> tuple:
    """Writes a formula as MathML, which browsers show by themselves."""

    def visit(translator, node):
        translator.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode

    return visit, None


def said_above(app, kind, name, member, skip, options) -> bool | None:
    """Leaves out of a package what `mmkd_tf` offers too: it stands there."""
    above = import_module("mmkd_tf").__all__
    return True if app.env.current_document.autodoc_module in PUBLIC[1:] and name in above else None


def check_public_names(app, env) -> None:
    """Warns of public names that the reference lacks; with -W the build then fails."""
    there = env.get_domain("py").objects
    for package in PUBLIC:
        for name in getattr(import_module(package), "__all__", ()):
            if name == "__version__":
                continue
            if f"{package}.{name}" not in there and f"mmkd_tf.{name}" not in there:
                log.warning("docs/api.md: no entry for %s.%s", package, name)


def setup(app) -> dict:
    """Registers all of it with Sphinx."""
    for name in MAKERS:
        app.add_directive(name, FromCode)
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    app.connect("autodoc-skip-member", said_above)
    app.connect("env-check-consistency", check_public_names)
    return {"parallel_read_safe": True}
