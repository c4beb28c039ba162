"""The training of a run: each role by its recipe, and what the student learns from its teachers."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.backbones.feature_files import features_folder
from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import TRANSFER, UNLABELLED, Dataset
from mmkd_tf.data.pretrained import read_by_teacher
from mmkd_tf.distill.calibration import calibrated_loss
from mmkd_tf.distill.cross_fitting import train_heads
from mmkd_tf.distill.epochs import Backup
from mmkd_tf.distill.finetuning import (
    FINETUNING_RECIPE,
    Finetuning,
    finetune,
    read_tuned,
    write_tuned,
)
from mmkd_tf.distill.generated_rows import Generator
from mmkd_tf.distill.shard_answers import answers_key, find_answers
from mmkd_tf.distill.soft_target_files import SoftTargetCache
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.teachers import output_tensors
from mmkd_tf.distill.training import Recipe, class_weights, distill, terms_of, train
from mmkd_tf.distill.transfer import TransferRows, joined, unlabelled_rows
from mmkd_tf.evaluate.statistics import Predictions, teacher_gap
from mmkd_tf.modalities.modality import student_inputs, teacher_inputs
from mmkd_tf.models.cross_fitted import heads_of
from mmkd_tf.report.history import History
from mmkd_tf.report.progress import Reporter
from mmkd_tf.runs.callbacks import named_callbacks
from mmkd_tf.runs.data import shards_without_labels, with_features
from mmkd_tf.runs.folder import STATE_FOLDER, TUNED_FILE, RunFolder
from mmkd_tf.runs.roles import (
    STUDENTS,
    frozen_encoders,
    num_parameters,
    predict,
    seen_by,
    untrained_teacher,
)

# What the views of one teacher may take on disk where the settings leave their number open.
MOST_BYTES_OF_VIEWS = 2**30


def train_model(
    name: str,
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    config: RunConfig,
    *,
    backup: Path | Backup | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains the model of a role in place; `student` is distilled from the teacher and the experts.

    `config` is filled in by `RunConfig.for_task`. `models` are those of `untrained`; for `student`,
    with trained teachers or what `keep_soft_targets` gives in their place. `backup` is the folder
    for the state after each epoch, from which an interrupted training goes on.
    """
    side = config.student if name in STUDENTS else config.teacher
    training = config.training.model_dump(exclude={"augment_strength"})
    recipe = Recipe(**training, learning_rate=side.learning_rate, seed=config.seed)
    where: dict[str, Any] = {"backup": backup, "callbacks": callbacks}
    if heads_of(models[name]):
        seen = seen_by(name, dataset)
        weights = class_weights(seen, config.training.class_weight)
        train_heads(models[name], seen, seed=config.seed, class_weight=weights)
        return
    if name != "student":
        train(models[name], seen_by(name, dataset), recipe, **where)
        return
    distill(
        student=models["student"],
        teacher={n: m for n, m in models.items() if n not in (*STUDENTS, TRANSFER)},
        transfer=models.get(TRANSFER),
        transfer_share=config.distillation.transfer_share,
        dataset=dataset.labelled,
        recipe=recipe,
        terms=student_terms(config, dataset),
        hard_label_weight=config.distillation.hard_label_weight,
        on_wrong_teacher=config.distillation.on_wrong_teacher,
        **where,
    )


def student_terms(config: RunConfig, dataset: Dataset) -> list:
    """What the student learns from its teachers; see `mmkd_tf.distill.terms`."""
    inputs = config.student.inputs or list(student_inputs(dataset.modalities))
    return terms_of(config.distillation, dataset, inputs=inputs, experts=config.teacher.experts)


