"""What a run's page shows beside tables and sentences: tiles, pictures, and what is missing."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from mmkd_tf.report import run_tables as tables
from mmkd_tf.report import sentences as say
from mmkd_tf.report.figures import damage_figure, svg
from mmkd_tf.report.page_figures import Point, cost_figure, learning_figure, reliability_figure
from mmkd_tf.report.tables import capitalized
from mmkd_tf.report.verdict import comparison_of, score_words

_KIB = 1024
_BYTES_OF_WEIGHT = 4  # float32


def tiles(results: Mapping) -> list[tuple[str, str]]:
    """What came out, in a few figures, each with its meaning."""
    student, teacher, task = results["student"], results["teacher"], say.task_of(results)
    headline, key = task.words.headline, task.headline
    found = [
        (score_words(task, student["test"][key]), f"{headline} of the distilled student"),
        (score_words(task, teacher["test"][key]), f"{headline} of its teacher"),
    ]
    if naive := comparison_of(results)["naive"]:
        found.append((score_words(task, naive["score"]), naive["words"]))
    smaller = f"{teacher['parameters'] / max(student['parameters'], 1):,.0f} x"
    counts = f"{student['parameters']:,} for {teacher['parameters']:,}"
    found.append((smaller, f"fewer parameters: {counts}"))
    files = [made for made in results.get("exports", []) if made["file"].endswith(".tflite")]
    if files:
        made = min(files, key=lambda file: file["bytes"])
        meaning = f"{made['file']}, {made['latency_ms']:.2g} ms a call"
        found.append((f"{made['bytes'] / _KIB:,.0f} KiB", meaning))
    return found


def costs(results: Mapping) -> list[Markup]:
    """Pictures of size and of latency against the task's figure."""
    task = say.task_of(results)
    score, key = task.words.headline, task.headline
    models = {name: results[name] for name in say.MODELS if name in results}
    files = [made for made in results["exports"] if made.get("test_accuracy") is not None]
    sizes = [
        Point(
            say.MODELS[name],
            _BYTES_OF_WEIGHT * max(model["parameters"], 1) / _KIB,
            model["test"][key],
            is_file=False,
        )
        for name, model in models.items()
    ]
    sizes += [Point(each["file"], each["bytes"] / _KIB, each["test_accuracy"]) for each in files]
    shown: list[tuple] = [(sizes, "KiB", {})]
    times = [
        Point(
            each["file"],
            each["latency_ms"],
            each["test_accuracy"],
            spread=each.get("latency_spread_ms"),
        )
        for each in files
        if each.get("latency_ms")
    ]
    if times:
        shown.append((times, "ms a call", {"teacher": models["teacher"]["test"][key]}))
    return [
        svg(
            cost_figure(points, cost=cost, score=score, lines=at),
            name=f"cost-{cost}",
            label=f"{capitalized(score)} against {cost}: "
            + "; ".join(f"{p.label} {p.score:.3f} at {p.cost:,.3g}" for p in points)
            + "".join(f"; {name} {height:.3f}" for name, height in at.items())
            + ".",
        )
        for points, cost, at in shown
    ]


def learning_curves(results: Mapping) -> dict[str, dict[str, tuple[list, list]]]:
    """By figure on validation, for each model its epochs and values; the task's figures first."""
    curves: dict[str, dict] = {}
    for model, figures in (results.get("history") or {}).items():
        for name, values in figures.items():
            if not name.startswith("val_"):
                continue
            pairs = zip(figures["epoch"], values, strict=True)
            known = [(epoch, value) for epoch, value in pairs if value is not None]
            if known:
                epochs, shown = map(list, zip(*known, strict=True))
                curves.setdefault(name.removeprefix("val_"), {})[model] = (epochs, shown)
    return dict(sorted(curves.items(), key=lambda item: item[0] == "loss"))


