"""The main job from top to bottom: data, teacher, soft targets, student, evaluation, exports."""

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import TRANSFER, Dataset
from mmkd_tf.data.unlabelled import OF_TRAINING, REPEATS
from mmkd_tf.distill.calibration import file_calibration
from mmkd_tf.distill.replicas import strategy_by_name
from mmkd_tf.distill.training import check_strategy, class_weights
from mmkd_tf.evaluate.robustness import modality_weights, robustness
from mmkd_tf.evaluate.statistics import gap_closed
from mmkd_tf.export.early import export_problems
from mmkd_tf.export.export_all import export_all
from mmkd_tf.modalities.modality import student_inputs
from mmkd_tf.models.cross_fitted import heads_of, temperatures_of
from mmkd_tf.report import sentences as say
from mmkd_tf.report.card import model_card
from mmkd_tf.report.history import History
from mmkd_tf.report.progress import Reporter
from mmkd_tf.report.verdict import verdict
from mmkd_tf.runs.callbacks import check_callbacks, named_callbacks
from mmkd_tf.runs.data import load_dataset, read_dataset, with_features
from mmkd_tf.runs.folder import TRANSFER_FILE, RunFolder, versions
from mmkd_tf.runs.report import keep_test_outputs, write_report, write_results
from mmkd_tf.runs.roles import (
    STUDENTS,
    inherited_from,
    num_parameters,
    predict,
    seen_by,
    untrained,
)
from mmkd_tf.runs.training import (
    choose_teacher,
    compare_teacher,
    finetuned_encoders,
    keep_soft_targets,
    student_terms,
    train_model,
    transfer_rows,
)
from mmkd_tf.settings.groups import ExportSettings

LABELS_FILE = "labels.txt"
TITLES = {
    "student_alone": "Training the student alone ({}), for comparison",
    "student_scratch": "Training the student from scratch ({}), for comparison",
    "student": "Distilling the student from the teacher ({})",
}


