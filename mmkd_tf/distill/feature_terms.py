"""Terms on features: hints, and relations between the examples of a batch."""

from collections.abc import Callable, Mapping

import keras

from mmkd_tf import losses
from mmkd_tf.distill.projections import Projection, at_positions, common_positions
from mmkd_tf.distill.schedules import schedule_problems
from mmkd_tf.distill.terms import arguments_of, deserialized, loss_problems, serialized
from mmkd_tf.losses.checks import refuse


@keras.saving.register_keras_serializable("mmkd_tf")
class Hint:
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
        teacher: Name of the teacher to listen to; None for all there are.
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
        self.loss_options = dict(loss_options or {})
        problems = _problems(weight, loss, self.loss_options, given={"log_scale"})
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
        self.weight = weight
        self.loss = loss
        self.projected = projection
        self.teacher = teacher
        self.name = name or f"hint_{student_layer}"

    def projection(self, *, teacher_shapes, student_shapes) -> keras.layers.Layer | None:
        """Makes the layer that is trained with the student, if one is needed."""
        if self.projected is None:
            return None
        (teacher_layer,), (student_layer,) = self.teacher_layers, self.student_layers
        ours, theirs = student_shapes[student_layer], teacher_shapes[teacher_layer]
        positions = common_positions(theirs, ours, argument=self.name)
        log_scale = "log_scale" in arguments_of(self.loss)
        # A projection would learn to look where the teacher looks in the student's stead.
        any_widths = self.loss is losses.attention_transfer_loss
        if (ours[-1] == theirs[-1] or any_widths) and not log_scale:
            return None
        layer = Projection(theirs[-1], log_scale=log_scale)
        layer.build((None, *positions, ours[-1]))
        return layer

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        """Returns the loss of each example, float32 `[batch]`, before weighting."""
        theirs, ours = teacher[self.teacher_layers[0]], student[self.student_layers[0]]
        arguments = dict(self.loss_options)
        if self.projected is not None:
            shapes = tuple(theirs.shape[1:]), tuple(ours.shape[1:])
            positions = common_positions(*shapes, argument=self.name)
            theirs, ours = at_positions(theirs, positions), at_positions(ours, positions)
        if projection is not None:
            ours = projection(ours)
            if projection.log_scale is not None:
                arguments["log_scale"] = projection.log_scale
        return self.loss(teacher_features=theirs, student_features=ours, **arguments)

    def get_config(self) -> dict:
        """Mirrors `__init__`."""
        names = ("layer", "weight", "loss", "loss_options", "teacher", "name")
        return {**serialized(self, *names), "projection": self.projected}

    @classmethod
    def from_config(cls, config: dict) -> "Hint":
        """Mirrors `get_config`."""
        return cls(**deserialized(config))


@keras.saving.register_keras_serializable("mmkd_tf")
class Relation:
    """The examples of a batch lie to each other, in the student's layer, as in the teacher's.

    Widths may differ: what is compared is distances, angles or similarities between examples, so
    nothing has to be projected.

    Args:
        layer: Name of a layer that both models have, or `{"teacher": name, "student": name}`.
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: A loss of `mmkd_tf.losses` between batches of features: `relational_distance_loss`,
            `relational_angle_loss`, `similarity_preserving_loss` or `pkt_loss`.
        loss_options: Further arguments of the loss.
        teacher: Name of the teacher to listen to; None for all there are.
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
        self.loss_options = dict(loss_options or {})
        refuse(_problems(weight, loss, self.loss_options))
        self.weight = weight
        self.loss = loss
        self.teacher = teacher
        self.name = name or f"relation_{student_layer}"

    def projection(self, *, teacher_shapes, student_shapes):
        """Needs none."""

    def __call__(self, *, teacher, student, labels=None, step=None, projection=None):
        """Returns the loss of each example, float32 `[batch]`, before weighting."""
        return self.loss(
            teacher_features=teacher[self.teacher_layers[0]],
            student_features=student[self.student_layers[0]],
            **self.loss_options,
        )

    def get_config(self) -> dict:
        """Mirrors `__init__`."""
        return serialized(self, "layer", "weight", "loss", "loss_options", "teacher", "name")

    @classmethod
    def from_config(cls, config: dict) -> "Relation":
        """Mirrors `get_config`."""
        return cls(**deserialized(config))


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


def _problems(weight, loss: Callable, options: Mapping, *, given: set = frozenset()) -> list[str]:
    problems = schedule_problems(weight, argument="weight", above_zero=False)
    roles = {"teacher_features", "student_features"}
    return problems + loss_problems(loss, options, roles, given=given)
