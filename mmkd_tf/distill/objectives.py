"""Objectives: what each task trains a model for, from the outputs before any activation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from mmkd_tf import losses
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.matching import BatchRecall, MatchingLoss


@dataclass(frozen=True)
class Objective:
    """What a model is trained for.

    Attributes:
        loss: The Keras loss of labels and outputs.
        metrics: Makes Keras metrics for one training; the first is shown to people.
        soft_target_loss: What `SoftTargets` takes as `loss` by default.
        soft_target_options: Further arguments of it.
    """

    loss: keras.losses.Loss
    metrics: Callable[[], list]
    soft_target_loss: Callable
    soft_target_options: dict


def objective(dataset: Dataset) -> Objective:
    """Gives the objective of a dataset's task.

    Numbers are compared in units of the training targets' standard deviation, so that the loss is
    about 1 at the start whatever the targets' units, and one target does not drown another.

    Args:
        dataset: Its `task` decides, and for regression its `target_statistics`.

    Raises:
        ValueError: If the task is not one of those here.
    """
    if dataset.task == "single_label":
        return Objective(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=lambda: ["accuracy"],
            soft_target_loss=losses.dist_loss,
            soft_target_options={},
        )
    if dataset.task == "multi_label":
        return Objective(
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=lambda: [keras.metrics.AUC(curve="PR", from_logits=True, name="pr_auc")],
            soft_target_loss=losses.sigmoid_soft_target_loss,
            soft_target_options={},
        )
    if dataset.task == "regression":
        scale = dataset.target_statistics[1].tolist()
        return Objective(
            loss=ScaledSquaredError(scale),
            metrics=lambda: [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")],
            soft_target_loss=losses.squared_loss,
            soft_target_options={"scale": scale},
        )
    if dataset.task == "retrieval":
        return Objective(
            loss=MatchingLoss(),
            metrics=lambda: [BatchRecall()],
            soft_target_loss=losses.affinity_loss,
            soft_target_options={},
        )
    raise ValueError(f"`dataset`: of a task that can be trained. Received: task={dataset.task!r}.")


@keras.saving.register_keras_serializable("mmkd_tf")
class ScaledSquaredError(keras.losses.Loss):
    """Mean over targets of `((labels - outputs) / scale)**2`.

    Args:
        scale: A number above 0 for each target, such as its standard deviation.
        reduction: As in Keras.
        name: As in Keras.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        scale: Sequence[float],
        reduction: str = "sum_over_batch_size",
        name: str = "scaled_squared_error",
    ):
        super().__init__(reduction=reduction, name=name)
        self.scale = [float(number) for number in scale]
        if not self.scale or not min(self.scale) > 0:
            raise ValueError(f"`scale`: numbers above 0. Received: scale={list(scale)}.")

    def call(self, y_true, y_pred):
        """Gives float32 `[batch]`."""
        return losses.squared_loss(teacher_logits=y_true, student_logits=y_pred, scale=self.scale)

    def get_config(self):
        """Mirrors `__init__`."""
        return {"scale": self.scale, "reduction": self.reduction, "name": self.name}
