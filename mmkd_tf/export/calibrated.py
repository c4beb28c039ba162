"""Puts a temperature into what is exported, so that probabilities are as sure as they are right."""

import math

import keras

from mmkd_tf.models.inputs import input_structure
from mmkd_tf.tasks import TASKS, Task, find_task


def calibrated(model: keras.Model, temperature: float | None) -> keras.Model:
    """Gives a model whose logits are those of `model` divided by a temperature.

    It shares the layers of `model`, and is `model` itself where there is nothing to divide by. The
    TFLite converter multiplies the factor into the last layer's weights, so a file has the same
    operators with and without; an argmax stays what it was.

    Args:
        model: Functional model that gives logits `[batch, num_outputs]`.
        temperature: Above 0, such as `mmkd_tf.distill.calibration.best_temperature` finds on
            validation; None or 1 changes nothing.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    if temperature in (None, 1):
        return model
    logits = keras.tree.flatten(model.outputs)[0]
    return keras.Model(input_structure(model), logits * (1 / temperature), name=model.name)


def temperature_problems(temperature: float | None, task: Task | str) -> list[str]:
    """Says what is wrong with a temperature for a file of a task; an unknown task is no matter."""
    if temperature is None:
        return []
    is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        return [
            "`temperature`: a finite number above 0, or None. "
            f"Received: temperature={temperature!r}."
        ]
    known = isinstance(task, Task) or task in TASKS
    if known and not find_task(task).gives_probabilities:
        return [
            f"`temperature`: None for {find_task(task).name}, whose outputs are no probabilities. "
            f"Received: temperature={temperature!r}."
        ]
    return []