def learning(results: Mapping) -> list[dict]:
    """Title and picture of each figure by epoch."""
    return [
        {
            "title": f"{name.replace('_', ' ')} on validation",
            "picture": svg(
                learning_figure(of_models, score=name.replace("_", " ")),
                name=f"learning-{name}",
                label=f"{capitalized(name.replace('_', ' '))} on validation by epoch: "
                + ", ".join(
                    f"{model_title(model)} from {values[0]:.3f} to {values[-1]:.3f}"
                    for model, (_, values) in of_models.items()
                )
                + ".",
            ),
        }
        for name, of_models in learning_curves(results).items()
    ]


def learnt(results: Mapping) -> list[tuple[str, str]]:
    """Name and title of the models that have a history."""
    return [(name, model_title(name)) for name in results.get("history") or {}]


def model_title(name: str) -> str:
    """What people call a model of a run."""
    return say.MODELS.get(name, name.replace("_", " "))


def reliability(results: Mapping) -> list[dict]:
    """Title and picture of how sure and how right each model is."""
    return [
        {
            "title": model_title(name),
            "picture": svg(
                reliability_figure(bins, name=name),
                name=f"reliability-{name}",
                label=f"How often the {model_title(name)} is right by how sure it is: "
                + ", ".join(f"{b['right']:.2f} at {b['confidence']:.2f}" for b in bins)
                + ".",
            ),
        }
        for name in say.MODELS
        if (bins := (results.get("reliability") or {}).get(name))
    ]


def tells_of_inputs(results: Mapping) -> bool:
    """Whether there is something to say of what each input gives."""
    absent = (results.get("robustness") or {}).get("absent", {}).get("student")
    unknown = results["dataset"].get("unknown_words")
    return bool(absent or unknown or tables.weights(results).rows)


def damage_keys(results: Mapping) -> list[tuple[str, str]]:
    """Name and title of the models that were looked at under damage."""
    kinds = (results.get("robustness") or {"damage": {}})["damage"].values()
    return [
        (name, title)
        for name, title in say.MODELS.items()
        if any(name in found["score"] for found in kinds)
    ]


def damages(results: Mapping) -> list[dict]:
    """Title, measure and picture of each kind of damage."""
    measured = results.get("robustness") or {"damage": {}}
    return [_damage(kind, results) for kind in measured["damage"]]


def _damage(kind: str, results: Mapping) -> dict:
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


def group_words(results: Mapping, group: Mapping) -> tuple[str, str]:
    """Title of a group of examples, and what it holds."""
    probable = say.task_of(results).gives_probabilities
    number = f"{group['total']:,}"
    if group["name"] == "mistakes" and probable:
        return (
            "Confident mistakes",
            f"The distilled student is wrong in {number} test examples; here it was most sure.",
        )
    titles = {
        "mistakes": ("Largest errors", "Where the distilled student is furthest off."),
        "disagreements": (
            "Teacher and student disagree",
            f"They do not say the same of {number} test examples; these differ most.",
        ),
        "unsure": ("Least sure", "Where the distilled student was least sure of its answer."),
    }
    return titles.get(group["name"], (group["name"], ""))


def missing(results: Mapping, examples: Sequence | None) -> list[str]:
    """Says what the page would show and these results do not hold."""
    if "student" not in results:
        there = [model_title(name) for name in results.get("history") or {}]
        trained = f" So far there are epochs of: {', '.join(there)}." if there else ""
        return [
            "The run has not finished, so nothing was measured yet." + trained,
            "Go on with mmkd-tf run --output FOLDER --resume.",
        ]
    said = {
        "Intervals and the answer that looks at no input": "test_comparison" not in results,
        "Learning curves": not results.get("history"),
        "Examples": examples is None,
        "How sure the models are": "reliability" not in results
        and say.task_of(results).gives_probabilities,
        "The exported files": not results.get("exports"),
        "Unknown words": "unknown_words" not in results["dataset"],
    }
    lacks = [name for name, is_missing in said.items() if is_missing]
    if not lacks:
        return []
    return [f"Not kept by the version that made these results, or not there: {'; '.join(lacks)}."]
