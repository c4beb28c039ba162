"""Writes a figure as SVG that takes the colours and the font of the page around it."""

import io
import re

import matplotlib
from matplotlib.figure import Figure

from mmkd_tf.report.figures import PAGE_COLOURS
from mmkd_tf.report.sections.html import Markup, text


def svg(figure: Figure, *, name: str, label: str) -> Markup:
    """Writes a figure to stand in a page.

    Args:
        figure: Drawn with the colours of `PAGE_COLOURS`.
        name: Keeps the names within apart from those of the page's other figures.
        label: What is to be seen, for those who can't.

    Returns:
        An `svg` element; the same figure gives the same text.
    """
    file = io.StringIO()
    # Text stays text; without a salt the names of clipping paths would be drawn by chance.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    content = file.getvalue()
    content = content[content.index("<svg") :]
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    for variable, colour in PAGE_COLOURS.items():
        content = content.replace(colour, f"var(--{variable})")
    width, height = (72 * side for side in figure.get_size_inches())
    start = f'<svg role="img" aria-label="{text(label)}" viewBox="0 0 {width:g} {height:g}" '
    start += 'xmlns:xlink="http://www.w3.org/1999/xlink">'
    return Markup(start + content[content.index(">") + 1 :])
