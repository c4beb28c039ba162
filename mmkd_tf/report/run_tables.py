"""The tables of a run: each is made here, of what `results.json` holds, wherever it is shown."""

from collections.abc import Mapping, Sequence

from mmkd_tf.config import RunConfig
from mmkd_tf.modalities.modality import TEACHER_PREFIX
from mmkd_tf.report.sentences import MODELS, damage_title, kinds, task_of
from mmkd_tf.report.tables import Table, figure
from mmkd_tf.setting_names import flat, full_names

_MOST_MISTAKES = 15
# By what a file gives: in which space it is compared with Keras.
_DIFFERENCES = {
    "probabilities": "logit difference",
    "values": "difference in standard deviations",
    "embedding": "difference of a number",
}


def comparison(results: Mapping) -> Table:
    """The models' figures on the test split."""
    task = task_of(results)
    models = {title: results[name] for name, title in MODELS.items() if name in results}
    rows = [
        (title, *_figures(model["test"], task.words.columns), f"{model['parameters']:,}")
        for title, model in models.items()
    ]
    columns = ("model", *(title for title, _, _ in task.words.columns), "parameters")
    shares = [model["test"][task.headline] for model in models.values()]
    return Table(columns, rows, bars={1: shares})


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
        task.words.headline,
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
            *_measured(made),
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
    columns = ("weights", "KiB", "ms per call", task.words.headline, _as_keras(task.words.same))
    columns += (f"largest {_DIFFERENCES[task.output]}", "")
    rows = []
    for level in made["ladder"]:
        verdict = "taken" if level["level"] == made["quantize"] else level.get("reason") or ""
        if level["bytes"] is None:
            rows.append((level["level"], *[""] * 5, f"can't be made: {verdict}"))
            continue
        figures = (
            *_measured(level),
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
    taken = results["seconds"]
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


def _measured(made: Mapping) -> tuple[str, str]:
    """Size and latency of a file or level."""
    return f"{made['bytes'] / 1024:,.1f}", figure(made.get("latency_ms"))


def _as_keras(same: str) -> str:
    return same if same.endswith("Keras") else f"{same} as Keras"
