"""Calibration: makes models of classes as sure as they are right, by one temperature."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.models.cross_fitted import ANSWERING, heads_of

_BETWEEN = (1 / 16, 16.0)
_AT_ONCE = 2048


def best_temperature(
    *, labels: np.ndarray, logits: np.ndarray, loss: keras.losses.Loss
) -> tuple[float, float]:
    """Finds the temperature by which logits should be divided.

    It is that of the least loss, nearer to 1 the fewer examples there are: a dozen that are all
    right would ask for a certainty without bound. So the logarithm of the temperature is taken as
    normal with deviation 1 before any example is seen.

    Args:
        labels: As the loss takes them, `[n, ...]`.
        logits: float `[n, num_outputs]`, of examples that the model was not trained on.
        loss: A loss of labels and logits, in nats, a mean over the examples.

    Returns:
        The temperature, 1/16 to 16, and the loss there.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """

    def loss_at(temperature: float) -> float:
        return float(loss(labels, (logits / temperature).astype(np.float32)))

    def objective(temperature: float) -> float:
        return loss_at(temperature) + np.log(temperature) ** 2 / (2 * len(labels))

    low, high = _BETWEEN
    for _ in range(4):  # each leaves a tenth of the interval; in the end it is .05 % wide
        tried = np.geomspace(low, high, 21)
        best = int(np.argmin([objective(temperature) for temperature in tried]))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return float(tried[best]), loss_at(tried[best])


def calibrate(teacher: keras.Model, dataset: Dataset) -> None:
    """Sets the temperatures of a cross-fitted teacher in place.

    That of single heads by their answers on the training rows that they have not seen, that of all
    together by those on validation, and so that of one head, which has seen all training rows.
    Values that are no logits of classes stay as they are.
    """
    if not dataset.task.gives_probabilities:
        return
    loss, layer = dataset.task.loss(), teacher.get_layer("logits")
    layer.temperatures.assign([1.0, 1.0])
    found = []
    unseen = "train" if len(heads_of(teacher)) > 1 else "validation"
    for _, split in zip(ANSWERING, (unseen, "validation"), strict=True):
        examples = dataset.splits[split]
        logits = answers(teacher, examples.inputs)
        found.append(best_temperature(labels=examples.labels, logits=logits, loss=loss)[0])
    layer.temperatures.assign(found)


def file_calibration(outputs: Mapping[str, np.ndarray], dataset: Dataset) -> dict | None:
    """The temperature of a model's exported files, found on validation, and what it does on test.

    Args:
        outputs: Of the model, by split: of `validation`, and of `test` where it is to be measured.
        dataset: The data; its task says what the outputs are.

    Returns:
        `temperature`, by which logits are to be divided, and `num_examples` of validation; with
        test also `error_before` and `error_after`, the calibration error there without and with it,
        0 to 1. None where outputs are no logits of classes or labels.
    """
    task = dataset.task
    if not task.gives_probabilities:
        return None
    labels = {split: dataset.splits[split].labels for split in outputs}
    known = {"labels": labels["validation"], "logits": outputs["validation"]}
    temperature, _ = best_temperature(**known, loss=task.loss())
    found: dict[str, Any] = {"temperature": temperature, "num_examples": len(labels["validation"])}
    if "test" in outputs:
        for name, divisor in (("before", 1.0), ("after", temperature)):
            softened = outputs["test"] / divisor
            error = task.calibration_error(labels=labels["test"], outputs=softened)
            found[f"error_{name}"] = error
    return found


def calibrated_loss(outputs: np.ndarray, dataset: Dataset) -> float:
    """A model's loss on validation, in nats of classes, where it is as sure as it is right.

    So a teacher that is too sure of itself, which can be mended, is not taken for a worse one.
    """
    task, labels = dataset.task, dataset.splits["validation"].labels
    loss = task.loss(dataset.target_statistics)
    if task.gives_probabilities:
        return best_temperature(labels=labels, logits=outputs, loss=loss)[1]
    return float(loss(labels, outputs))


def answers(model: keras.Model, inputs) -> np.ndarray:
    """What a model says of examples, float32 `[n, num_outputs]`, a part of them at a time."""
    names, count = list(model.input), len(next(iter(inputs.values())))
    parts = [
        model({name: inputs[name][at : at + _AT_ONCE] for name in names}, training=False)
        for at in range(0, count, _AT_ONCE)
    ]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
