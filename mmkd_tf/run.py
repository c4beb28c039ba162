"""The main job from top to bottom: data, teacher, soft targets, student, evaluation, exports."""

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.batches import batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.table import from_table
from mmkd_tf.data.tfds import from_tfds
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.evaluate.by_task import agreement, measure
from mmkd_tf.evaluate.metrics import gap_closed
from mmkd_tf.export_job import export_all
from mmkd_tf.models.classifier import build_student, build_teacher, document_teacher
from mmkd_tf.models.fusion import Attention, Concatenation, WeightedSum
from mmkd_tf.models.routing import route
from mmkd_tf.models.seeding import seeded
from mmkd_tf.models.two_tower import build_two_tower_student, build_two_tower_teacher
from mmkd_tf.recipe import check_settings, distillation_terms, soft_target_loss_name
from mmkd_tf.report.model_card import model_card
from mmkd_tf.report.progress import Reporter
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

    for name in ("teacher", "student_alone", "student"):
        trained = folder.load_model(name)
        if trained is None:
            title = _TITLES[name].format(parameters=models[name].count_params())
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
        predicted = {name: predict(model, dataset) for name, model in models.items()}
        evaluated = {
            name: {"parameters": models[name].count_params(), **evaluate(predicted[name], dataset)}
            for name in models
        }
        evaluated["student"]["agreement_with_teacher"] = agreement(
            dataset.task,
            teacher_outputs=predicted["teacher"]["test"],
            student_outputs=predicted["student"]["test"],
        )
    with _stage(folder, reporter, "exports", "Exporting the student and comparing with Keras"):
        exports = export_all(models["student"], dataset, config, folder.path)

    headline = HEADLINES[dataset.task]
    loss_name = soft_target_loss_name(config, dataset.task)
    figures = {name: values["test"][headline] for name, values in evaluated.items()}
    results = {
        "task": dataset.task,
        "dataset": _describe(dataset),
        **evaluated,
        "gap_closed": gap_closed(**figures),
        "exports": exports,
        "seconds": folder.seconds(),
        "peak_memory_mib": _peak_memory_mib(),
        "versions": versions("ai-edge-litert"),
        "seed": config.seed,
        "config": config.model_dump() | {"soft_target_loss": loss_name},
    }
    folder.write_text("model_card.md", model_card(results))
    folder.write_text(RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    folder.finish()
    return results


_TITLES = {
    "teacher": "Training the teacher ({parameters:,} parameters)",
    "student_alone": "Training the student alone ({parameters:,} parameters), for comparison",
    "student": "Distilling the student from the teacher ({parameters:,} parameters)",
}
_FUSIONS = {"concatenation": Concatenation, "weighted_sum": WeightedSum, "attention": Attention}


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
    return read(
        config.data, **columns, validation=config.validation, test=config.test, options=options
    )


def untrained(config: RunConfig, dataset: Dataset) -> dict[str, keras.Model]:
    """Builds teacher, student_alone and student; both students begin with the same weights."""
    fusion = _FUSIONS[config.fusion]
    widths = ({}, {}) if fusion is Concatenation else ({"fused_dim": 128}, {"fused_dim": 32})
    if dataset.task == "retrieval":
        teacher = build_two_tower_teacher(dataset, embedding_dim=config.embedding_dim)
        student = build_two_tower_student(dataset, embedding_dim=config.embedding_dim)
    elif config.teacher == "document":
        teacher = document_teacher(dataset.num_classes)
        student = build_student(dataset, fusion=fusion(name="fusion", **widths[1]))
    else:
        teacher = build_teacher(dataset, fusion=fusion(name="fusion", **widths[0]))
        student = build_student(dataset, fusion=fusion(name="fusion", **widths[1]))
    return {
        "teacher": seeded(teacher, seed=2 * config.seed),
        "student_alone": seeded(student, seed=2 * config.seed + 1),
        "student": seeded(student, seed=2 * config.seed + 1),
    }


def train_model(
    name: str,
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    config: RunConfig,
    *,
    backup: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains one of the models in place.

    Args:
        name: `teacher`, `student_alone` or `student`; the last is distilled from the teacher.
        models: By name, what `untrained` gives; for `student`, with a trained teacher
            or what `cache_soft_targets` kept of it.
        dataset: The data.
        config: The settings.
        backup: Folder for the state after each epoch, from which an interrupted training goes on.
        callbacks: Keras callbacks.
    """
    rate = config.learning_rate if name == "teacher" else config.student_learning_rate
    recipe = Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=rate,
        weight_decay=config.weight_decay,
        augment=config.augment,
        seed=config.seed,
    )
    where = {"backup": backup, "callbacks": callbacks}
    if name != "student":
        train(models[name], dataset, recipe, **where)
        return
    distill(
        student=models["student"],
        teacher=models["teacher"],
        dataset=dataset,
        recipe=recipe,
        terms=distillation_terms(config, dataset),
        hard_label_weight=config.hard_label_weight,
        on_wrong_teacher=config.on_wrong_teacher,
        **where,
    )


def predict(model: keras.Model, dataset: Dataset) -> dict[str, np.ndarray]:
    """Runs a model over validation and test: by split, float32 `[examples, num_classes]`."""
    logits = {}
    for split in ("validation", "test"):
        parts = [model(route(model, x), training=False) for x, _ in batches(dataset, split)]
        logits[split] = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return logits


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
