"""Roles: the models of a run, how each of them is built, trained and asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import RunConfig
from mmkd_tf.data.batches import batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.models.classifier import build_student, build_teacher, document_teacher
from mmkd_tf.models.named_fusions import student_fusion, teacher_fusion
from mmkd_tf.models.routing import route
from mmkd_tf.models.seeding import seeded
from mmkd_tf.models.two_tower import build_two_tower_student, build_two_tower_teacher
from mmkd_tf.recipe import distillation_terms

STUDENTS = ("student_alone", "student")


def untrained(config: RunConfig, dataset: Dataset) -> dict[str, keras.Model]:
    """Builds the models of a run, by role, in the order of training.

    `teacher`; where the settings ask for experts, a teacher of one modality for each that the
    student reads, `image_expert` and so on; `student_alone` and `student`, which begin with the
    same weights.
    """
    teacher, student = _teacher(config, dataset), _student(config, dataset)
    experts = [name for name in student.input if config.experts]
    return {
        "teacher": seeded(teacher, seed=2 * config.seed),
        **{
            expert_name(name): seeded(
                build_teacher(dataset, modalities=[name]), seed=2 * config.seed
            )
            for name in experts
        },
        "student_alone": seeded(student, seed=2 * config.seed + 1),
        "student": seeded(student, seed=2 * config.seed + 1),
    }


def _teacher(config: RunConfig, dataset: Dataset) -> keras.Model:
    if dataset.task == "retrieval":
        return build_two_tower_teacher(dataset, embedding_dim=config.embedding_dim)
    if config.teacher == "document":
        return document_teacher(dataset.num_classes)
    return build_teacher(
        dataset,
        fusion=teacher_fusion(config.fusion),
        modality_dropout=config.teacher_modality_dropout,
    )


def _student(config: RunConfig, dataset: Dataset) -> keras.Model:
    if dataset.task == "retrieval":
        return build_two_tower_student(dataset, embedding_dim=config.embedding_dim)
    return build_student(
        dataset,
        modalities=config.student_modalities,
        fusion=student_fusion(config.fusion),
        modality_dropout=config.modality_dropout,
    )


def expert_name(modality: str) -> str:
    """What the teacher of one modality is called, among teachers and in files."""
    return f"{modality}_expert"


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
        name: Its role; `student` is distilled from the teacher and the experts.
        models: By role, what `untrained` gives; for `student`, with trained teachers or what
            `cache_soft_targets` kept of them.
        dataset: The data.
        config: The settings.
        backup: Folder for the state after each epoch, from which an interrupted training goes on.
        callbacks: Keras callbacks.
    """
    rate = config.student_learning_rate if name in STUDENTS else config.learning_rate
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
        train(models[name], seen_by(name, dataset), recipe, **where)
        return
    teachers = {role: model for role, model in models.items() if role not in STUDENTS}
    distill(
        student=models["student"],
        teacher=teachers,
        dataset=dataset,
        recipe=recipe,
        terms=distillation_terms(config, dataset),
        hard_label_weight=config.hard_label_weight,
        on_wrong_teacher=config.on_wrong_teacher,
        **where,
    )


def seen_by(name: str, dataset: Dataset) -> Dataset:
    """The data as the model of a role reads them."""
    return dataset.seen_by(teacher=name not in STUDENTS)


def predict(name: str, model: keras.Model, dataset: Dataset) -> dict[str, np.ndarray]:
    """Runs a model over validation and test: by split, float32 logits `[examples, num_classes]`."""
    seen, logits = seen_by(name, dataset), {}
    for split in ("validation", "test"):
        parts = [model(route(model, x), training=False) for x, _ in batches(seen, split)]
        logits[split] = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return logits
