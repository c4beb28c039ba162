"""Training: one recipe for teacher, student alone and distilled student."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from mmkd_tf.data.batches import batches, num_steps, training_batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.teacher_names import named_teachers
from mmkd_tf.distill.checkpoint import Checkpoint
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.objectives import objective
from mmkd_tf.distill.targets.cache import SoftTargetCache
from mmkd_tf.models.routing import input_names

MOST_STEPS_TOGETHER = 50


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: AdamW, a short warm-up, then a cosine to zero.

    There is no early stopping: every model gets the same budget, and the last weights of a
    cosine are about its best.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Examples in a batch.
        learning_rate: Highest learning rate.
        weight_decay: Decoupled weight decay of AdamW.
        augment: Whether pictures and texts are changed at random.
        seed: Seed of order and augmentation.
    """

    epochs: int = 32
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    augment: bool = True
    seed: int = 0


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    backup: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains a model on the labels, by the loss of the dataset's task.

    Args:
        model: A model that gives logits or values; changed in place.
        dataset: The data; only its training and validation splits are read.
        recipe: How to train.
        backup: Folder where each epoch leaves its state; a training that finds a state there
            goes on from it with the batches that it would have seen.
        callbacks: Keras callbacks.

    Returns:
        The model.
    """
    goal = objective(dataset)
    model.compile(
        loss=goal.loss, metrics=goal.metrics(), jit_compile=False, **_stepping(dataset, recipe)
    )
    # Of more inputs than a model has, Keras may bind the wrong one to it.
    _fit(model, dataset.only(input_names(model)), recipe, backup, callbacks)
    return model


def distill(
    *,
    student: keras.Model,
    teacher,
    dataset: Dataset,
    recipe: Recipe,
    backup: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **compile_arguments,
) -> keras.Model:
    """Trains a student on the labels and on what a teacher says of the same batches.

    Args:
        student: A model that gives logits; changed in place.
        teacher: A trained model that gives logits, which is not changed; or what
            `cache_soft_targets` kept of one; or several of one kind by name.
        dataset: The data; only its training and validation splits are read.
        recipe: How to train; the same as for the student alone, for a fair comparison.
        backup: As for `train`.
        callbacks: As for `train`.
        **compile_arguments: What `Distiller.compile` takes: `terms`, `hard_label_weight`, ...;
            `loss` and `metrics` are those of the dataset's task by default.

    Returns:
        The student.
    """
    distiller = Distiller(student=student, teacher=teacher)
    goal = objective(dataset)
    arguments = {"loss": goal.loss, "metrics": goal.metrics(), **compile_arguments}
    distiller.compile(**_stepping(dataset, recipe), **arguments)
    named = named_teachers(teacher)
    caches = {name: kept for name, kept in named.items() if isinstance(kept, SoftTargetCache)}
    if caches and len(caches) < len(named):
        raise ValueError(
            f"`teacher`: models, or what was cached of them, not some of each. Received: "
            f"{sorted(caches)} cached of {sorted(named)}. Cache the others too."
        )
    _fit(distiller, dataset, recipe, backup, callbacks, soft_targets=caches or None)
    return student


def _stepping(dataset: Dataset, recipe: Recipe) -> dict:
    """The arguments of `compile` that say how steps are made, the same for every model."""
    steps = num_steps(dataset, recipe.batch_size)
    warmup = max(1, steps * recipe.epochs // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps * recipe.epochs - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    # Clipping guards the LSTM's first steps; it is inactive later.
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, clipnorm=1.0)
    # Several steps in one call of TensorFlow save a tenth to a fifth of a small model's time.
    # Keras takes too many batches where they do not divide the epoch.
    together = max(d for d in range(1, MOST_STEPS_TOGETHER + 1) if steps % d == 0)
    return {"optimizer": optimizer, "steps_per_execution": together}


def _fit(model, dataset, recipe, backup, callbacks, soft_targets=None):
    first_epoch, callbacks = 0, list(callbacks)
    if backup is not None:
        checkpoint = Checkpoint(backup)
        first_epoch = checkpoint.restore(model)
        callbacks.insert(0, checkpoint)
    model.fit(
        training_batches(
            dataset,
            epochs=recipe.epochs,
            first_epoch=first_epoch,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            augment=recipe.augment,
            soft_targets=soft_targets,
        ),
        steps_per_epoch=num_steps(dataset, recipe.batch_size),
        epochs=recipe.epochs,
        initial_epoch=first_epoch,
        validation_data=batches(dataset, "validation"),
        callbacks=callbacks,
        shuffle=False,  # the batches are shuffled already
        verbose=0,
    )
