"""The tables of a run: each is made here, of what `results.json` holds, wherever it is shown."""

from collections.abc import Mapping, Sequence

from mmkd_tf.config import RunConfig
from mmkd_tf.modalities.modality import TEACHER_PREFIX
from mmkd_tf.report.sentences import MODELS, damage_title, kinds, task_of
from mmkd_tf.report.tables import Table, figure
from mmkd_tf.report.verdict import difference_words, interval_words, naive_words
from mmkd_tf.settings.names import flat, full_names

_MOST_MISTAKES = 15
# By what a file gives: in which space it is compared with Keras.
_DIFFERENCES = {
    "probabilities": "logit difference",
    "values": "difference in standard deviations",
    "embedding": "difference of a number",
}


def comparison(results: Mapping) -> Table:
    """The models' figures on the test split, below them that of an answer that looks at no input.

    With the headline figure's 95 % interval where it is known.
    """
    task, compared = task_of(results), results.get("test_comparison")
    models = {name: results[name] for name in MODELS if name in results}
    rows, shares = [], []
    for name, model in models.items():
        first, *others = _figures(model["test"], task.words.columns)
        between = _between(task, compared, name)
        rows.append((MODELS[name], first, *between, *others, f"{model['parameters']:,}"))
        shares.append(model["test"][task.headline])
    if compared:
        score, further = compared["naive"]["score"], len(task.words.columns)
        between = _between(task, compared, "naive")
        rows.append((naive_words(compared), figure(score), *between, *["-"] * further))
        shares.append(score)
    first, *others = (title for title, _, _ in task.words.columns)
    columns = ("model", first, *(["95 %"] if compared else []), *others, "parameters")
    return Table(columns, rows, bars={1: shares})


def _between(task, compared: Mapping | None, name: str) -> list[str]:
    if not compared:
        return []
    return [" to ".join(figure(end) for end in compared["intervals"][name])]


# By name in `test_comparison`, what a difference says.
_BROUGHT = {
    "inheritance": "student alone less student from scratch: what inheritance brought",
    "teaching": "distilled student less student alone: what the teacher brought",
    "gap": "teacher less student alone: the gap",
    "to_teacher": "distilled student less its teacher",
    "over_naive": "distilled student less {naive}",
}


def brought(results: Mapping) -> Table:
    """Differences between the models with their intervals; no rows in older results."""
    if "test_comparison" not in results:
        return Table(("difference", "by", "95 %"), [])
    task, compared = task_of(results), results["test_comparison"]
    rows = [
        (
            title.format(naive=naive_words(compared)),
            difference_words(task, compared["differences"][name]["difference"]),
            interval_words(task, compared["differences"][name]["interval"], signed=True),
        )
        for name, title in _BROUGHT.items()
        if name in compared["differences"]
    ]
    return Table(("difference", f"{task.words.headline}", "95 %"), rows)


def epochs(results: Mapping) -> Table:
    """Of each model that has a history, its epochs and validation figures at the end."""
    history = results.get("history") or {}
    keys = [key for figures in history.values() for key in figures if key.startswith("val_")]
    keys = sorted(dict.fromkeys(keys), key=lambda key: key == "val_loss")
    rows = [
        (
            MODELS.get(model, model.replace("_", " ")),
            f"{len(figures['epoch']):,}",
            *(figure(figures.get(key, [None])[-1]) for key in keys),
        )
        for model, figures in history.items()
    ]
    titles = (key.removeprefix("val_").replace("_", " ") for key in keys)
    return Table(("model", "epochs", *(f"last {title}" for title in titles)), rows)


def reliability(results: Mapping) -> Table:
    """How often each model is right by how sure it is."""
    rows = [
        (
            MODELS.get(model, model),
            f"{each['confidence']:.3f}",
            f"{each['right']:.3f}",
            f"{each['count']:,}",
        )
        for model, bins in (results.get("reliability") or {}).items()
        for each in bins or ()
    ]
    return Table(("model", "sure", "right", "answers"), rows)


def contributions(results: Mapping) -> Table:
    """What models lose without each input; no rows where none was left out."""
    measured = results.get("robustness") or {"absent": {}}
    rows, shares, headline = [], [], task_of(results).words.headline
    for model, absent in measured["absent"].items():
        for name, score in absent.items():
            lost = measured["clean"][model] - score
            rows.append((MODELS.get(model, model), name, f"{lost:.3f}"))
            shares.append(lost)
    return Table(("model", "input", f"{headline} lost"), rows, num_words=2, bars={2: shares})


