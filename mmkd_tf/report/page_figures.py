"""Figures of one run's page, beside those under damage: what it costs, how it learnt, how sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from mmkd_tf.report.figures import CURVES, PAGE_COLOURS, page_axes

# Of the panel: height of a label, width of one of its letters, what it is away from its mark.
_HEIGHT_OF_LABEL, _WIDTH_OF_LETTER, _AWAY = 0.08, 0.0175, 0.035
_MARK = 0.02  # half of a mark's or a line's height
_MOST_LINEAR = 15  # the greatest cost divided by the least, beyond which the scale is logarithmic
_WORDS: dict[str, Any] = {"fontsize": 8, "color": PAGE_COLOURS["ink"]}


@dataclass(frozen=True)
class Point:
    """A model or file in `cost_figure`.

    Attributes:
        label: What it is called.
        cost: Such as its bytes or milliseconds, above 0.
        score: The task's figure.
        is_file: Whether it is a file that can be shipped.
        spread: Least and greatest cost of most calls; None where it has none.
    """

    label: str
    cost: float
    score: float
    is_file: bool = True
    spread: tuple[float, float] | None = None


def cost_figure(
    points: Sequence[Point], *, cost: str, score: str, lines: Mapping[str, float]
) -> Figure:
    """Draws what models and files cost against how good they are; further up and left is better.

    `lines` are figures by name without a cost, such as that of a teacher that is no file.
    """
    figure, axes = page_axes(4.4, 2.9)
    for point in points:
        fill = PAGE_COLOURS["accent" if point.is_file else "card"]
        edge = PAGE_COLOURS["accent" if point.is_file else "quiet"]
        if point.spread:
            axes.plot(point.spread, [point.score] * 2, color=edge, linewidth=1.4, zorder=2)
        marks: dict[str, Any] = {
            "marker": "o" if point.is_file else "s",
            "markersize": 7,
            "zorder": 3,
        }
        marks |= {"markerfacecolor": fill, "markeredgecolor": edge, "linestyle": "none"}
        axes.plot([point.cost], [point.score], **marks, clip_on=False)
    costs = [end for p in points for end in (p.cost, *(p.spread or ()))]
    low, high = min(costs), max(costs)
    if high / low > _MOST_LINEAR:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.1, high * (high / low) ** 0.1)
    else:
        axes.set_xlim(0, 1.1 * high)
    heights = [point.score for point in points] + list(lines.values())
    margin = 0.15 * ((max(heights) - min(heights)) or 1)
    axes.set_ylim(min(heights) - margin, max(heights) + margin)
    for name, height in lines.items():
        axes.axhline(height, color=PAGE_COLOURS["quiet"], linestyle=":", linewidth=1.4)
        up = -9 if height < sum(heights) / len(heights) else 3  # away from the points
        place: dict[str, Any] = {
            "xy": (0.99, height),
            "xycoords": ("axes fraction", "data"),
            "ha": "right",
        }
        axes.annotate(name, **place, xytext=(0, up), textcoords="offset points", **_WORDS)
    _label(axes, points, lines)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(cost)
    axes.set_ylabel(score)
    return figure


def _label(axes: Axes, points: Sequence[Point], lines: Mapping[str, float]) -> None:
    """Writes names beside points, none over another, a mark or a line."""
    to_axes = axes.transData + axes.transAxes.inverted()

    def place(cost: float, score: float) -> tuple[float, float]:
        x, y = to_axes.transform((cost, score))
        return float(x), float(y)

    places = [place(p.cost, p.score) for p in points]
    taken = [_around(x, x, y) for x, y in places]
    for point, (_, y) in zip(points, places, strict=True):
        if point.spread:
            start, end = (place(cost, point.score)[0] for cost in point.spread)
            taken.append(_around(start, end, y))
    for name, height in lines.items():
        y = place(points[0].cost, height)[1]
        wide = _WIDTH_OF_LETTER * len(name)
        taken += [_around(0, 1, y), (1 - wide, y - _HEIGHT_OF_LABEL, 1, y + _HEIGHT_OF_LABEL)]
    line = {"arrowstyle": "-", "color": PAGE_COLOURS["line"], "shrinkA": 0, "shrinkB": 4}
    named = [(at, point.label) for at, point in zip(places, points, strict=True)]
    for (x, y), label, (left, height) in label_places(named, taken):
        to_right = left > x
        wide = _WIDTH_OF_LETTER * len(label)
        arrow = {**line, "relpos": (0 if to_right else 1, 0.5)}
        text = axes.annotate(
            label,
            xy=(x, y),
            xytext=(left if to_right else left + wide, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="left" if to_right else "right",
            va="center",
            arrowprops=arrow if abs(height - y) > _MARK else None,
            **_WORDS,
        )
        text.set_in_layout(False)  # it lies within the panel, unless no panel could hold it


def _around(start: float, end: float, height: float) -> tuple[float, float, float, float]:
    return start - _MARK, height - _MARK, end + _MARK, height + _MARK


def label_places(
    named: Sequence[tuple[tuple[float, float], str]],
    taken: Sequence[tuple[float, float, float, float]],
) -> list[tuple[tuple[float, float], str, tuple[float, float]]]:
    """Finds a free place for each label, as near to its point as there is one.

    Args:
        named: Points and their labels; all places are shares, 0 to 1, of a panel.
        taken: Left, lower, right and upper ends of what no label may cover.

    Returns:
        By height, each point and label with the label's left end and the height of its middle.
    """
    found, full = [], list(taken)
    for (x, y), label in sorted(named, key=lambda each: (each[0][1], -each[0][0])):
        wide, half = _WIDTH_OF_LETTER * len(label), _HEIGHT_OF_LABEL / 2
        sides = [x + _AWAY, x - _AWAY - wide]
        sides = [left for left in sides if left >= 0 and left + wide <= 1] or sides[x >= 0.5 :][:1]
        steps = [step / 50 for step in range(2, 49)]
        beside = min(max(y, half), 1 - half)
        heights = sorted(
            dict.fromkeys([beside, *steps]), key=lambda height: (abs(height - y), -height)
        )
        boxes = [
            (left, height - half, left + wide, height + half)
            for height in heights
            for left in sides
        ]
        free = (box for box in boxes if not any(_overlap(box, other) for other in full))
        box = next(free, boxes[0])
        full.append(box)
        found.append(((x, y), label, (box[0], box[1] + half)))
    return found


def _overlap(box: Sequence[float], other: Sequence[float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def learning_figure(curves: Mapping[str, tuple[Sequence, Sequence]], *, score: str) -> Figure:
    """Draws a figure by epoch for each model, `curves` being epochs and values by model."""
    figure, axes = page_axes()
    for name, (epochs, values) in curves.items():
        style = {**CURVES.get(name, CURVES["student_scratch"]), "marker": None}
        if len(epochs) == 1:
            style |= {"marker": "o", "markersize": 4}
        elif name == "student_alone":
            style |= {"linewidth": 1.4}
        axes.plot(epochs, values, **style, label=name, clip_on=False, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(score)
    return figure


def reliability_figure(bins: Sequence[Mapping], *, name: str) -> Figure:
    """Draws how often a model is right where it is so sure; on the diagonal it is well judged.

    The area of a mark is the share of the answers in its bin.
    """
    figure, axes = page_axes(3.1, 2.6)
    axes.plot([0, 1], [0, 1], color=PAGE_COLOURS["line"], linewidth=1.4)
    sure, right = ([each[key] for each in bins] for key in ("confidence", "right"))
    colour = PAGE_COLOURS["accent" if name == "student" else "quiet"]
    axes.plot(sure, right, color=colour, linewidth=1.4)
    total = sum(each["count"] for each in bins)
    areas = [8 + 300 * each["count"] / total for each in bins]
    axes.scatter(sure, right, s=areas, color=colour, zorder=3, linewidths=0, alpha=0.6)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="sure", ylabel="right")
    return figure
