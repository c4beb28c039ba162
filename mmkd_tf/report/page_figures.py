"""Figures of one run's page, beside those under damage: what it costs, how it learnt, how sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from mmkd_tf.report.figures import CURVES, PAGE_COLOURS, page_axes

_HEIGHT_OF_LABEL = 0.08  # of the panel
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
    _label(axes, points)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(cost)
    axes.set_ylabel(score)
    return figure


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Writes names beside points, on the side where there is room, none over another."""
    to_axes = axes.transData + axes.transAxes.inverted()
    sides: dict[str, list] = {"left": [], "right": []}
    for point in points:
        place = tuple(to_axes.transform((point.cost, point.score)))
        sides["left" if place[0] < 0.5 else "right"].append((place, point.label))
    line = {"arrowstyle": "-", "color": PAGE_COLOURS["line"], "shrinkA": 0, "shrinkB": 4}
    for side, named in sides.items():
        named.sort(key=lambda each: (each[0][1], -each[0][0]))
        heights: list[float] = []
        for (_, height), _ in named:
            heights.append(max([height, *(h + _HEIGHT_OF_LABEL for h in heights[-1:])]))
        lower = max([0.0, *(height - 1 for height in heights[-1:])])
        for (place, label), height in zip(named, heights, strict=True):
            axes.annotate(
                label,
                xy=place,
                xytext=(place[0] + (0.035 if side == "left" else -0.035), height - lower),
                xycoords="axes fraction",
                textcoords="axes fraction",
                ha=side,
                va="center",
                arrowprops=line if abs(height - lower - place[1]) > 0.02 else None,
                **_WORDS,
            )


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
