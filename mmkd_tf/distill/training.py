"""Training: one recipe for teacher, student alone and distilled student."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf import losses
from mmkd_tf.config import DistillationSettings
from mmkd_tf.data.batches import LABEL_WEIGHT, batches, named_teachers, num_steps, training_batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.checks import check_replicas
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.epochs import (
    Backup,
    BestEpoch,
    Checkpoint,
    StopDiverging,
    check_finite,
)
from mmkd_tf.distill.feature_terms import Hint, ModalityTerm, Relation
from mmkd_tf.distill.held import held_model, rows_with_held, with_held
from mmkd_tf.distill.replicas import ClippingAdamW, OnLabels, over_devices, strategy_by_name
from mmkd_tf.distill.schedules import Cosine, WarmUp
from mmkd_tf.distill.soft_target_files import SoftTargetCache
from mmkd_tf.distill.teachers import LOGITS
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.transfer import Draws, TransferRows
from mmkd_tf.distill.workers import between_workers
from mmkd_tf.models.inputs import input_names
from mmkd_tf.models.two_tower import embedding_layer

MOST_STEPS_TOGETHER = 50


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: AdamW, a short warm-up, then a cosine to zero.

    There is no early stopping by default: every model gets the same budget, and the last weights of
    a cosine are about its best. `learning_rate` is the highest, `weight_decay` is decoupled;
    `augment` changes pictures and texts at random, and `seed` is that of order and augmentation.
    The others are as in `mmkd_tf.settings.groups.TrainingSettings`.
    """

    epochs: int = 32
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    augment: bool = True
    seed: int = 0
    restore: str = "last"
    early_stopping: int | None = None
    class_weight: str | Mapping[str, float] = "none"
    precision: str = "float32"
    strategy: str = "none"


def class_weights(dataset: Dataset, setting: str | Mapping[str, float]) -> np.ndarray | None:
    """How much labels of each class count, float32 `[num_classes]`; None if all count alike.

    Args:
        dataset: The data, of one class an example.
        setting: "none"; "balanced", the number of training rows by that of classes and of rows of
            the class; or factors by class name.

    Raises:
        ValueError: If there is no class of a name.
    """
    if setting == "none":
        return None
    names = dataset.class_names
    if isinstance(setting, str):  # balanced
        counts = np.bincount(dataset.splits["train"].labels, minlength=len(names))
        return (counts.sum() / (len(names) * np.maximum(counts, 1))).astype(np.float32)
    if unknown := sorted(set(setting) - set(names)):
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise ValueError(
            f"`training.class_weight`: factors by class, of {shown}. Received: {unknown}."
        )
    return np.array([setting.get(name, 1.0) for name in names], np.float32)


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    backup: Path | Backup | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains a model in place on the labels, by the loss of the dataset's task.

    A loss that is no number, or far above that of the first steps, is a `DivergedError`, a
    ValueError. Only the training and validation splits are read. In the folder `backup` each
    epoch leaves its state; a training that finds a state there goes on from it with the batches
    that it would have seen.
    """
    task, more = dataset.task, None
    part, dataset, _ = _learning_part(model, dataset.only(input_names(model)), recipe)
    part, loss = task.trained_with(part, dataset.splits["train"].labels, seed=recipe.seed)
    if (weights := class_weights(dataset, recipe.class_weight)) is not None:
        more = functools.partial(_weighed_by_class, weights=weights)
    check_strategy(recipe.strategy, recipe.precision, dataset)
    with over_devices(part, recipe.strategy) as own, computing_in(own, recipe.precision):
        replicas = own.distribute_strategy.num_replicas_in_sync
        check_replicas([], loss, replicas)
        compiled: dict[str, Any] = {"loss": loss} if replicas == 1 else {}
        trained = own if replicas == 1 else OnLabels(own, loss)
        trained.compile(
            **compiled,
            metrics=task.metrics(),
            jit_compile=False,
            **_stepping(dataset, recipe, own.distribute_strategy),
        )
        # Of more inputs than a model has, Keras may bind the wrong one to it.
        _fit(trained, dataset.only(input_names(model)), recipe, backup, callbacks, more=more)
    return model


def distill(
    *,
    student: keras.Model,
    teacher,
    dataset: Dataset,
    recipe: Recipe,
    backup: Path | Backup | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    transfer: TransferRows | None = None,
    transfer_share: float = 0.0,
    **compile_arguments,
) -> keras.Model:
    """Trains a student in place on the labels and on what a teacher says of the same batches.

    The teacher is a trained model, what `cache_soft_targets` kept of one, or several of one kind
    by name; `dataset`, `recipe`, `backup` and `callbacks` are as for `train`. Of `transfer`, rows
    without labels, each batch gets `transfer_share` of its size besides, so that the number of
    updates stays. Further arguments are those of `Distiller.compile`; `loss` and `metrics` are the
    task's by default.
    """
    part, forms = student, dataset.modalities
    if not any(term.student_layers for term in compile_arguments.get("terms") or ()):
        part, dataset, transfer = _learning_part(student, dataset, recipe, transfer)
    task = dataset.task
    part, loss = task.trained_with(part, dataset.splits["train"].labels, seed=recipe.seed)
    arguments = {"loss": loss, "metrics": task.metrics()}
    arguments |= compile_arguments
    named = named_teachers(teacher)
    caches = {name: kept for name, kept in named.items() if isinstance(kept, SoftTargetCache)}
    if caches and len(caches) < len(named):
        raise ValueError(
            f"`teacher`: models, or what was cached of them, not some of each. Received: "
            f"{sorted(caches)} cached of {sorted(named)}. Cache the others too."
        )
    more = None
    if transfer is not None and transfer_share:
        steps = recipe.epochs * num_steps(dataset, recipe.batch_size)
        draws = Draws(transfer_share, recipe.batch_size, steps, recipe.seed)
        forms = forms if recipe.augment else None
        more = functools.partial(transfer.beside, draws=draws, forms=forms)
    if (weights := class_weights(dataset, recipe.class_weight)) is not None:
        more = functools.partial(_with_class_weights, more=more, weights=weights)
    check_strategy(recipe.strategy, recipe.precision, dataset, arguments.get("terms") or ())
    with over_devices(part, recipe.strategy) as own, computing_in(own, recipe.precision):
        distiller = Distiller(student=own, teacher=teacher)
        distiller.compile(**_stepping(dataset, recipe, own.distribute_strategy), **arguments)
        _fit(distiller, dataset, recipe, backup, callbacks, soft_targets=caches or None, more=more)
    return student


def _weighed_by_class(shown, *, first_step: int, weights: np.ndarray):
    return shown.map(lambda x, y: (x, y, tf.gather(weights, y)))


def _with_class_weights(shown, *, first_step: int, more: Callable | None, weights: np.ndarray):
    """Has labels alone count by class; what teachers say counts as before."""
    if more is not None:
        shown = more(shown, first_step=first_step)

    def weighed(x, y):
        of_labels = tf.gather(weights, y)
        if LABEL_WEIGHT in x:
            of_labels *= x[LABEL_WEIGHT]
        return {**x, LABEL_WEIGHT: of_labels}, y

    return shown.map(weighed)


@contextmanager
def computing_in(model: keras.Model, precision: str):
    """Has a model compute in a precision of Keras' within; its logits and weights are float32."""
    if precision == "float32":
        yield
        return
    changed = [
        layer
        for layer in [model, *model._flatten_layers(include_self=False)]
        if layer.name != LOGITS and layer.dtype_policy.name == "float32"
    ]
    for layer in changed:
        layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer in changed:
            layer.dtype_policy = "float32"