def outputs(results: Mapping) -> Table:
    """The distilled student's figures by class, label, target or direction."""
    task = task_of(results)
    words, found = task.words, results["student"]["test"].get(task.words.per_output, [])
    rows = [(each["name"], *_figures(each, words.output_columns)) for each in found]
    keys = [key for _, key, _ in words.output_columns]
    shown = task.headline if task.headline in keys else "recall"
    shares = [each.get(shown) or 0 for each in found]
    bars = {1 + keys.index(shown): shares} if shown in keys else {}
    columns = (words.output, *(title for title, _, _ in words.output_columns))
    return Table(columns, rows, bars=bars)


def mistakes(results: Mapping) -> Table:
    """What the distilled student takes for what, the most frequent first."""
    names = results["dataset"]["class_names"]
    counts = results["student"]["test"]["confusion_matrix"]
    found = sorted(
        (-count, names[label], names[called])
        for label, row in enumerate(counts)
        for called, count in enumerate(row)
        if count and label != called
    )
    rows = [(label, called, f"{-count:,}") for count, label, called in found[:_MOST_MISTAKES]]
    title = f"The most frequent of {len(found):,} kinds of mistakes"
    return Table(("class", "called", "examples"), rows, title, num_words=2)


def absence(results: Mapping) -> Table:
    """The models' headline figures with all inputs, and without each."""
    measured = results["robustness"]
    inputs = list(dict.fromkeys(name for found in measured["absent"].values() for name in found))
    rows = [
        (
            MODELS.get(model, model),
            *map(figure, (measured["clean"].get(model), *map(found.get, inputs))),
        )
        for model, found in measured["absent"].items()
    ]
    headline = task_of(results).words.headline
    return Table((headline, "all inputs", *(f"without {name}" for name in inputs)), rows)


def damage(results: Mapping) -> Table:
    """The models' robustness to each kind of damage, in one figure each."""
    kinds = results["robustness"]["damage"]
    shown = [
        (key, name, form)
        for key, form in (("relative", ".3f"), ("effective", "+.3f"))
        for name in MODELS
        if any(name in found[key] for found in kinds.values())
    ]
    rows = [
        (damage_title(kind), *(figure(found[key].get(name), form) for key, name, form in shown))
        for kind, found in kinds.items()
    ]
    return Table(("damage", *(f"{key}: {MODELS[name]}" for key, name, _ in shown)), rows)


def weights(results: Mapping) -> Table:
    """How much the models' fusions count each input; no rows if they have no weights."""
    rows, shares = [], []
    for model, by_input in (results.get("modality_weights") or {}).items():
        for name, weight in (by_input or {}).items():
            most = f"{weight['low']:.2f} to {weight['high']:.2f}"
            rows.append((MODELS.get(model, model), name, f"{weight['mean']:.2f}", most))
            shares.append(weight["mean"])
    columns = ("model", "input", "mean weight", "most examples")
    return Table(columns, rows, num_words=2, bars={2: shares})


def weights_by_class(results: Mapping) -> Table:
    """The distilled student's mean weights by class; no rows if there are none."""
    by_input = (results.get("modality_weights") or {}).get("student") or {}
    means = {name: weight.get("per_class") or {} for name, weight in by_input.items()}
    classes = list(next(iter(means.values()), ()))
    rows = [(name, *(figure(of.get(name), ".2f") for of in means.values())) for name in classes]
    return Table(("class", *means), rows, "Of the distilled student, class by class")


def files(exports: Sequence[Mapping]) -> Table:
    """The exported files, each with the keys of `mmkd_tf.export.Export`, beside Keras."""
    task = task_of(exports[0])
    columns = (
        "file",
        "weights",
        "KiB",
        "ms per call",
        "most calls",
        f"validation {task.words.headline}",
        "in Keras",
        f"largest {_DIFFERENCES[task.output]}",
        _as_keras(task.words.same),
        "on test",
        f"{task.words.headline} on test",
    )
    rows = [
        (
            made["file"],
            made["quantize"],
            _kib(made),
            figure(made.get("latency_ms")),
            _spread(made.get("latency_spread_ms")),
            figure(made.get("accuracy")),
            figure(made.get("keras_accuracy")),
            figure(made.get("max_abs_logit_difference"), ".2g"),
            figure(made.get("top1_agreement"), ".1%"),
            figure(made.get("test_top1_agreement"), ".1%"),
            figure(made.get("test_accuracy")),
        )
        for made in exports
    ]
    return Table(columns, rows, num_words=2)


