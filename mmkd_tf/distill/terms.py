"""Terms: what a distillation consists of beside the hard labels, each with its weight.

A term is an object with

- `name`: what its loss is logged as, `<name>_loss`;
- `weight`: factor of its loss in the sum, a number or a schedule;
- `teacher`: name of the one teacher that it learns from, or None for all;
- `teacher_layers`, `student_layers`: names of the layers that it reads beside the logits;
- `projection(teacher_shapes=, student_shapes=)`: a layer that is trained with the student, or
  None; shapes by layer name, without the batch;
- `__call__(*, teacher, student, labels, step, projection)`: its loss of each example, `[batch]`.
  `teacher` and `student` are dicts with `logits` and the layers by name, `labels` int32
  `[batch]`, `step` the number of steps made so far.

Terms keep no state, so one can be used in several Distillers.
"""

import inspect
from collections.abc import Callable, Mapping, Set

import keras

from mmkd_tf import losses
from mmkd_tf.distill.schedules import schedule_problems, value_at
from mmkd_tf.losses.checks import refuse

# So that a saved Distiller finds them again.
for _name in losses.__all__:
    keras.saving.register_keras_serializable("mmkd_tf")(getattr(losses, _name))


class Term:
    """Saves a term's arguments, schedules and losses in Keras' form."""

    own_arguments = ("layer",)

    def __init__(self, weight, loss: Callable, loss_options: Mapping, teacher, name: str):
        self.weight, self.loss, self.loss_options = weight, loss, loss_options
        self.teacher, self.name = teacher, name

    def projection(self, *, teacher_shapes, student_shapes):
        """Needs none."""

    def get_config(self) -> dict:
        names = (*self.own_arguments, "weight", "loss", "loss_options", "teacher", "name")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


@keras.saving.register_keras_serializable("mmkd_tf")
class SoftTargets(Term):
    """The student imitates the teacher's softened class probabilities.

    Args:
        temperature: Softening of both models' logits, above 0: a number, a schedule, or None
            for a loss that has no temperature.
        weight: Factor of the loss in the sum, 0 or more: a number or a schedule.
        loss: A loss of `mmkd_tf.losses` with arguments `teacher_logits` and `student_logits`.
            `soft_target_loss` asks for the teacher's probabilities; `dist_loss` for their
            correlation, which leaves the student its own scale: better where the teacher is far
            more certain than the student can become; `decoupled_loss` weighs the label's
            probability and the order of the other classes apart.
        loss_options: Further arguments of the loss, such as `{"standardize": True}`.
        teacher: Name of the teacher to learn from; None for all there are.
        name: What the loss is logged as, with `_loss` added.

    Raises:
        ValueError: If a number is out of its range or an argument would have no effect; all
            problems are listed.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
        Huang, You, Wang, Qian, Xu: Knowledge Distillation from A Stronger Teacher, 2022 (DIST).
        Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, 2022.
    """

    own_arguments = ("temperature",)
    teacher_layers = ()
    student_layers = ()

    def __init__(
        self,
        temperature=4.0,
        weight=0.9,
        loss: Callable = losses.soft_target_loss,
        *,
        loss_options: Mapping | None = None,
        teacher: str | None = None,
        name: str = "soft_target",
    ):
        options = dict(loss_options or {})
        problems = schedule_problems(weight, argument="weight", above_zero=False)
        roles = {"teacher_logits", "student_logits"}
        unusable = loss_problems(loss, options, roles, given={"temperature", "labels"})
        refuse(problems + (unusable or _temperature_problems(temperature, loss)))
        self.temperature = temperature
        super().__init__(weight, loss, options, teacher, name)

    def __call__(self, *, teacher, student, labels, step, projection=None):
        arguments = dict(self.loss_options)
        if self.temperature is not None:
            arguments["temperature"] = value_at(self.temperature, step)
        if "labels" in arguments_of(self.loss):
            arguments["labels"] = labels
        return self.loss(
            teacher_logits=teacher["logits"], student_logits=student["logits"], **arguments
        )


def arguments_of(loss: Callable) -> set[str]:
    """Names of a loss's arguments."""
    return set(inspect.signature(loss).parameters)


def loss_problems(loss: Callable, options: Mapping, roles: Set, *, given: Set = frozenset()):
    """What keeps a term from calling its loss with its two roles, options and what it has given."""
    name = getattr(loss, "__name__", repr(loss))
    if not (callable(loss) and roles <= arguments_of(loss)):
        other = "Hint or Relation" if "teacher_logits" in roles else "SoftTargets"
        wanted = " and ".join(f"`{role}`" for role in sorted(roles, reverse=True))
        return [
            f"`loss`: a function with arguments {wanted}. Received: loss={name}. Take one of "
            f"mmkd_tf.losses; those of the other kind are for {other}."
        ]
    parameters = inspect.signature(loss).parameters.values()
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    possible = arguments_of(loss) - roles - given
    problems = []
    if set(options) - possible:
        problems.append(
            f"`loss_options`: arguments of {name}, which has {sorted(possible)}. Received: "
            f"{sorted(set(options) - possible)}."
        )
    if needed - roles - given - set(options):
        problems.append(
            f"`loss`: a function that this term has all arguments for. Received: loss={name}, "
            f"which needs {sorted(needed - roles - given - set(options))} too. Give them in "
            "`loss_options`, or to learn `log_scale` take Hint."
        )
    return problems


def _temperature_problems(temperature, loss: Callable) -> list[str]:
    if "temperature" in arguments_of(loss):
        return schedule_problems(temperature, argument="temperature", above_zero=True)
    if temperature is None:
        return []
    return [
        f"`temperature`: None, because {loss.__name__} has no temperature. Received: "
        f"temperature={temperature!r}."
    ]