def _learning_part(
    model: keras.Model, dataset: Dataset, recipe: Recipe, transfer: TransferRows | None = None
) -> tuple[keras.Model, Dataset, TransferRows | None]:
    """What of a model learns, and the data as it reads them; see `mmkd_tf.distill.held`."""
    part, held = held_model(model)
    if held:
        given: dict[str, Any] = {"epochs": recipe.epochs, "seed": recipe.seed}
        given["augment"] = recipe.augment
        seen, rows = with_held(dataset, held, **given), None
        if seen and transfer is not None:
            rows = rows_with_held(transfer, held, dataset.modalities, **given)
        if seen and (rows is None) == (transfer is None):
            return part, seen, rows
    return model, dataset, transfer


def terms_of(
    settings: DistillationSettings,
    dataset: Dataset,
    *,
    inputs: Collection[str],
    experts: bool = False,
) -> list:
    """Makes the terms for `Distiller.compile` that settings, filled in for the task, give a weight.

    `inputs` are those that the student reads. With `experts` there are teachers of one input each
    beside the whole one, called `teacher`. They give soft targets alone: of other features they
    know nothing.
    """
    task, terms = dataset.task, list[Any]()
    whole = "teacher" if experts else None
    if weight := settings.soft_target_weight:
        loss, options = task.soft_target_losses[settings.soft_target_loss]
        defaults = task.soft_targets(task.loss(dataset.target_statistics))
        options = {**(defaults.options if loss is defaults.loss else {}), **options}
        terms.append(SoftTargets(settings.temperature, weight, loss, loss_options=options))
    if (weight := settings.modality_hint_weight) and task.is_pairwise:
        # The two spaces are of one width, so the student's points can lie where the teacher's do.
        terms += [Hint(embedding_layer(name), weight, losses.cosine_hint_loss) for name in inputs]
    elif weight:
        # By direction: the student's features need not have the teacher's size.
        terms += [
            ModalityTerm(name, weight, losses.cosine_hint_loss, teacher=whole) for name in inputs
        ]
    if settings.relation_weight:
        terms.append(Relation("fused_features", settings.relation_weight, teacher=whole))
    return terms


