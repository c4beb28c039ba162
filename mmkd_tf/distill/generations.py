"""Self-distillation: each generation of one architecture is taught by the one before."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import keras
import tensorflow as tf

from mmkd_tf.distill.checks import check_loss
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.labelled_batches import batch_problems, check_dataset, count_problems
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses.checks import refuse

# What `Distiller.compile` takes beyond `keras.Model.compile`.
_OF_TEACHERS = ("terms", "hard_label_weight", "teacher_weights", "on_wrong_teacher")


def born_again(
    make_student: Callable[[int], keras.Model],
    batches: tf.data.Dataset,
    *,
    num_generations: int,
    epochs: int,
    validation_data=None,
    make_callbacks: Callable[[int], Sequence[keras.callbacks.Callback]] | None = None,
    **compile_arguments,
) -> tuple[list[keras.Model], list[dict[str, list[float]]]]:
    """Trains generation 0 on the labels, and each next one with the one before as its teacher.

    A generation begins with new weights and learns from labels and teacher together, by default
    with a weight of 1 each and temperature 1; `hard_label_weight=0.0` leaves it the teacher
    alone. All generations get the same number of epochs, so the later ones differ from the first
    by their teacher only. The last need not be the best: compare them on validation data.

    Nothing here is random: with seeded models and batches in a seeded order the same call gives
    the same generations. The paper also averages the generations' predictions; here that is left
    to the caller.

    Args:
        make_student: Called with the generation's number, from 0: returns a new, untrained
            Functional model that gives logits. Seed its initial weights by the number, so that
            generations differ (`mmkd_tf.models.seeding.seeded` does).
        batches: A finite `tf.data.Dataset` of `(x, y)` or `(x, y, sample_weight)`.
        num_generations: How many models are trained in all, 2 or more.
        epochs: Passes over the batches for each generation, 1 or more.
        validation_data: What `keras.Model.fit` takes, measured after each epoch.
        make_callbacks: Called with the generation's number: its Keras callbacks.
        **compile_arguments: Arguments of `Distiller.compile`, of which each generation gets
            copies: an optimizer is given with its settings but without its state. Generation 0
            takes those that `keras.Model.compile` has.

    Returns:
        The trained models, and for each the measurements by name and epoch, as
        `History.history` of Keras.

    Raises:
        TypeError: If the batches are no dataset or a model has no symbolic inputs.
        ValueError: If models share weights, differ in their classes or don't give logits, or an
            argument is out of its range; before anything is trained.

    Examples:
        >>> import numpy as np
        >>> def classifier(generation):
        ...     inputs = {"image": keras.Input([4], name="image")}
        ...     initial = keras.initializers.GlorotUniform(seed=generation)
        ...     logits = keras.layers.Dense(3, kernel_initializer=initial)(inputs["image"])
        ...     return keras.Model(inputs, logits)
        >>> x, y = {"image": np.eye(4, dtype="float32")}, np.array([0, 1, 2, 0])
        >>> batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
        >>> models, histories = born_again(classifier, batches, num_generations=2, epochs=3)
        >>> [sorted(history) for history in histories]
        [['accuracy', 'loss'], ['accuracy', 'hard_label_loss', 'loss', 'soft_target_loss']]

    References:
        Furlanello, Lipton, Tschannen, Itti, Anandkumar: Born-Again Neural Networks, 2018.
    """
    check_dataset(batches)
    problems = batch_problems(batches) + count_problems(least=2, num_generations=num_generations)
    refuse(problems + count_problems(least=1, epochs=epochs))
    generations = [make_student(number) for number in range(num_generations)]
    if len({id(model) for model in generations}) < num_generations:
        raise ValueError(
            "`make_student`: a new model at each call. Received: the same model for several "
            "generations. Build it inside the function."
        )
    histories = []
    # All are compiled first: what is wrong with a term must not show after hours of training.
    for number, trained in enumerate(_compiled(generations, compile_arguments)):
        history = trained.fit(
            batches,
            epochs=epochs,
            validation_data=validation_data,
            callbacks=list(make_callbacks(number)) if make_callbacks else None,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        )
        histories.append(history.history)
    return generations, histories


def _compiled(generations, compile_arguments) -> list[keras.Model]:
    """What to fit, in order: generation 0 itself, then a Distiller for each of the others."""
    arguments = {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
        "optimizer": "adam",
        "terms": [SoftTargets(temperature=1.0, weight=1.0)],
        "hard_label_weight": 1.0,
        "jit_compile": False,
        **compile_arguments,
    }
    check_loss(arguments["loss"])
    config = keras.saving.serialize_keras_object(arguments)
    distillers = [
        Distiller(student=student, teacher=teacher) for teacher, student in pairwise(generations)
    ]
    for distiller in distillers:
        distiller.compile(**keras.saving.deserialize_keras_object(config))
    own = {name: value for name, value in config.items() if name not in _OF_TEACHERS}
    generations[0].compile(**keras.saving.deserialize_keras_object(own))
    return [generations[0], *distillers]
