"""Cross-fitted teacher: several heads on frozen features, each trained without a part of the rows.

A head that fits its training rows says little more of them than their labels. So each training row
is answered by the one head that has not seen it, and every other row by all of them together.
"""

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.modalities.modality import teacher_inputs
from mmkd_tf.models.builder import DatasetLike, build_teacher

FOLD = "fold"  # the input that says which head answers
HEAD = "head_{}"
# Who may answer a row: the one head that has not seen it, or all of them.
ANSWERING = ("single", "joint")


def cross_fitted_teacher(dataset: DatasetLike, *, folds: int, **arguments) -> keras.Model:
    """Builds the teacher of `folds` heads.

    Args:
        dataset: As for `build_teacher`.
        folds: Number of heads; one alone will have seen every row.
        **arguments: Those of `build_teacher`.

    Returns:
        A Functional model of the same inputs and `fold`, float32 `[batch, folds]`, the weight of
        each head's logits: `fold_weights` makes it. Its layers `head_0` and so on are the heads,
        `<input>_features` give what all of them read, and `logits` divides by a `Temperature`, 1
        until `mmkd_tf.distill.calibration` sets it.

    References:
        Dao, Kamath, Syrgkanis, Mackey: Knowledge Distillation as Semiparametric Inference, 2021
        (cross-fitted teachers).
    """
    if arguments.get("inputs") is None:
        arguments["inputs"] = [n for n in teacher_inputs(dataset.modalities) if n != FOLD]
    heads = [build_teacher(dataset, **arguments) for _ in range(folds)]
    for number, head in enumerate(heads):
        head.name = HEAD.format(number)
    given = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in heads[0].input.items()
    }
    read = {
        name: layers.Identity(name=f"{name}_features")(tensor) for name, tensor in given.items()
    }
    num_outputs = heads[0].output.shape[-1]
    answers = [layers.Reshape([1, num_outputs], name=f"{h.name}_answer")(h(read)) for h in heads]
    fold = keras.Input([folds], dtype="float32", name=FOLD)
    stacked = layers.Concatenate(axis=1, name="answers", dtype="float32")(answers)
    mean = layers.Dot(axes=1, name="mean_answer", dtype="float32")([fold, stacked])
    logits = Temperature(name="logits", dtype="float32")(mean, fold)
    return keras.Model({**given, FOLD: fold}, logits, name="teacher")


@keras.saving.register_keras_serializable("mmkd_tf")
class Temperature(layers.Layer):
    """Divides logits `[batch, num_outputs]` by a temperature, of which there are two.

    They are the weight `temperatures`, float32 `[2]`, 1 at first and not trained: of rows that one
    head answers, and of those that several answer, whose mean is less sure. Which they are `fold`,
    `[batch, folds]`, says.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """

    def build(self, logits_shape, fold_shape):
        self.temperatures = self.add_weight(
            name="temperatures", shape=[len(ANSWERING)], initializer="ones", trainable=False
        )

    def call(self, logits, fold):
        single = ops.max(fold, axis=1, keepdims=True) > 0.75  # of two heads each has a half
        return logits / ops.where(single, self.temperatures[0], self.temperatures[1])


def temperatures_of(teacher: keras.Model) -> dict[str, float] | None:
    """By who answers, `single` head or `joint`, what logits are divided by; None if by nothing."""
    last = next((layer for layer in teacher.layers if isinstance(layer, Temperature)), None)
    if last is None:
        return None
    return dict(zip(ANSWERING, map(float, ops.convert_to_numpy(last.temperatures)), strict=True))


def heads_of(teacher: keras.Model) -> list[keras.Model]:
    """The heads of a cross-fitted teacher, by number; none of another teacher."""
    names = {layer.name for layer in teacher.layers}
    found: list[keras.Model] = []
    while HEAD.format(len(found)) in names:
        found.append(teacher.get_layer(HEAD.format(len(found))))
    return found


def fold_weights(folds_of_rows: np.ndarray, folds: int) -> np.ndarray:
    """Gives rows to the heads that have not seen them.

    Args:
        folds_of_rows: Of each row the number of its fold, int `[n]`; -1 where no head has seen it.
        folds: How many there are.

    Returns:
        float32 `[n, folds]`, one for the head of the row's fold, or equal parts of one for all.
    """
    weights = np.eye(folds, dtype=np.float32)[np.maximum(folds_of_rows, 0)]
    return np.where((folds_of_rows < 0)[:, None], np.float32(1 / folds), weights)