def levels(exports: Sequence[Mapping]) -> list[Table]:
    """The levels of quantisation that were tried for each file, if they were."""
    return [_levels(made) for made in exports if made.get("ladder")]


def _levels(made: Mapping) -> Table:
    task = task_of(made)
    columns = ("weights", "KiB", "time", task.words.headline, _as_keras(task.words.same))
    columns += (f"largest {_DIFFERENCES[task.output]}", "")
    rows = []
    first = next((level["latency_ms"] for level in made["ladder"] if level["bytes"]), None)
    for level in made["ladder"]:
        verdict = "taken" if level["level"] == made["quantize"] else level.get("reason") or ""
        if level["bytes"] is None:
            rows.append((level["level"], *[""] * 5, f"can't be made: {verdict}"))
            continue
        figures = (
            _kib(level),
            figure(level["latency_ms"] / first if first else None, ".2f"),
            figure(level.get("accuracy")),
            figure(level.get("top1_agreement"), ".1%"),
            figure(level.get("max_abs_logit_difference"), ".2g"),
        )
        rows.append((level["level"], *figures, verdict))
    return Table(columns, rows, f"Levels tried for {made['file']}")


def inputs(results: Mapping) -> Table:
    """What each input is as models read it."""
    held = results["dataset"]["modalities"]
    rows = [(name.replace(TEACHER_PREFIX, "teacher's "), words) for name, words in held.items()]
    return Table(("input", "as the models read it"), rows, num_words=2)


def counts(results: Mapping) -> Table:
    """Number of examples by split, of each class too where they can be counted."""
    dataset = results["dataset"]
    rows = [("all", *(f"{size:,}" for size in dataset["sizes"].values()))]
    if task_of(results).counts_outputs and dataset.get("class_counts"):
        rows += [
            (name, *(f"{dataset['class_counts'][split][name]:,}" for split in dataset["sizes"]))
            for name in dataset["class_names"]
        ]
    return Table(("examples", *dataset["sizes"]), rows)


def targets(results: Mapping) -> Table:
    """Mean and deviation of each target in training; no rows where outputs are no numbers."""
    rows = [
        (name, f"{found['mean']:.4g}", f"{found['standard_deviation']:.4g}")
        for name, found in results["dataset"].get("targets", {}).items()
    ]
    return Table(("target, in training", "mean", "standard deviation"), rows)


def seconds(results: Mapping) -> Table:
    """How long each stage took."""
    taken = results.get("seconds", {})
    rows = [(stage.replace("_", " "), f"{value:,.1f}") for stage, value in taken.items()]
    return Table(("stage", "seconds"), [*rows, ("together", f"{sum(taken.values()):,.1f}")])


def software(results: Mapping) -> Table:
    """Versions of what the run was made with."""
    return Table(("software", "version"), list(results.get("versions", {}).items()))


def settings(results: Mapping) -> Table:
    """All settings of the run by their full names, with what they mean."""
    fields = {
        name: getattr(field.annotation, "model_fields", field)  # those of a group, or itself
        for name, field in RunConfig.model_fields.items()
    }
    of_inputs = {
        f"inputs.{name}.{own}": field
        for name, kind in kinds(results).items()
        for own, field in (kind.Options.model_fields if kind else {}).items()
    }
    known, rows = dict(flat(fields)) | of_inputs, []
    for name, value in flat(full_names(results.get("config", {}))):
        meaning = getattr(known.get(name), "description", None) or ""
        rows.append((name, "none" if value is None else str(value), meaning))
    return Table(("setting", "value", "meaning"), rows, num_words=3)


def _figures(measured: Mapping, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    return [figure(measured.get(key), form or ",") for _, key, form in columns]


def _kib(made: Mapping) -> str:
    return f"{made['bytes'] / 1024:,.1f}"


def _spread(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else " to ".join(figure(end) for end in ends)


def _as_keras(same: str) -> str:
    return same if same.endswith("Keras") else f"{same} as Keras"
