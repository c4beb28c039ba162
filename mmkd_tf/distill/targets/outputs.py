"""TeacherOutputs: what a teacher says of many batches, if it can be kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.distill.forward import LOGITS, multi_output
from mmkd_tf.models.routing import route


class TeacherOutputs:
    """Asks a teacher for its logits and for the outputs of layers, in one pass over a batch.

    Args:
        teacher: Functional model that gives logits.
        layers: Names of layers.

    Attributes:
        names: `logits` and the names of the layers.

    Raises:
        TypeError: If `layers` is no list of names.
        ValueError: If the teacher lacks one of the layers.
    """

    def __init__(self, teacher: keras.Model, layers: Sequence[str]):
        if isinstance(layers, str) or not all(isinstance(name, str) for name in layers):
            raise TypeError(
                f"`layers`: a list of names of layers. Received: layers={layers!r}. Use ['name']."
            )
        self.teacher = teacher
        model = multi_output(teacher, layers, argument="teacher")
        self.names = list(model.output)

        def forward(inputs):
            # Exact: float32 holds every value of the half-precision types.
            outputs = model(inputs, training=False)
            return {name: tf.cast(values, tf.float32) for name, values in outputs.items()}

        self._forward = tf.function(forward, autograph=False)

    def of(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Gives the outputs for a batch: by name, float32 `[batch, ...]`."""
        inputs = route(self.teacher, inputs, teacher="teacher")
        # One graph for batches of any size.
        specs = tf.nest.map_structure(
            lambda v: tf.TensorSpec([None, *v.shape[1:]], v.dtype), inputs
        )
        outputs = self._forward.get_concrete_function(specs)(inputs)
        return {name: outputs[name].numpy() for name in self.names}

    def of_each(self, batches: Iterable[Mapping], num_examples: int) -> Iterator[dict]:
        """Gives the outputs of batches of whole views of `num_examples`.

        Raises:
            ValueError: If outputs are NaN or infinite, or depend on more than the example.
        """
        row = 0
        for inputs in batches:
            outputs = self.of(inputs)
            self._check_finite(outputs, row, num_examples)
            if row == 0:
                self._check_same_for_fewer(inputs, outputs)
            row += len(outputs[LOGITS])
            yield outputs

    def _check_finite(self, outputs, row: int, num_examples: int) -> None:
        finite = {name: np.isfinite(v.reshape(len(v), -1)).all(1) for name, v in outputs.items()}
        bad = np.flatnonzero(~np.logical_and.reduce(list(finite.values())))
        if len(bad):
            view, first = divmod(row, num_examples)
            shown = ", ".join(str(first + index) for index in bad[:5])
            names = [name for name, rows in finite.items() if not rows.all()]
            raise ValueError(
                f"`teacher`: finite outputs. Received: model '{self.teacher.name}', whose {names} "
                f"hold NaN or infinity in {len(bad)} of the first {first + len(outputs[LOGITS]):,} "
                f"examples of view {view}: {shown}{', ...' if len(bad) > 5 else ''}. The others "
                "were not asked. Mend or remove these examples, or train the teacher again."
            )

    def _check_same_for_fewer(self, inputs, outputs: Mapping[str, np.ndarray]) -> None:
        count = -(-len(outputs[LOGITS]) // 2)
        again = self.of({name: values[:count] for name, values in inputs.items()})
        differing = [name for name in outputs if differ(outputs[name][:count], again[name])]
        if differing:
            raise ValueError(
                "`teacher`: outputs that follow from an example alone. Received: model "
                f"'{self.teacher.name}', whose {differing} differ when half of a batch is asked "
                "again. A layer is random, or mixes examples, also in inference: build the teacher "
                "without it."
            )


def differ(kept: np.ndarray, again: np.ndarray) -> bool:
    """Whether outputs differ by more than processors do in rounding, short formats included."""
    return not np.abs(kept - again).max() <= 0.02 * np.abs(kept).max() + 1e-6
