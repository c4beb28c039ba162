"""Terms on features: hints of a layer or of one input's encoder, and relations in a batch."""

from collections.abc import Callable, Mapping, Set

import keras
from keras import layers, ops

from mmkd_tf import losses
from mmkd_tf.distill.schedules import schedule_problems
from mmkd_tf.distill.terms import Term, arguments_of, loss_problems
from mmkd_tf.losses.checks import refuse


@keras.saving.register_keras_serializable("mmkd_tf")
class Hint(Term):
    """The student's features imitate those of a teacher's layer.

    With `projection="auto"` the student's features are brought to the teacher's shape: by a
    dense layer (at each position, so a 1x1 convolution on maps) where the widths differ, and by
    averaging the finer of both over neighbouring positions where the sizes differ. What is
    learned for that is trained with the student and is not part of it. `attention_transfer_loss`
    takes any widths, so the student's own channels are compared there.

    Args:
        layer: Name of a layer that both models have, or `{"teacher": name, "student": name}`.
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: A loss of `mmkd_tf.losses` with arguments `teacher_features`, `student_features`,
            such as `hint_loss`, `cosine_hint_loss`, `variational_information_loss`,
            `attention_transfer_loss` or `contrastive_loss`.
        loss_options: Further arguments of the loss.
        projection: `"auto"`, or None for features that are compared as they are: equal shapes,
            or a loss that needs no equal widths.
        teacher: Name of the teacher to learn from; None for all there are.
        name: What the loss is logged as, with `_loss` added; `hint_<student's layer>` by default.

    Raises:
        TypeError: If the pair of layers is not named.
        ValueError: If a number is out of its range or an argument would have no effect.

    References:
        Romero, Ballas, Kahou, Chassang, Gatta, Bengio: FitNets: Hints for Thin Deep Nets, 2015.
    """

    def __init__(
        self,
        layer: str | Mapping[str, str],
        weight=1.0,
        loss: Callable = losses.hint_loss,
        *,
        loss_options: Mapping | None = None,
        projection: str | None = "auto",
        teacher: str | None = None,
        name: str | None = None,
    ):
        self.layer = layer
        teacher_layer, student_layer = _pair(layer)
        self.teacher_layers, self.student_layers = (teacher_layer,), (student_layer,)
        options = dict(loss_options or {})
        problems = _problems(weight, loss, options, given={"log_scale"})
        if projection not in ("auto", None):
            problems.append(
                f"`projection`: 'auto' or None. Received: projection={projection!r}. To use a "
                "layer of your own, put it into the student and name it."
            )
        if projection is None and not problems and "log_scale" in arguments_of(loss):
            problems.append(
                "`projection`: 'auto' for a loss with a spread to learn. Received: "
                f"projection=None, loss={loss.__name__}."
            )
        refuse(problems)
        self.projected = projection
        super().__init__(weight, loss, options, teacher, name or f"hint_{student_layer}")

    def projection(self, *, teacher_shapes, student_shapes) -> keras.layers.Layer | None:
        """Makes the layer that is trained with the student, if one is needed."""
        if self.projected is None:
            return None
        (teacher_layer,), (student_layer,) = self.teacher_layers, self.student_layers
        student_shape, teacher_shape = student_shapes[student_layer], teacher_shapes[teacher_layer]
        positions = common_positions(teacher_shape, student_shape, argument=self.name)
        log_scale = "log_scale" in arguments_of(self.loss)
        # A projection would learn to look where the teacher looks in the student's stead.
        any_widths = self.loss is losses.attention_transfer_loss
        if (student_shape[-1] == teacher_shape[-1] or any_widths) and not log_scale:
            return None
        layer = Projection(teacher_shape[-1], log_scale=log_scale)
        layer.build((None, *positions, student_shape[-1]))
        return layer

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        teacher_features = teacher[self.teacher_layers[0]]
        student_features = student[self.student_layers[0]]
        arguments = dict(self.loss_options)
        if self.projected is not None:
            shapes = tuple(teacher_features.shape[1:]), tuple(student_features.shape[1:])
            positions = common_positions(*shapes, argument=self.name)
            teacher_features = at_positions(teacher_features, positions)
            student_features = at_positions(student_features, positions)
        if projection is not None:
            student_features = projection(student_features)
            if projection.log_scale is not None:
                arguments["log_scale"] = projection.log_scale
        return self.loss(
            teacher_features=teacher_features, student_features=student_features, **arguments
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "projection": self.projected}