def run(config: RunConfig, folder: RunFolder, reporter: Reporter) -> dict:
    """Trains, distils, evaluates and exports; each stage that is done already is read instead.

    The folder was given its settings by `begin` or `resume`. Gives what `results.json` holds.
    """

    def stage(name: str, title: str):
        return reporter.stage(title, lambda seconds: folder.add_seconds(name, seconds))

    check_callbacks(config)
    if (strategy := strategy_by_name(config.training.strategy)) is not None:
        reporter.say(f"Models are trained on {strategy.num_replicas_in_sync} devices together.")
    with stage("data", "Reading the data"):
        raw = read_dataset(config)
        dataset = with_features(raw, config)
    reporter.say(repr(dataset))
    task = dataset.task
    config = _checked(config, dataset)
    folder.check_same_data(dataset.fingerprint())
    given, comparison = config, None
    if config.teacher_candidates:
        comparison = choose_teacher(config, dataset, folder, reporter)
        reporter.say(say.teacher_comparison({"task": task.name, "teacher_comparison": comparison}))
        config = config.with_teacher(comparison["chosen"])
        dataset = with_features(dataset, config)
    tuned, finetuning = (), None
    if config.teacher.finetune != "none":
        with stage("finetuning", "Training the teacher's encoders on"):
            encoders, found = finetuned_encoders(config, raw, folder, [reporter.epochs()])
            if found.kept:
                tuned = (encoders, folder.state / "features")
                dataset = with_features(raw, config, *tuned)
        finetuning = {"part": config.teacher.finetune, **found.describe()}
        reporter.say(say.finetuning({"finetuning": finetuning}))
    del raw  # what only a fine-tuning reads
    models, history = untrained(config, dataset), History(folder.path)
    folder.check_space(40 * sum(model.count_params() for model in models.values()) + 2**25)
    _write_lists(folder, dataset)

    for name in models:
        if name == "student":
            helping = compare_teacher(models, dataset)
            known = {"task": task.name, "config": given.model_dump(), "can_help": helping}
            reporter.say(say.can_help(known))
        trained = folder.load_model(name, like=models[name])
        if trained is not None:
            models[name] = trained
            continue
        doing = TITLES.get(name, f"Training the {name.replace('_', ' ')} ({{}})")
        number = num_parameters(name, models[name], config)
        with stage(name, doing.format(f"{number:,} parameters")):
            teaching: dict[str, Any] = {}
            named: list[keras.callbacks.Callback] = []
            if not heads_of(models[name]):  # a loop of their own trains them
                named = named_callbacks(config, name, dataset, folder.path)
            if name == "student":
                terms, where = student_terms(config, dataset), folder.state / "soft_targets"
                teaching |= keep_soft_targets(models, dataset, config, terms=terms, folder=where)
                rows = transfer_rows(models["teacher"], dataset, config, *tuned, say=reporter.say)
                teaching[TRANSFER] = rows
                if rows is not None:
                    counts = {n: dataset.transfer_counts.get(n, 0) for n in (REPEATS, OF_TRAINING)}
                    with folder.artefact(TRANSFER_FILE) as unfinished:
                        unfinished.write_text(json.dumps({**rows.describe(), **counts}))
            train_model(
                name,
                models | teaching,
                dataset,
                config,
                backup=folder.backup(name),
                callbacks=[
                    reporter.epochs(config.training.epochs),
                    history.callback(name),
                    *named,
                ],
            )
            folder.save_model(name, models[name])

    with stage("evaluation", "Evaluating on the test split"):
        predicted = {name: predict(name, model, dataset) for name, model in models.items()}
        evaluated: dict[str, dict[str, Any]] = {
            name: {
                "parameters": num_parameters(name, model, config),
                **evaluate(predicted[name], dataset),
            }
            for name, model in models.items()
        }
        weights = {
            name: modality_weights(model, seen_by(name, dataset)) for name, model in models.items()
        }
        evaluated["student"]["agreement_with_teacher"] = task.agreement(
            teacher_outputs=predicted["teacher"]["test"],
            student_outputs=predicted["student"]["test"],
        )
        kept = keep_test_outputs(
            folder, dataset, {name: each["test"] for name, each in predicted.items()}
        )
        if task.gives_probabilities and (found := temperatures_of(models["teacher"])):
            evaluated["teacher"]["temperatures"] = found
    calibration = None
    if config.export.calibrate:
        calibration = file_calibration(predicted["student"], dataset)
    measured = None
    if config.robustness:
        with stage("robustness", "Evaluating with inputs absent or damaged"):
            seen = seen_by("student", dataset)
            # Where the students' inputs are others, the teachers can't be shown the same.
            alike = [
                name for name in models if name in STUDENTS or seen.modalities == dataset.modalities
            ]
            measured = robustness({name: models[name] for name in alike}, seen, seed=config.seed)
    transfer, file = None, folder.path / TRANSFER_FILE
    if file.is_file():
        share = config.distillation.transfer_share
        transfer = {**json.loads(file.read_text(encoding="utf-8")), "share": share}
    compared = ("teacher", "student_alone", "student")
    results = {
        "task": task.name,
        "dataset": _describe(dataset),
        **evaluated,
        **kept,
        "gap_closed": gap_closed(**{n: evaluated[n]["test"][task.headline] for n in compared}),
        "teacher_comparison": comparison,
        "finetuning": finetuning,
        "can_help": helping,
        "robustness": measured,
        "modality_weights": weights,
        "inherited": inherited_from(config, dataset),
        "transfer": transfer,
        "calibration": calibration,
        "history": history.read(),
        "versions": versions("ai-edge-litert"),
        "seed": config.seed,
        "config": given.model_dump(),
    }
    results["verdict"] = asdict(verdict(results))
    reporter.say(results["verdict"]["sentence"])
    with stage("exports", "Exporting the student and comparing with Keras"):
        results["exports"] = export_all(
            models["student"],
            seen_by("student", dataset),
            export_settings(config, dataset),
            folder.path,
            quantize=config.export.quantize,
            temperature=calibration["temperature"] if calibration else None,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results["seconds"] = folder.seconds()
    results["peak_memory_mib"] = round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
    folder.write_text("model_card.md", model_card(results))
    write_report(folder, results)
    written = write_results(folder, results)
    folder.finish()
    return written


def _checked(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Fills in what the task decides; refuses before any training what would fail after it."""
    problems = []
    try:
        config = config.for_task(dataset.task)
        class_weights(dataset, config.training.class_weight)
        training, terms = config.training, student_terms(config, dataset)
        check_strategy(training.strategy, training.precision, dataset, terms)
    except ValueError as error:
        problems.append(str(error))
    problems += export_problems(seen_by("student", dataset), export_settings(config, dataset))
    if problems:
        raise ValueError("\n".join(problems))
    return config


def export_settings(config: RunConfig, dataset: Dataset) -> ExportSettings:
    """The settings of exports; the licence names what the student inherited too."""
    inherited = inherited_from(config, dataset)
    credits = [f"{name} inherits from {of}" for name, of in inherited.items()]
    licence = "; ".join([*filter(None, [config.export.licence]), *credits])
    return config.export.model_copy(update={"licence": licence or None})


def export_temperature(
    name: str, model: keras.Model, dataset: Dataset, config: RunConfig
) -> float | None:
    """What the files of a model divide logits by, see `load_finished`; None where by nothing."""
    if not config.export.calibrate:
        return None
    found = file_calibration(predict(name, model, dataset, ["validation"]), dataset)
    return found["temperature"] if found else None


def evaluate(outputs: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, dict]:
    """Measures a model on the splits for which its outputs are given."""
    return {
        split: dataset.task.measure(
            labels=dataset.splits[split].labels,
            outputs=values,
            names=dataset.class_names,
            inputs=list(student_inputs(dataset.modalities)),
        )
        for split, values in outputs.items()
    }


def load_finished(path: Path, name: str) -> tuple[RunConfig, keras.Model, Dataset]:
    """Reads settings, the model of a role and the data, as it reads them, of a finished run."""
    folder = RunFolder(path)
    config, model = folder.read_config(), folder.load_model(name)
    if model is None:
        raise ValueError(
            f"`--model`: a model that the run has made. Received: {name}; the folder has "
            f"{sorted(file.stem for file in folder.path.glob('*.keras'))}. A released folder has "
            "none: make the run anew with its settings, mmkd-tf run --config config.yaml."
        )
    dataset = load_dataset(config)
    folder.check_same_data(dataset.fingerprint())
    if config.teacher_candidates and (comparison := folder.read_comparison()):
        config = config.with_teacher(comparison["chosen"])
    if name not in STUDENTS and config.teacher_is_pretrained:
        raise ValueError(
            f"`--model`: one of {', '.join(STUDENTS)}. Received: {name}, which reads what frozen "
            f"encoders of {num_parameters(name, model, config):,} parameters say, too many for a "
            "phone."
        )
    return config, model, seen_by(name, dataset)


def _write_lists(folder: RunFolder, dataset: Dataset) -> None:
    """Writes the outputs' names and what else a reader of files needs, such as vocabularies."""
    if dataset.class_names:
        folder.write_text(LABELS_FILE, "\n".join(dataset.class_names) + "\n")
    for name, modality in student_inputs(dataset.modalities).items():
        for file, text in modality.files().items():
            prefix = "" if name == modality.kind else f"{name}_"
            file = {"vocab.txt": "vocabulary.txt"}.get(file, file)
            folder.write_text(prefix + file, text.removesuffix("\n") + "\n")


def _describe(dataset: Dataset) -> dict:
    described = {
        "name": dataset.name,
        "sizes": dataset.sizes,
        "class_names": dataset.class_names,
        "class_counts": dataset.class_counts,
    }
    if dataset.target_statistics is not None:
        columns = zip(dataset.class_names, *dataset.target_statistics, strict=True)
        described["targets"] = {
            name: {"mean": float(mean), "standard_deviation": float(deviation)}
            for name, mean, deviation in columns
        }
    return {
        **described,
        "modalities": {name: m.describe() for name, m in dataset.modalities.items()},
        "inputs": {n: {"kind": m.kind} for n, m in student_inputs(dataset.modalities).items()},
        "unknown_words": _unknown_words(dataset),
        "notes": list(dataset.notes),
    }


def _unknown_words(dataset: Dataset) -> dict[str, float]:
    """By text, the share of the test split's words that the student does not know."""
    shares = {
        name: modality.unknown_share(dataset.splits["test"].inputs[name])
        for name, modality in student_inputs(dataset.modalities).items()
    }
    return {name: round(share, 4) for name, share in shares.items() if share is not None}
