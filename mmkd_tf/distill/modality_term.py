"""ModalityTerm: one encoder of the student learns from the teacher's encoder of that modality."""

from collections.abc import Callable, Mapping

import keras

from mmkd_tf import losses
from mmkd_tf.distill.feature_terms import Hint
from mmkd_tf.distill.terms import deserialized, serialized


@keras.saving.register_keras_serializable("mmkd_tf")
class ModalityTerm:
    """A hint from one encoder to another, where the example has the modality.

    It reads the layers `<modality>_features` of both models, and the student's layer
    `<modality>_presence`: an example that lacks the modality teaches its encoder nothing. Models
    of `build_teacher` and `build_student` have these layers; for others name layers with `Hint`.

    Args:
        modality: `image`, `text`, ...
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: As for `Hint`.
        loss_options: Further arguments of the loss.
        teacher: Name of the teacher to listen to, which may read this modality alone; None for
            all there are.
        name: What the loss is logged as, with `_loss` added; `<modality>_hint` by default.

    Raises:
        ValueError: As `Hint`.
    """

    def __init__(
        self,
        modality: str,
        weight=1.0,
        loss: Callable = losses.hint_loss,
        *,
        loss_options: Mapping | None = None,
        teacher: str | None = None,
        name: str | None = None,
    ):
        self.modality = modality
        self.hint = Hint(
            f"{modality}_features",
            weight,
            loss,
            loss_options=loss_options,
            teacher=teacher,
            name=name or f"{modality}_hint",
        )
        self.weight, self.loss, self.loss_options = weight, loss, self.hint.loss_options
        self.teacher, self.name = teacher, self.hint.name
        self.teacher_layers = self.hint.teacher_layers
        self.student_layers = (*self.hint.student_layers, f"{modality}_presence")
        self.projection = self.hint.projection

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        """Returns the loss of each example, float32 `[batch]`, before weighting."""
        values = self.hint(teacher=teacher, student=student, projection=projection)
        presence = keras.ops.cast(student[f"{self.modality}_presence"][:, 0], "float32")
        return values * presence

    def get_config(self) -> dict:
        """Mirrors `__init__`."""
        names = ("modality", "weight", "loss", "loss_options", "teacher", "name")
        return serialized(self, *names)

    @classmethod
    def from_config(cls, config: dict) -> "ModalityTerm":
        """Mirrors `get_config`."""
        return cls(**deserialized(config))
