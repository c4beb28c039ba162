"""The main job from top to bottom: data, teacher, soft targets, student, evaluation, exports."""

import json
import resource
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.student_form import for_student
from mmkd_tf.data.table import from_table
from mmkd_tf.data.tfds import from_tfds
from mmkd_tf.evaluate.by_task import agreement, measure, score
from mmkd_tf.evaluate.metrics import gap_closed
from mmkd_tf.evaluate.modality_weights import modality_weights
from mmkd_tf.evaluate.robustness import robustness
from mmkd_tf.export_job import export_all
from mmkd_tf.recipe import check_settings, soft_target_settings
from mmkd_tf.report.model_card import model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.progress import Reporter
from mmkd_tf.roles import STUDENTS, predict, seen_by, train_model, untrained
from mmkd_tf.run_folder import RESULTS_FILE, RunFolder, versions
from mmkd_tf.tasks import HEADLINES

LABELS_FILE = "labels.txt"
VOCABULARY_FILE = "vocabulary.txt"


def run(config: RunConfig, folder: RunFolder, reporter: Reporter) -> dict:
    """Trains, distils, evaluates and exports; each stage that is done already is read instead.

    Args:
        config: The settings.
        folder: Where the files go; `begin` or `resume` was called.
        reporter: Tells a person what happens.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: If the data can't be used; nothing was trained then.
    """
    with _stage(folder, reporter, "data", "Reading the data"):
        dataset = load_dataset(config)
    reporter.say(repr(dataset))
    check_settings(config, dataset.task)
    folder.check_same_data(dataset.fingerprint())
    models = untrained(config, dataset)
    folder.check_space(40 * sum(model.count_params() for model in models.values()) + 2**25)
    _write_lists(folder, dataset)

    for name in models:
        trained = folder.load_model(name)
        if trained is None:
            title = _title(name, models[name].count_params())
            with _stage(folder, reporter, name, title):
                train_model(
                    name,
                    models,
                    dataset,
                    config,
                    backup=folder.state / name,
                    callbacks=[reporter.epochs(config.epochs)],
                )
                folder.save_model(name, models[name])
        else:
            models[name] = trained

    with _stage(folder, reporter, "evaluation", "Evaluating on the test split"):
        predicted = {name: predict(name, model, dataset) for name, model in models.items()}
        evaluated = {
            name: {"parameters": models[name].count_params(), **evaluate(predicted[name], dataset)}
            for name in models
        }
        weights = {
            name: modality_weights(model, seen_by(name, dataset)) for name, model in models.items()
        }
        evaluated["student"]["agreement_with_teacher"] = agreement(
            dataset.task,
            teacher_outputs=predicted["teacher"]["test"],
            student_outputs=predicted["student"]["test"],
        )
    measured = None
    if config.robustness:
        with _stage(folder, reporter, "robustness", "Evaluating with inputs absent or damaged"):
            measured = _robustness(models, dataset, config)
    with _stage(folder, reporter, "exports", "Exporting the student and comparing with Keras"):
        exports = export_all(models["student"], seen_by("student", dataset), config, folder.path)

    headline = HEADLINES[dataset.task]
    figures = {name: evaluated[name]["test"][headline] for name in _COMPARED}
    results = {
        "task": dataset.task,
        "dataset": _describe(dataset),
        **evaluated,
        "gap_closed": gap_closed(**figures),
        "robustness": measured,
        "modality_weights": weights,
        "exports": exports,
        "seconds": folder.seconds(),
        "peak_memory_mib": _peak_memory_mib(),
        "versions": versions("ai-edge-litert"),
        "seed": config.seed,
        "config": config.model_dump() | soft_target_settings(config, dataset.task),
    }
    folder.write_text("model_card.md", model_card(results))
    folder.write_text("report.html", report_page(results))
    folder.write_text(RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    folder.finish()
    return results


_COMPARED = ("teacher", "student_alone", "student")
_TITLES = {
    "teacher": "Training the teacher ({parameters:,} parameters)",
    "student_alone": "Training the student alone ({parameters:,} parameters), for comparison",
    "student": "Distilling the student from the teacher ({parameters:,} parameters)",
}


def _title(name: str, parameters: int) -> str:
    expert = f"Training the {name.replace('_', ' ')} ({{parameters:,}} parameters)"
    return _TITLES.get(name, expert).format(parameters=parameters)


def load_dataset(config: RunConfig) -> Dataset:
    """Reads the table or TensorFlow dataset that a config names."""
    options = DatasetOptions(
        image_size=config.image_size,
        text_length=config.text_length,
        vocabulary_size=config.vocabulary_size,
        seed=config.seed,
        skip_bad_rows=config.skip_bad_rows,
        allow_outside=config.allow_outside,
        task=config.task,
        label_separator=config.label_separator,
    )
    is_table = Path(config.data).suffix.lower() in (".csv", ".tsv", ".parquet", ".pq")
    read = from_table if is_table or Path(config.data).is_file() else from_tfds
    columns = {"image": config.image, "text": config.text, "label": config.label}
    dataset = read(
        config.data, **columns, validation=config.validation, test=config.test, options=options
    )
    return for_student(
        dataset,
        image_size=config.student_image_size,
        text_length=config.student_text_length,
        vocabulary_size=config.student_vocabulary_size,
    )


def evaluate(logits: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, dict]:
    """Measures a model on the splits for which its logits are given."""
    return {
        split: measure(
            dataset.task,
            labels=dataset.splits[split].labels,
            outputs=values,
            class_names=dataset.class_names,
        )
        for split, values in logits.items()
    }


def _robustness(models: Mapping, dataset: Dataset, config: RunConfig) -> dict:
    """Measures all models on the same damaged inputs; students alone if theirs are others."""
    seen = seen_by("student", dataset)
    if seen.modalities != dataset.modalities:
        models = {name: models[name] for name in STUDENTS}
    return robustness(
        models,
        seen,
        score=partial(score, dataset.task),
        can_lack=dataset.task != "retrieval",
        seed=config.seed,
    )


def _stage(folder, reporter, name, title):
    return reporter.stage(title, lambda seconds: folder.add_seconds(name, seconds))


def _write_lists(folder: RunFolder, dataset: Dataset) -> None:
    if dataset.class_names:
        folder.write_text(LABELS_FILE, "\n".join(dataset.class_names) + "\n")
    if "text" in dataset.modalities:
        words = dataset.modalities["text"].vocabulary
        folder.write_text(VOCABULARY_FILE, "\n".join(words) + "\n")


def _describe(dataset: Dataset) -> dict:
    return {
        "name": dataset.name,
        "sizes": dataset.sizes,
        "class_names": dataset.class_names,
        "class_counts": dataset.class_counts,
        **_target_ranges(dataset),
        "modalities": {name: m.describe() for name, m in dataset.modalities.items()},
        "notes": list(dataset.notes),
    }


def _target_ranges(dataset: Dataset) -> dict:
    """Of regression, mean and standard deviation of each training target."""
    if dataset.target_statistics is None:
        return {}
    columns = zip(dataset.class_names, *dataset.target_statistics, strict=True)
    return {
        "targets": {
            name: {"mean": float(mean), "standard_deviation": float(deviation)}
            for name, mean, deviation in columns
        }
    }


def _peak_memory_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