@keras.saving.register_keras_serializable("mmkd_tf")
class Relation(Term):
    """The examples of a batch lie to each other, in the student's layer, as in the teacher's.

    Widths may differ: what is compared is distances, angles or similarities between examples, so
    nothing has to be projected.

    Args:
        layer: Name of a layer that both models have, or `{"teacher": name, "student": name}`.
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: A loss of `mmkd_tf.losses` between batches of features: `relational_distance_loss`,
            `relational_angle_loss`, `similarity_preserving_loss` or `pkt_loss`.
        loss_options: Further arguments of the loss.
        teacher: Name of the teacher to learn from; None for all there are.
        name: What the loss is logged as, with `_loss` added; `relation_<student's layer>` by
            default.

    Raises:
        TypeError: If the pair of layers is not named.
        ValueError: If a number is out of its range or an argument would have no effect.

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, 2019.
    """

    def __init__(
        self,
        layer: str | Mapping[str, str],
        weight=1.0,
        loss: Callable = losses.relational_distance_loss,
        *,
        loss_options: Mapping | None = None,
        teacher: str | None = None,
        name: str | None = None,
    ):
        self.layer = layer
        teacher_layer, student_layer = _pair(layer)
        self.teacher_layers, self.student_layers = (teacher_layer,), (student_layer,)
        options = dict(loss_options or {})
        refuse(_problems(weight, loss, options))
        super().__init__(weight, loss, options, teacher, name or f"relation_{student_layer}")

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        return self.loss(
            teacher_features=teacher[self.teacher_layers[0]],
            student_features=student[self.student_layers[0]],
            **self.loss_options,
        )


def _pair(layer) -> tuple[str, str]:
    """Names of the teacher's and the student's layer."""
    if isinstance(layer, str):
        return layer, layer
    if isinstance(layer, Mapping) and set(layer) == {"teacher", "student"}:
        return layer["teacher"], layer["student"]
    raise TypeError(
        "`layer`: the name of a layer that both models have, or "
        '{"teacher": name, "student": name}, because positions are easily mixed up. Received: '
        f"layer={layer!r}."
    )


def _problems(weight, loss: Callable, options: Mapping, *, given: Set = frozenset()) -> list[str]:
    problems = schedule_problems(weight, argument="weight", above_zero=False)
    roles = {"teacher_features", "student_features"}
    return problems + loss_problems(loss, options, roles, given=given)


@keras.saving.register_keras_serializable("mmkd_tf")
class ModalityTerm(Term):
    """A hint from one encoder to another, where the example has the modality.

    It reads the layers `<modality>_features` of both models, and the student's layer
    `<modality>_presence`: an example that lacks the modality teaches its encoder nothing. Models
    of `build_teacher` and `build_student` have these layers; for others name layers with `Hint`.

    Args:
        modality: Name of the input.
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: As for `Hint`.
        loss_options: Further arguments of the loss.
        teacher: Name of the teacher to learn from, which may read this input alone; None for all
            there are.
        name: What the loss is logged as, with `_loss` added; `<modality>_hint` by default.

    Raises:
        ValueError: As `Hint`.
    """

    own_arguments = ("modality",)

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
        super().__init__(weight, loss, self.hint.loss_options, teacher, self.hint.name)
        self.teacher_layers = self.hint.teacher_layers
        self.student_layers = (*self.hint.student_layers, f"{modality}_presence")

    def projection(self, *, teacher_shapes, student_shapes) -> keras.layers.Layer | None:
        """That of the hint."""
        return self.hint.projection(teacher_shapes=teacher_shapes, student_shapes=student_shapes)

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        values = self.hint(teacher=teacher, student=student, projection=projection)
        presence = keras.ops.cast(student[f"{self.modality}_presence"][:, 0], "float32")
        return values * presence


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
        self.dense.build(input_shape)
        if self.has_log_scale:
            self.log_scale = self.add_weight(
                shape=[self.width], initializer="zeros", name="log_scale", dtype="float32"
            )

    def call(self, features):
        """Maps `[batch, ..., student_width]` to `[batch, ..., width]`."""
        return self.dense(features)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "log_scale": self.has_log_scale}


def common_positions(teacher_shape: tuple, student_shape: tuple, *, argument: str) -> tuple:
    """Finds the positions at which two layers can be compared, the coarser of both.

    Shapes are `(..., width)`, without the batch. Gives the sizes of the axes between batch and
    width: () for vectors, or where one side is a vector, as the other is then averaged over all.
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
