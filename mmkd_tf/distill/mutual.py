"""Mutual learning: untrained students teach each other while they learn."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.epochs import check_finite
from mmkd_tf.distill.schedules import count_problems
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses.checks import refuse


def learn_mutually(
    students: Mapping[str, keras.Model] | Sequence[keras.Model],
    batches: tf.data.Dataset,
    *,
    epochs: int,
    validation_data=None,
    on_epoch_end: Callable[[int, dict], None] | None = None,
    **compile_arguments,
) -> dict[str, dict[str, list[float]]]:
    """Trains two or more students together, each on the labels and on what the others say.

    For every batch, student after student makes one step with the others as its teachers, which
    have made their own steps on this batch if they come before it, as in the paper's algorithm:

    `loss = hard_label_weight * loss(labels, logits)
    + mean over the others of SoftTargets.weight * KL(softmax(their logits) || softmax(logits))`.

    By default both weights and the temperature are 1, as in the paper. It departs from the paper
    in one thing: a student that teaches is in inference mode (no dropout, moving averages in
    batch normalisation), as every teacher here, while public code leaves it in training mode.

    Students may differ in architecture and in the inputs that they name. Those of one
    architecture need different initial weights, or they have nothing to tell each other.

    A step of `n` students costs `n` training steps and `n * (n - 1)` forward passes. Nothing here
    is random: the same students and the same order of batches give the same result.

    Args:
        students: Two or more Functional models that give logits of the same classes, changed in
            place: a dict by name, or a list, which is named student_1, student_2 and so on.
        batches: A finite `tf.data.Dataset` of `(x, y)` or `(x, y, sample_weight)`, read once an
            epoch.
        epochs: Passes over the batches, 1 or more.
        validation_data: What `keras.Model.evaluate` takes, measured after each epoch.
        on_epoch_end: Called after each epoch with its number, from 0, and its measurements by
            student and name, to print them or to save the students.
        **compile_arguments: Arguments of `Distiller.compile`, of which each student gets copies:
            an optimizer is given with its settings but without its state.

    Returns:
        By student and name, a measurement for each epoch, as `History.history` of Keras: means
        over the epoch's batches, each counted by its size; `val_` before those on
        `validation_data`, which are the student's alone.

    Raises:
        TypeError: If the students are neither dict nor list, or the batches no dataset.
        ValueError: If there are fewer than two students, they share weights or differ in their
            classes, or an argument is out of its range.

    Examples:
        >>> import numpy as np
        >>> def classifier(seed):
        ...     inputs = {"image": keras.Input([4], name="image")}
        ...     initial = keras.initializers.GlorotUniform(seed=seed)
        ...     logits = keras.layers.Dense(3, kernel_initializer=initial)(inputs["image"])
        ...     return keras.Model(inputs, logits)
        >>> x, y = {"image": np.eye(4, dtype="float32")}, np.array([0, 1, 2, 0])
        >>> batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
        >>> history = learn_mutually([classifier(1), classifier(2)], batches, epochs=3)
        >>> list(history), len(history["student_1"]["accuracy"])
        (['student_1', 'student_2'], 3)

    References:
        Zhang, Xiang, Hospedales, Lu: Deep Mutual Learning, 2018 (algorithm 1; section 2.3 for
        more than two).
    """
    students = _named(students)
    if not isinstance(batches, tf.data.Dataset):
        raise TypeError(
            "`batches`: a tf.data.Dataset of (x, y) or (x, y, sample_weight). Received: "
            f"{type(batches).__name__}. Make one of arrays: "
            "tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0).batch(32)."
        )
    refuse(_problems(students, batches, epochs, compile_arguments))
    distillers = _distillers(students, compile_arguments)

    history: dict[str, dict] = {name: {} for name in students}
    for epoch in range(epochs):
        logs = _train_epoch(distillers, batches)
        if validation_data is not None:
            for name, distiller in distillers.items():
                measured = distiller.evaluate(validation_data, verbose=0, return_dict=True)
                logs[name] |= {f"val_{key}": value for key, value in measured.items()}
        for name, values in logs.items():
            for key, value in values.items():
                history[name].setdefault(key, []).append(value)
        if on_epoch_end is not None:
            on_epoch_end(epoch, logs)
    return history


def _distillers(students, compile_arguments) -> dict[str, Distiller]:
    arguments = {
        "terms": [SoftTargets(temperature=1.0, weight=1.0)],
        "hard_label_weight": 1.0,
        **compile_arguments,
    }
    config = keras.saving.serialize_keras_object(arguments)
    distillers = {}
    for name, student in students.items():
        peers = {other: model for other, model in students.items() if other != name}
        distillers[name] = Distiller(student=student, teacher=peers)
        # Optimizers and metrics have a state, which students must not share.
        distillers[name].compile(**keras.saving.deserialize_keras_object(config))
    return distillers


def _train_epoch(distillers, batches) -> dict[str, dict[str, float]]:
    totals: dict[str, dict] = {name: {} for name in distillers}
    num_examples = 0
    for batch in batches:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        num_examples += len(y)
        for name, distiller in distillers.items():
            logs = distiller.train_on_batch(x, y, sample_weight, return_dict=True)
            check_finite([logs["loss"]], f"the losses of '{name}'")
            for key, value in logs.items():
                totals[name][key] = totals[name].get(key, 0.0) + len(y) * float(value)
    if not num_examples:
        raise ValueError("`batches`: at least one batch. Received: an empty dataset.")
    return {
        name: {key: total / num_examples for key, total in sums.items()}
        for name, sums in totals.items()
    }


def _named(students) -> dict[str, keras.Model]:
    if isinstance(students, Mapping):
        return dict(students)
    if not isinstance(students, list | tuple):
        raise TypeError(
            "`students`: a list of models, or a dict of them by name. Received: "
            f"{type(students).__name__}."
        )
    return {f"student_{number}": student for number, student in enumerate(students, start=1)}


def _problems(students, batches, epochs, compile_arguments) -> list[str]:
    problems = []
    parts = batches.element_spec
    if not (isinstance(parts, tuple) and len(parts) in (2, 3)):
        problems.append(
            "`batches`: elements (x, y) or (x, y, sample_weight). Received: a dataset of "
            f"{parts}. Map it to (x, y)."
        )
    if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
        problems.append(
            "`batches`: a dataset that ends, because it is read once an epoch. Received: one that "
            "repeats for ever. Leave out repeat(), or end it with take(num_steps)."
        )
    problems += count_problems(epochs=epochs)
    if len(students) < 2:
        problems.append(
            "`students`: two or more models, because each learns from the others. Received: "
            f"{len(students)}. To learn from a trained model, use Distiller."
        )
    if compile_arguments.get("steps_per_execution", 1) != 1:
        problems.append(
            "`steps_per_execution`: 1, because students take turns at every batch. Received: "
            f"steps_per_execution={compile_arguments['steps_per_execution']!r}. Leave it out."
        )
    return problems
