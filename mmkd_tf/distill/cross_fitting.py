"""Cross-fitting: trains each head of a teacher on the rows that it will not answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill.calibration import answers, calibrate
from mmkd_tf.distill.epochs import check_finite
from mmkd_tf.distill.training import Recipe, cosine
from mmkd_tf.modalities.modality import teacher_form
from mmkd_tf.models.cross_fitted import FOLD, fold_weights, heads_of
from mmkd_tf.models.seeding import seeded
from mmkd_tf.progress import each

# From hardly any to much; decoupled, as AdamW has it.
WEIGHT_DECAYS = (1e-3, 3e-2, 0.3)
# Heads are small: more passes over a large table only make them surer of themselves.
EPOCHS, LEAST_STEPS = 16, 320


def head_recipe(num_rows: int, *, seed: int = 0) -> Recipe:
    """How a head is trained on some rows: `EPOCHS`, more on few rows; features do not change."""
    recipe = Recipe(batch_size=64, learning_rate=3e-3, augment=False, seed=seed)
    steps = -(-num_rows // recipe.batch_size)
    return replace(recipe, epochs=max(EPOCHS, -(-LEAST_STEPS // steps)))


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

    form: Any = FeatureVector(FOLD, folds, f"which of {folds} heads answers")
    return dataset.with_inputs(added, {**dataset.modalities, teacher_form(FOLD): form})


def train_heads(
    teacher: keras.Model,
    dataset: Dataset,
    *,
    recipe: Recipe | None = None,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    seed: int = 0,
    class_weight: np.ndarray | None = None,
) -> dict[float, float]:
    """Trains a cross-fitted teacher in place.

    The weight decay is chosen by the validation loss of a head trained on all rows; then each head
    is trained with it on the rows of the other folds, one alone on all, and a teacher of classes is
    calibrated.

    Args:
        teacher: Made by `cross_fitted_teacher`.
        dataset: As teachers read it, made by `with_folds`.
        recipe: How a head is trained, but for its weight decay and seed; `head_recipe` by default.
        weight_decays: Those to choose from, decoupled.
        seed: Seed of order, dropout and of the trial heads' first weights.
        class_weight: How much labels of each class count, float `[num_classes]`.

    Returns:
        By weight decay, the validation loss in nats, the least of which was taken.
    """
    heads, losses = heads_of(teacher), {}
    names = [name for name in teacher.input if name != FOLD]
    features = dataset.only(names)
    answering = dataset.splits["train"].inputs[FOLD].argmax(1)
    recipe = replace(recipe or head_recipe(len(answering)), seed=seed)
    if len(weight_decays) > 1:
        trials = [seeded(heads[0], seed=seed) for _ in weight_decays]
        every = [np.arange(len(answering))] * len(trials)
        more: dict[str, Any] = {"weight_decays": weight_decays, "class_weight": class_weight}
        train_together(trials, features, recipe, rows=every, **more)
        validation = features.splits["validation"]
        loss = dataset.task.loss(dataset.target_statistics)
        for weight_decay, trial in zip(weight_decays, trials, strict=True):
            losses[weight_decay] = float(loss(validation.labels, answers(trial, validation.inputs)))
    chosen = min(losses, key=losses.__getitem__) if losses else weight_decays[0]
    seen = [np.flatnonzero(answering != number) for number in range(len(heads))]
    seen = seen if len(heads) > 1 else [np.arange(len(answering))]
    more = {"weight_decays": [chosen] * len(heads), "class_weight": class_weight}
    train_together(heads, features, recipe, rows=seen, **more)
    calibrate(teacher, dataset)
    return losses


def train_together(
    models: Sequence[keras.Model],
    dataset: Dataset,
    recipe: Recipe,
    *,
    rows: Sequence[np.ndarray],
    weight_decays: Sequence[float],
    class_weight: np.ndarray | None = None,
) -> None:
    """Trains models that share nothing in place, each on rows of its own, in one TensorFlow graph.

    The result is that of training one after the other: each model has its own batches, and
    gradients are clipped variable by variable. But the graph is traced once, and it holds the loop
    too; for small models that is most of the time.

    Args:
        models: Functional models of the dataset's inputs.
        dataset: The data; the training split is read.
        recipe: How each is trained, but for its weight decay; inputs are not augmented.
        rows: For each model, indices of the training rows that it sees, one or more.
        weight_decays: For each model, its decoupled weight decay.
        class_weight: How much labels of each class count, float `[num_classes]`.
    """
    train, task = dataset.splits["train"], dataset.task
    inputs = {name: tf.constant(train.inputs[name]) for name in dataset.modalities}
    labels, loss = tf.constant(train.labels), task.loss(dataset.target_statistics)
    steps = -(-max(map(len, rows)) // recipe.batch_size)
    rate = cosine(recipe, steps)
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
    variables = [variable for model in models for variable in model.trainable_variables]
    decays = [
        decay
        for model, decay in zip(models, weight_decays, strict=True)
        for _ in model.trainable_variables
    ]
    optimizer.build(variables)

    @tf.function
    def fit(epoch):
        seeds = tf.stack([recipe.seed, epoch])
        orders = [tf.random.experimental.stateless_shuffle(own, seeds) for own in rows]
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                total = 0.0
                for model, order in zip(models, orders, strict=True):
                    index = _part(order, step, steps)
                    x = {name: tf.gather(values, index) for name, values in inputs.items()}
                    y = tf.gather(labels, index)
                    counts = None if class_weight is None else tf.gather(class_weight, y)
                    total += loss(y, model(x, training=True), counts)
                    total += sum(model.losses)
            gradients = tape.gradient(total, [variable.value for variable in variables])
            now = rate(optimizer.iterations)
            for variable, decay in zip(variables, decays, strict=True):
                variable.assign(variable * (1 - decay * now))
            optimizer.apply(gradients, variables)

    # Called by its name, TensorFlow would warn of many traces.
    one_epoch = fit.get_concrete_function(tf.TensorSpec([], tf.int32))
    title = "epochs of heads on pretrained features"
    for epoch in each(range(recipe.epochs), title, recipe.epochs):
        one_epoch(tf.constant(epoch, tf.int32))
        check_finite(variables, f"weights of heads after epoch {epoch + 1}")


def _part(order: tf.Tensor, step: tf.Tensor, steps: int) -> tf.Tensor:
    """One of `steps` parts of an order, as equal as can be, so that none is empty."""
    count = tf.size(order)
    return order[step * count // steps : (step + 1) * count // steps]