def cosine(recipe: Recipe, steps: int) -> WarmUp:
    """The learning rate of a recipe, in epochs of `steps`: a warm-up, then a cosine to zero.

    AdamW asks for it once for each variable, so it has no branches, which Keras' own has: they
    would take a tenth of the time to trace a step.
    """
    warmup = max(1, steps * recipe.epochs // 20)
    following = max(1, steps * recipe.epochs - warmup)
    return WarmUp(Cosine(recipe.learning_rate, 0.0, following), warmup)


def check_strategy(strategy: str, precision: str, dataset: Dataset, terms: Sequence = ()) -> None:
    """Refuses a strategy that is not to be had here, or not with these losses, before training.

    Args:
        strategy: As `training.strategy`.
        precision: As `training.precision`.
        dataset: The data, whose task says the loss on labels.
        terms: What the student learns from its teachers.

    Raises:
        ValueError: Says what is there, or which losses are between the examples of a batch.
    """
    if (found := strategy_by_name(strategy)) is not None:
        if precision == "mixed_float16":
            raise ValueError(
                "`training.precision`: float32 or mixed_bfloat16 with several devices. Received: "
                "mixed_float16, whose scale of the loss Keras sets by the first device alone."
            )
        loss = dataset.task.loss(dataset.target_statistics)
        check_replicas(terms, loss, found.num_replicas_in_sync)


def _stepping(dataset: Dataset, recipe: Recipe, strategy: tf.distribute.Strategy) -> dict:
    """The arguments of `compile` that say how steps are made, the same for every model."""
    steps = num_steps(dataset, recipe.batch_size)
    schedule = cosine(recipe, steps)
    arguments = {"learning_rate": schedule, "weight_decay": recipe.weight_decay}
    # Clipping guards the LSTM's first steps; it is inactive later.
    if strategy.num_replicas_in_sync > 1:
        optimizer = ClippingAdamW(limit=1.0, **arguments)
    else:
        optimizer = keras.optimizers.AdamW(clipnorm=1.0, **arguments)
    # Between workers TensorFlow loses in a loop of its own what it is fed of a last batch.
    together = 1 if between_workers(strategy) else steps_together(steps)
    return {"optimizer": optimizer, "steps_per_execution": together}


def steps_together(steps: int) -> int:
    """How many of an epoch's steps are made in one call of TensorFlow.

    It saves a tenth to a fifth of a small model's time. Keras takes too many batches where the
    number does not divide the epoch.
    """
    return max(d for d in range(1, MOST_STEPS_TOGETHER + 1) if steps % d == 0)


def _fit(model, dataset, recipe, backup, callbacks, *, soft_targets=None, more=None):
    first_epoch, callbacks, best = 0, list(callbacks), None
    if isinstance(backup, Path):
        backup = Backup(backup)
    if recipe.restore == "best" or recipe.early_stopping is not None:
        best = BestEpoch(backup, patience=recipe.early_stopping)
        best.read(model)
        callbacks.insert(0, best)
    if backup is not None:
        checkpoint = Checkpoint(backup)
        first_epoch = checkpoint.restore(model)
        # Behind the best epoch's and a history's: what is found there is at least as new.
        older = [one for one in callbacks if one is best or getattr(one, "repeats", False)]
        callbacks = [*older, checkpoint, *(one for one in callbacks if one not in older)]
    # Before what keeps an epoch.
    callbacks.insert(0, StopDiverging(far_above=True))
    shown = training_batches(
        dataset,
        epochs=recipe.epochs,
        first_epoch=first_epoch,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        augment=recipe.augment,
        soft_targets=soft_targets,
    )
    if more is not None:
        shown = more(shown, first_step=first_epoch * num_steps(dataset, recipe.batch_size))
    _create_variables(model, dataset)
    if best is None or not best.ended(first_epoch):
        model.fit(
            shown,
            steps_per_epoch=num_steps(dataset, recipe.batch_size),
            epochs=recipe.epochs,
            initial_epoch=first_epoch,
            validation_data=batches(dataset, "validation"),
            callbacks=callbacks,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        )
    if recipe.restore == "best":
        best.restore(model)
    check_finite(model.weights, "weights")


def _create_variables(model, dataset):
    """Makes what a training adds to a model's variables: those of optimizer and metrics.

    Left to the first step they would be made while TensorFlow traces it, which then traces it
    anew: a fifth of the time of a small run.
    """
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return  # Keras makes them first itself
    model.optimizer.build(model.trainable_variables)
    x, y = next(iter(batches(dataset, "validation", batch_size=2)))
    model.compute_metrics(x, y, model(x, training=False))
    model.reset_metrics()
