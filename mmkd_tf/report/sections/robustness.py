"""The section about inputs that are absent or damaged."""

from mmkd_tf.report.by_task import capitalized, task_of
from mmkd_tf.report.figures import damage_figure
from mmkd_tf.report.model_card import MODELS
from mmkd_tf.report.robustness_page import absent_rows, damage_title, headline, num_examples
from mmkd_tf.report.sections.html import Markup, paragraph, section, table, tag
from mmkd_tf.report.svg import svg

_TITLE = "With an input absent or damaged"


def robustness(results: dict) -> Markup:
    """Shows what the models keep where an input is absent or damaged.

    Args:
        results: What `results.json` holds.
    """
    measured = results.get("robustness")
    if not measured:
        return section(
            _TITLE,
            paragraph(
                "Not measured: the run was made with ", tag("code", "robustness: false"), "."
            ),
        )
    header, *rows = absent_rows(results, MODELS)
    parts = [
        paragraph(
            f"On {num_examples(results)}. Nothing was chosen by these figures. The damage is made "
            "by formulas and follows from the seed; what people's cameras and keyboards do is "
            "another matter."
        )
    ]
    if len(header) > 2:
        parts += [tag("h3", "Without an input"), table(header, rows)]
    elif task_of(results) != "retrieval":
        parts.append(paragraph("The models read one input, so none can be left out."))
    if measured["damage"]:
        parts += _damage(measured, headline(results))
    return section(_TITLE, *parts)


def _damage(measured: dict, score: str) -> list[Markup]:
    kinds = measured["damage"]
    shown = [name for name in MODELS if any(name in found["score"] for found in kinds.values())]
    keys = [tag("li", MODELS[name], class_=f"key {name}") for name in shown]
    said = f"{capitalized(score)} from clean inputs, on the left, to the strongest damage."
    if measured["absent"].get("student"):
        keys.append(tag("li", "distilled student without this input", class_="key absent"))
        said += (
            " Where the distilled student falls below the dotted line it would do better without "
            "the damaged input."
        )
    return [
        tag("h3", "Under damage"),
        paragraph(said),
        tag("ul", *keys, class_="keys"),
        tag("div", *(_panel(kind, measured, score) for kind in kinds), class_="panels"),
        tag("h3", "In one figure each"),
        _table(kinds, shown),
        paragraph(
            "Relative robustness: the area under the curve, a mean under damage. "
            "Effective robustness: the area between a model's curve and that of the student alone, "
            "both begun at the same figure; above 0 where damage takes less than from the "
            "student alone. Levels count as equal steps.",
            quiet=True,
        ),
    ]


def _panel(kind: str, measured: dict, score: str) -> Markup:
    found = measured["damage"][kind]
    absent = measured["absent"].get("student", {}).get(found["modality"])
    curves = [each["score"].values() for each in measured["damage"].values()]
    top = max(score for several in curves for curve in several for score in curve)
    said = ", ".join(
        f"{MODELS[name]} from {curve[0]:.2f} to {curve[-1]:.2f}"
        for name, curve in found["score"].items()
        if name in MODELS
    )
    picture = svg(
        damage_figure(found, score=score, absent=absent, top=top),
        name=kind,
        label=f"{capitalized(score)} under {damage_title(kind)}: {said}.",
    )
    caption = tag("strong", capitalized(damage_title(kind)))
    return tag("figure", tag("figcaption", caption, f": {found['measure']}"), picture)


def _table(kinds: dict, shown: list[str]) -> Markup:
    effective = [n for n in shown if any(n in found["effective"] for found in kinds.values())]
    columns = ["damage", *(f"relative: {MODELS[name]}" for name in shown)]
    columns += [f"effective: {MODELS[name]}" for name in effective]
    rows = [
        (
            damage_title(kind),
            *(_figure(found["relative"].get(name), ".3f") for name in shown),
            *(_figure(found["effective"].get(name), "+.3f") for name in effective),
        )
        for kind, found in kinds.items()
    ]
    return table(columns, rows)


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
