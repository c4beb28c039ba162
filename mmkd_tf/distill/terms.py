"""Terms: what a distillation consists of beside the hard labels, each with its weight."""

import math
from collections.abc import Callable

import keras

from mmkd_tf.losses import dist_loss, soft_target_cross_entropy, soft_target_loss
from mmkd_tf.losses.checks import check_temperature

# So that a saved Distiller finds them again.
for _loss in (soft_target_loss, soft_target_cross_entropy, dist_loss):
    keras.saving.register_keras_serializable("mmkd_tf")(_loss)


@keras.saving.register_keras_serializable("mmkd_tf")
class SoftTargets:
    """The student imitates the teacher's softened class probabilities.

    Args:
        temperature: Softening of both models' logits, above 0.
        weight: Factor of the loss in the sum, 0 or more.
        loss: A loss of `mmkd_tf.losses` with arguments `teacher_logits`, `student_logits` and
            `temperature`. `soft_target_loss` asks for the teacher's probabilities; `dist_loss`
            for their correlation, which leaves the student its own scale: better where the
            teacher is far more certain than the student can become.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
        Huang, You, Wang, Qian, Xu: Knowledge Distillation from A Stronger Teacher, 2022 (DIST).
    """

    name = "soft_target"

    def __init__(
        self,
        temperature: float = 4.0,
        weight: float = 0.9,
        loss: Callable = soft_target_loss,
    ):
        check_temperature(temperature)
        check_weight(weight, argument="weight")
        self.temperature = temperature
        self.weight = weight
        self.loss = loss

    def __call__(self, *, teacher_logits, student_logits):
        """Returns the loss of each example, float32 `[batch]`, before weighting."""
        return self.loss(
            teacher_logits=teacher_logits,
            student_logits=student_logits,
            temperature=self.temperature,
        )

    def get_config(self) -> dict:
        """Mirrors `__init__`."""
        return {
            "temperature": self.temperature,
            "weight": self.weight,
            "loss": keras.saving.serialize_keras_object(self.loss),
        }

    @classmethod
    def from_config(cls, config: dict) -> "SoftTargets":
        """Mirrors `get_config`."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def check_weight(weight: float, *, argument: str) -> None:
    """Refuses a weight that is negative or not finite."""
    if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise ValueError(
            f"`{argument}`: a finite number, 0 or more. Received: {argument}={weight!r}."
        )
