"""The models of a run by role: teacher, experts, students, and what these are made from."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.efficientnet_lite import SCALES
from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.backbones.feature_files import features_folder
from mmkd_tf.config import RunConfig
from mmkd_tf.data.batches import batches
from mmkd_tf.data.dataset import SPLITS, Dataset
from mmkd_tf.data.pretrained import features_of
from mmkd_tf.modalities.modality import student_inputs
from mmkd_tf.models.builder import baseline_teacher, build_student, build_teacher
from mmkd_tf.models.cross_fitted import cross_fitted_teacher
from mmkd_tf.models.inheritance import (
    SIZES,
    Source,
    gives_parts,
    inherited_encoders,
    linear_probe,
)
from mmkd_tf.models.inputs import route
from mmkd_tf.models.named_fusions import fusion_by_name
from mmkd_tf.models.seeding import seeded

STUDENTS = ("student_alone", "student_scratch", "student")
# Of the pictures that a teacher's encoder reads; at its usual 224 they take three times as long.
PIXELS_OF_A_FIRST_LOOK = 128
WORDS_OF_A_FIRST_LOOK = 1_500  # that a student inherits; what they say takes half a minute of all
# Training rows that say what a task asks of words; of more their features would fill the memory.
MOST_PROBED = 20_000


def untrained(config: RunConfig, dataset: Dataset) -> dict[str, keras.Model]:
    """Builds the models of a run, by role, in the order of training.

    `teacher`; where the settings ask for experts, a teacher of one input for each that the student
    reads, `image_expert` and so on; `student_alone` and `student`, which begin with the same
    weights; where the settings ask for it `student_scratch` between them, which inherits nothing.
    """
    student = _build(config, dataset, "student")
    experts = {
        expert_name(name): seeded(build_teacher(dataset, inputs=[name]), seed=2 * config.seed)
        for name in (student.input if config.teacher.experts else ())
    }
    teacher = untrained_teacher(config, dataset)
    return {"teacher": teacher, **experts, **_untrained_students(config, dataset, student)}


def untrained_teacher(config: RunConfig, dataset: Dataset) -> keras.Model:
    """Builds the teacher of a run alone."""
    return seeded(_build(config, dataset, "teacher"), seed=2 * config.seed)


def _untrained_students(
    config: RunConfig, dataset: Dataset, student: keras.Model
) -> dict[str, keras.Model]:
    seed = 2 * config.seed + 1
    models = {name: seeded(student, seed=seed) for name in ("student_alone", "student")}
    if config.student.compare_scratch:
        # The student of those who inherit nothing. One of the form of an inheriting student would
        # be a poor opponent: so many blocks without weights learn nothing of a small table.
        plain = config.student.model_copy(update={"inherit": "none"})
        scratch = _build(config.model_copy(update={"student": plain}), dataset, "student")
        models["student_scratch"] = seeded(scratch, seed=seed)
    return {name: models[name] for name in STUDENTS if name in models}


def _build(config: RunConfig, dataset: Dataset, side: str) -> keras.Model:
    teacher, student = config.teacher, config.student
    build = build_teacher if side == "teacher" else build_student
    inherited = None
    if side == "student" and student.inherit != "none":
        own, size = student_inputs(dataset.modalities), SIZES[student.inherit]
        inherited = inherited_encoders(own, sources(config, dataset), size, seed=config.seed)
    if dataset.task.is_pairwise:
        return build(dataset, embedding_dim=teacher.embedding_dim, encoders=inherited)
    if side == "teacher" and teacher.architecture == "baseline":
        return baseline_teacher(dataset.num_classes)
    if side == "teacher" and config.teacher_is_cross_fitted and not dataset.task.gives_embeddings:
        build = functools.partial(cross_fitted_teacher, folds=teacher.folds)
    name = teacher.fusion if side == "teacher" else student.fusion or teacher.fusion
    return build(
        dataset,
        inputs=None if side == "teacher" else student.inputs,
        fusion=fusion_by_name(name, side),
        modality_dropout=getattr(config, side).modality_dropout,
        encoders=inherited,
        embedding_dim=teacher.embedding_dim,
    )


def expert_name(name: str) -> str:
    """What the teacher of one input is called, among teachers and in files."""
    return f"{name}_expert"


def seen_by(name: str, dataset: Dataset) -> Dataset:
    """The data with labels as the model of a role reads them."""
    return dataset.labelled.seen_by(teacher=name not in STUDENTS)


def student_encoders(config: RunConfig) -> dict[str, Encoder]:
    """By input that the students read, the backbone that they inherit from."""
    read = config.student_inputs
    size = _most_pixels(config)
    return {n: encoder(of[0], size) for n, of in config.backbones.items() if n in read}


def sources(config: RunConfig, dataset: Dataset) -> dict[str, Source]:
    """By input that the students read, what they inherit from; texts with a probe of the labels."""
    folder, found = features_folder(), {}
    labels = dataset.splits["train"].labels
    targets = dataset.task.targets_of(labels, dataset.num_classes)
    for name, encoder in student_encoders(config).items():
        probe, kind = None, type(dataset.modalities[name])
        if kind.takes_utf8 and targets is not None:
            rows = np.arange(len(labels))
            raw = [dataset.splits[split].raw[name] for split in SPLITS]
            if sum(map(len, raw)) <= MOST_PROBED:
                # Of all splits, as the teacher's features are, so that they are computed once.
                values = [value for texts in raw for value in texts]
            else:
                rng, number = np.random.default_rng(config.seed), min(MOST_PROBED, len(labels))
                rows = np.sort(rng.choice(len(labels), number, replace=False))
                values = [raw[0][row] for row in rows]
            features = features_of(kind, values, [encoder], folder=folder)[: len(rows)]
            probe = linear_probe(features, targets[rows])
        most_frequent = WORDS_OF_A_FIRST_LOOK if config.fast else None
        found[name] = Source(encoder, probe, folder, most_frequent)
    return found


def frozen_encoders(config: RunConfig) -> dict[str, list[Encoder]]:
    """By input, the loaded backbones whose features the teacher reads."""
    return {
        name: [encoder(backbone, _most_pixels(config)) for backbone in backbones]
        for name, backbones in config.backbones.items()
    }


@functools.cache
def encoder(backbone: str, most_pixels: int | None = None) -> Encoder:
    """The loaded backbone of a name; EfficientNet-Lite takes smaller pictures where asked to."""
    found = find_backbone(backbone)
    if most_pixels is not None and backbone in SCALES:
        found = replace(found, size=most_pixels)
    return found.load()


def _most_pixels(config: RunConfig) -> int | None:
    """Height and width of the pictures that a first look's encoders read."""
    return PIXELS_OF_A_FIRST_LOOK if config.fast else None


def inherited_from(config: RunConfig, dataset: Dataset) -> dict[str, str]:
    """By input that the student inherits for, what from, whose it is and its licence."""
    if config.student.inherit == "none":
        return {}
    return {
        name: found.backbone.credit
        for name, found in student_encoders(config).items()
        if gives_parts(dataset.modalities[name], found)
    }


def num_parameters(name: str, model: keras.Model, config: RunConfig) -> int:
    """Of the model of a role; of a teacher with those of the frozen encoders that it reads."""
    if name in STUDENTS or not config.teacher_is_pretrained:
        return model.count_params()
    read = [backbones for of, backbones in config.backbones.items() if of in model.input]
    return model.count_params() + sum(find_backbone(b).parameters for each in read for b in each)


def predict(
    name: str,
    model: keras.Model,
    dataset: Dataset,
    splits: Sequence[str] = ("validation", "test"),
) -> dict[str, np.ndarray]:
    """Runs a model over validation and test: by split, float32 outputs `[n, num_outputs]`."""
    seen, outputs = seen_by(name, dataset), {}
    for split in splits:
        parts = [model(route(model, x), training=False) for x, _ in batches(seen, split)]
        outputs[split] = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return outputs