def keep_soft_targets(
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    config: RunConfig,
    *,
    terms: Sequence,
    folder: Path,
) -> dict[str, SoftTargetCache]:
    """Asks the teachers once for each view of the training data, or reads what was kept.

    Where the settings leave the number of views open there is one for each epoch, or as many as
    `MOST_BYTES_OF_VIEWS` hold; the epochs then show them in turn.

    Args:
        models: By role; those of the students are not asked.
        dataset: The data.
        config: The settings.
        terms: What students learn from the teachers, of one student or of several.
        folder: Where it is kept, in a folder for each teacher.

    Returns:
        By teacher, its kept outputs, for `train_model` in its place.
    """
    caches = {}
    for name, teacher in models.items():
        if name in STUDENTS:
            continue
        asked = [term.teacher_layers for term in terms if term.teacher in (None, name)]
        layers = sorted(set().union(*asked))
        views = _num_views(config, teacher, layers, dataset.sizes["train"])
        caches[name] = cache_soft_targets(
            teacher=teacher,
            dataset=seen_by(name, dataset),
            folder=folder / "-".join([name, *layers, str(views)]),
            views=views,
            seed=config.seed,
            augment=config.training.augment,
            layers=layers,
        )
    return caches


def _num_views(config: RunConfig, teacher: keras.Model, layers, num_examples: int) -> int:
    if not config.training.augment:
        return 1
    if config.distillation.views is not None:
        return min(config.distillation.views, config.training.epochs)
    tensors = output_tensors(teacher, layers, argument="teacher").values()
    num_bytes = 4 * num_examples * sum(math.prod(tensor.shape[1:]) for tensor in tensors)
    return max(1, min(config.training.epochs, MOST_BYTES_OF_VIEWS // num_bytes))


def transfer_rows(
    teacher: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    encoders: Mapping[str, Sequence[Encoder]] | None = None,
    folder: Path | None = None,
    *,
    say: Callable[[str], Any] = lambda note: None,
) -> TransferRows | None:
    """The rows without labels that the student learns from, answered; None if there are none.

    `encoders` and `folder` are those of `with_features`, whose features the teacher reads. Of
    shards that `mmkd-tf data label` had it answer, the answers are read; `say` is told of it.
    """
    settings, folder = config.distillation, folder or features_folder()
    if not settings.transfer_share:
        return None
    if encoders is None:
        encoders = frozen_encoders(config) if config.teacher_is_pretrained else {}
    how: dict[str, Any] = {}
    if shards_without_labels(config):  # whose features were left open
        beside = config.teacher_reads_both
        how["read"] = functools.partial(
            read_by_teacher, encoders=encoders, folder=folder, beside=beside
        )
        how["known"] = _kept_answers(teacher, dataset, config, encoders, say)
    parts = [unlabelled_rows(teacher, dataset, **how)]
    if made := config.distillation.generated:
        encoders = {name: each for name, each in encoders.items() if name in config.student_inputs}
        generator = Generator(teacher, dataset, encoders, config.seed, folder)
        parts += [getattr(generator, name)(rate) for name, rate in made.items()]
    rows = joined(parts)
    return None if rows is None else rows.read_by(config.student_inputs)


def _kept_answers(
    teacher: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    encoders: Mapping[str, Sequence[Encoder]],
    say: Callable[[str], Any],
) -> np.ndarray | None:
    """What was kept beside shards of the teacher's answers; NaN of rows without; None of all."""
    examples = dataset.splits.get(TRANSFER)
    if examples is None or examples.numbers is None:
        return None
    forms = {
        name: getattr(form, "own", form)
        for name, form in teacher_inputs(dataset.modalities).items()
        if name not in encoders or config.teacher_reads_both
    }
    key = answers_key(teacher, config.inputs, encoders, forms)
    known = np.full([len(examples), teacher.output.shape[-1]], np.nan, np.float32)
    end, shards = 0, shards_without_labels(config)
    for source in UNLABELLED:  # one after the other, as `mmkd_tf.data.unlabelled` has them
        begin, end = end, end + dataset.transfer_counts.get(source, 0)
        if source not in shards:
            continue
        found, note = find_answers(shards[source], key)
        if note:
            say(note)
        if found is not None:
            known[begin:end] = found[np.asarray(examples.numbers[begin:end], int)]
    return None if np.isnan(known).all() else known


def finetuned_encoders(
    config: RunConfig,
    dataset: Dataset,
    folder: RunFolder,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[dict[str, list[Encoder]], Finetuning]:
    """Trains the teacher's encoders on, as `teacher.finetune` says, or reads what came of it.

    Args:
        config: The settings.
        dataset: What `read_dataset` gave.
        folder: The run's folder, in whose state the tuned weights are kept.
        callbacks: Keras callbacks of the trainings.

    Returns:
        By input, encoders of the teacher's own, and what became of their fine-tuning.
    """
    part, file = config.teacher.finetune, folder.path / TUNED_FILE
    # Not those of `roles.encoder`: from these the students inherit.
    encoders = {
        name: [find_backbone(backbone).load() for backbone in backbones]
        for name, backbones in config.backbones.items()
    }
    found = read_tuned(file, encoders, part=part)
    if found is None:
        recipe = replace(FINETUNING_RECIPE, augment=config.training.augment)
        given: dict[str, Any] = {"recipe": recipe, "seed": config.seed, "folder": features_folder()}
        given["callbacks"] = callbacks
        found = finetune(dataset.labelled, encoders, part=part, **given)
        folder.state.mkdir(exist_ok=True)
        with folder.artefact(TUNED_FILE) as unfinished:
            write_tuned(unfinished, found, encoders, part=part)
    return encoders, found


def choose_teacher(
    config: RunConfig, dataset: Dataset, folder: RunFolder, reporter: Reporter
) -> dict:
    """Trains a teacher for each of the candidates, and leaves the best on validation as `teacher`.

    Args:
        config: The settings, filled in by `for_task`, which leave `teacher.encoders` open.
        dataset: The data without pretrained features.
        folder: The run's folder; a candidate that is trained already is read from its state, and
            a choice that was made is kept.
        reporter: Tells what is being done.

    Returns:
        `chosen`, the name of the candidate with the least loss; `num_examples` of validation; and
        `candidates`, by name `loss` (see `calibrated_loss`), `score`, the task's figure, and the
        number of `parameters`.
    """
    if comparison := folder.read_comparison():
        return comparison
    found, task, history = {}, dataset.task, History(folder.path)
    folder.state.mkdir(exist_ok=True)
    for kind in config.teacher_candidates:
        own, name = config.with_teacher(kind), f"teacher_{kind}"
        title = f"Training a teacher with encoders: {kind}, to choose from"
        with reporter.stage(title, functools.partial(folder.add_seconds, name)):
            seen = with_features(dataset, own)
            begun = untrained_teacher(own, seen)
            model = folder.load_model(f"{STATE_FOLDER}/{name}", like=begun)
            if model is None:
                model = begun
                callbacks = [reporter.epochs(config.training.epochs), history.callback(name)]
                if not heads_of(model):
                    callbacks += named_callbacks(config, name, seen, folder.path)
                train_model(
                    "teacher",
                    {"teacher": model},
                    seen,
                    own,
                    backup=folder.backup(name),
                    callbacks=callbacks,
                )
                folder.save_model(f"{STATE_FOLDER}/{name}", model)
            outputs = predict("teacher", model, seen, ["validation"])["validation"]
            labels = dataset.splits["validation"].labels
            found[kind] = {
                "loss": calibrated_loss(outputs, dataset),
                "score": task.score(labels=labels, outputs=outputs),
                "parameters": num_parameters("teacher", model, own),
            }
    chosen = min(found, key=lambda kind: found[kind]["loss"])
    folder.save_model("teacher", folder.load_model(f"{STATE_FOLDER}/teacher_{chosen}"))
    size = dataset.sizes["validation"]
    comparison = {"chosen": chosen, "num_examples": size, "candidates": found}
    folder.write_comparison(comparison)
    return comparison


def compare_teacher(models: Mapping[str, keras.Model], dataset: Dataset) -> dict:
    """Says by validation whether distillation can help at all: the fields of `TeacherGap`.

    `models` are by role; of `teacher` and `student_alone`, which are trained, there is need.
    """
    labels, said = dataset.splits["validation"].labels, dict[str, Any]()
    for name in ("teacher", "student_alone"):
        outputs = predict(name, models[name], dataset, ["validation"])["validation"]
        said[name] = Predictions(dataset.task, labels, outputs)
    return asdict(teacher_gap(**said, rng=np.random.default_rng(0)))
