"""Cross-fitting: trains each head of a teacher on the rows that it will not answer."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill.training import Recipe, train
from mmkd_tf.modalities.modality import teacher_form
from mmkd_tf.models.cross_fitted import FOLD, fold_weights, heads_of
from mmkd_tf.models.seeding import seeded

# From hardly any to much; decoupled, as AdamW has it.
WEIGHT_DECAYS = (1e-3, 3e-2, 0.3)
# Features are computed already, so a head's epoch takes a moment.
HEAD_RECIPE = Recipe(epochs=40, batch_size=64, learning_rate=3e-3, augment=False)


def with_folds(dataset: Dataset, folds: int, *, seed: int) -> Dataset:
    """Adds `teacher/fold`: which head of a cross-fitted teacher answers an example.

    Training rows are dealt out at random, classes evenly where an example has one; the rows of the
    other splits are answered by all heads together.
    """
    train_rows = dataset.splits["train"]
    order = np.random.default_rng(seed).permutation(len(train_rows))
    if train_rows.labels.ndim == 1:
        order = order[np.argsort(train_rows.labels[order], kind="stable")]
    numbers = np.empty(len(order), int)
    numbers[order] = np.arange(len(order)) % folds

    def added(examples: Examples) -> dict:
        of_rows = numbers if examples is train_rows else np.full(len(examples), -1)
        return {**examples.inputs, teacher_form(FOLD): fold_weights(of_rows, folds)}

    form = FeatureVector(FOLD, folds, f"which of {folds} heads answers")
    return dataset.with_inputs(added, {**dataset.modalities, teacher_form(FOLD): form})


def train_heads(
    teacher: keras.Model,
    dataset: Dataset,
    *,
    recipe: Recipe = HEAD_RECIPE,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    seed: int = 0,
) -> dict[float, float]:
    """Trains a cross-fitted teacher in place.

    The weight decay is chosen by the validation loss of a head trained on all rows; then each head
    is trained with it on the rows of the other folds.

    Args:
        teacher: Made by `cross_fitted_teacher`.
        dataset: As teachers read it, made by `with_folds`.
        recipe: How a head is trained, but for its weight decay and seed.
        weight_decays: Those to choose from.
        seed: Seed of order, dropout and of the trial heads' first weights.

    Returns:
        By weight decay, the validation loss in nats, the least of which was taken.
    """
    heads, losses = heads_of(teacher), {}
    names = [name for name in teacher.input if name != FOLD]
    features = dataset.only(names)
    answering = dataset.splits["train"].inputs[FOLD].argmax(1)
    recipe = replace(recipe, seed=seed)
    if len(weight_decays) > 1:
        for weight_decay in weight_decays:
            trial = seeded(heads[0], seed=seed)
            train(trial, features, replace(recipe, weight_decay=weight_decay))
            validation = features.splits["validation"]
            losses[weight_decay] = float(
                trial.evaluate(dict(validation.inputs), validation.labels, verbose=0)[0]
            )
    chosen = min(losses, key=losses.get) if losses else weight_decays[0]
    for number, head in enumerate(heads):
        seen = np.flatnonzero(answering != number)
        # A copy, so that no optimizer stays with the teacher.
        copy = keras.models.clone_model(head)
        copy.set_weights(head.get_weights())
        train(copy, _rows(features, seen), replace(recipe, weight_decay=chosen))
        head.set_weights(copy.get_weights())
    return losses


def _rows(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """The data with some of the training rows alone."""
    examples = dataset.splits["train"]
    kept = Examples({n: x[rows] for n, x in examples.inputs.items()}, examples.labels[rows])
    return Dataset(
        name=dataset.name,
        splits={**dataset.splits, "train": kept},
        class_names=dataset.class_names,
        modalities=dataset.modalities,
        task=dataset.task,
    )
