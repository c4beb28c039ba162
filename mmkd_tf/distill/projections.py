"""Projections: student features brought to the shape of a teacher's hint."""

import keras
from keras import layers, ops

from mmkd_tf.losses.checks import refuse


@keras.saving.register_keras_serializable("mmkd_tf")
class Projection(layers.Layer):
    """Maps student features linearly to the teacher's width, at each position alike.

    A dense layer for vectors and sequences, which for pictures is a 1x1 convolution. It belongs
    to the training and not to the student: it is not exported.

    Args:
        width: Width of the teacher's features.
        log_scale: Whether it also learns the logarithm of each channel's spread, which
            `variational_information_loss` asks for.
    """

    def __init__(self, width: int, *, log_scale: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = layers.Dense(
            width, kernel_initializer=keras.initializers.GlorotUniform(seed=0), name="dense"
        )
        self.has_log_scale = log_scale
        self.log_scale = None

    def build(self, input_shape):
        """Makes the weights."""
        self.dense.build(input_shape)
        if self.has_log_scale:
            self.log_scale = self.add_weight(
                shape=[self.width], initializer="zeros", name="log_scale", dtype="float32"
            )

    def call(self, features):
        """Maps `[batch, ..., student_width]` to `[batch, ..., width]`."""
        return self.dense(features)

    def get_config(self):
        """Mirrors `__init__`."""
        return {**super().get_config(), "width": self.width, "log_scale": self.has_log_scale}


def common_positions(teacher_shape: tuple, student_shape: tuple, *, argument: str) -> tuple:
    """Finds the positions at which two layers can be compared, the coarser of both.

    Args:
        teacher_shape: `(..., width)` of the teacher's features without the batch.
        student_shape: The same of the student's.
        argument: The term that asks, for the message.

    Returns:
        Sizes of the axes between batch and width: () for vectors. Where one side is a vector,
        the other is averaged over all its positions.

    Raises:
        ValueError: If sizes are unknown, or a sequence stands beside a map.
    """
    teacher, student = teacher_shape[:-1], student_shape[:-1]
    received = f"Received: teacher {teacher_shape}, student {student_shape} (without the batch)."
    problems = []
    if not teacher_shape or not student_shape or None in (teacher_shape[-1], student_shape[-1]):
        problems.append(f"`{argument}`: layers whose last axis is a known width. {received}")
    elif teacher and student and len(teacher) != len(student):
        problems.append(
            f"`{argument}`: two vectors, two sequences or two maps, or a vector beside either. "
            f"{received} Name a layer after the pooling."
        )
    elif teacher and student and teacher != student and None in (*teacher, *student):
        problems.append(
            f"`{argument}`: layers of known sizes, or of equal ones. {received} Give keras.Input "
            "the size, or name a layer after the pooling."
        )
    refuse(problems)
    if teacher == student:
        return teacher
    if not (teacher and student):
        return ()
    return tuple(min(pair) for pair in zip(teacher, student, strict=True))


def at_positions(features, positions: tuple):
    """Averages features `[batch, ..., width]` over neighbours until they have these positions."""
    if tuple(features.shape[1:-1]) == positions:
        return features
    if not positions:
        return ops.mean(features, axis=tuple(range(1, len(features.shape) - 1)))
    return ops.adaptive_average_pool(features, output_size=positions, data_format="channels_last")
