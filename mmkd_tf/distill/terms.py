"""Terms: what a distillation consists of beside the hard labels, each with its weight."""

import math

import keras

from mmkd_tf.losses.logits import check_temperature, soft_target_loss


@keras.saving.register_keras_serializable("mmkd_tf")
class SoftTargets:
    """The student imitates the teacher's softened class probabilities.

    Args:
        temperature: Softening of both models' logits, above 0.
        weight: Factor of the loss in the sum, 0 or more.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
    """

    name = "soft_target"

    def __init__(self, temperature: float = 4.0, weight: float = 0.9):
        check_temperature(temperature)
        check_weight(weight, argument="weight")
        self.temperature = temperature
        self.weight = weight

    def __call__(self, *, teacher_logits, student_logits):
        """Returns the loss of each example, float32 `[batch]`, before weighting."""
        return soft_target_loss(
            teacher_logits=teacher_logits,
            student_logits=student_logits,
            temperature=self.temperature,
        )

    def get_config(self) -> dict:
        """Mirrors `__init__`."""
        return {"temperature": self.temperature, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict) -> "SoftTargets":
        """Mirrors `get_config`."""
        return cls(**config)


def check_weight(weight: float, *, argument: str) -> None:
    """Refuses a weight that is negative or not finite."""
    if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise ValueError(
            f"`{argument}`: a finite number, 0 or more. Received: {argument}={weight!r}."
        )
