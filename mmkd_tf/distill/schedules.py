"""Schedules: temperatures and weights as functions of the training step.

They are Keras schedules, called with the step (an integer or integer tensor, from 0), and give a
float32 scalar tensor, inside `tf.function` and XLA too.
"""

import math
from dataclasses import asdict, dataclass

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from mmkd_tf.losses.checks import LEAST, beyond, is_weight, refuse

# Other schedules don't tell their range: it is read off at step 0 and at powers of two.
_SAMPLED_STEPS = (0, *(2**power for power in range(21)))


@keras.saving.register_keras_serializable("mmkd_tf")
@dataclass(frozen=True)
class Constant(LearningRateSchedule):
    """The same value at every step.

    Args:
        value: The value, 0 or more.

    Raises:
        ValueError: If the value is negative or not a finite number.
    """

    value: float

    def __post_init__(self):
        refuse(_number_problems(value=self.value))

    def __call__(self, step):
        return ops.convert_to_tensor(self.value, "float32")

    def get_config(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class _Ramp(LearningRateSchedule):
    """Goes from one value to another within a number of steps."""

    start: float
    end: float
    num_steps: int

    def __post_init__(self):
        refuse(
            _number_problems(start=self.start, end=self.end)
            + count_problems(num_steps=self.num_steps)
        )

    def get_config(self) -> dict:
        return asdict(self)


@keras.saving.register_keras_serializable("mmkd_tf")
class Linear(_Ramp):
    """A straight line from one value to another, which then stays.

    `start + (end - start) * min(step / num_steps, 1)`.

    Args:
        start: Value at step 0, 0 or more.
        end: Value from step `num_steps` on, 0 or more.
        num_steps: Steps from one to the other, 1 or more.

    Raises:
        ValueError: If an argument is out of its range; all that are wrong are listed.

    Examples:
        >>> schedule = Linear(4.0, 2.0, num_steps=10)
        >>> [float(schedule(step)) for step in (0, 5, 10, 99)]
        [4.0, 3.0, 2.0, 2.0]
    """

    def __call__(self, step):
        done = _share(step, self.num_steps)
        return self.start * (1.0 - done) + self.end * done  # exact at both ends


@keras.saving.register_keras_serializable("mmkd_tf")
class Cosine(_Ramp):
    """Half a cosine wave from one value to another, slow at both ends, which then stays.

    `end + (start - end) * (1 + cos(pi * min(step / num_steps, 1))) / 2`.

    Args:
        start: Value at step 0, 0 or more.
        end: Value from step `num_steps` on, 0 or more.
        num_steps: Steps from one to the other, 1 or more.

    Raises:
        ValueError: If an argument is out of its range; all that are wrong are listed.

    Examples:
        >>> schedule = Cosine(1.0, 0.0, num_steps=6)
        >>> [round(float(schedule(step)), 2) for step in (0, 2, 3, 6, 99)]
        [1.0, 0.75, 0.5, 0.0, 0.0]
    """

    def __call__(self, step):
        done = (1.0 - ops.cos(math.pi * _share(step, self.num_steps))) / 2
        return self.start * (1.0 - done) + self.end * done


@keras.saving.register_keras_serializable("mmkd_tf")
@dataclass(frozen=True)
class WarmUp(LearningRateSchedule):
    """A straight rise from 0 to a schedule's first value, then that schedule.

    The schedule is counted from the end of the rise, so that nothing of it is lost and there is
    no jump: `min(step / num_steps, 1) * schedule(max(step - num_steps, 0))`. As it begins at 0,
    it is for weights and not for temperatures.

    Args:
        schedule: What follows: a number above 0, or a schedule that begins above 0.
        num_steps: Steps of the rise, 1 or more; step 0 has the value 0.

    Raises:
        ValueError: If an argument is out of its range; all that are wrong are listed.

    Examples:
        >>> schedule = WarmUp(Linear(8.0, 4.0, num_steps=4), num_steps=2)
        >>> [float(schedule(step)) for step in range(7)]
        [0.0, 4.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    """

    schedule: float | LearningRateSchedule
    num_steps: int

    def __post_init__(self):
        problems = schedule_problems(self.schedule, argument="schedule", above_zero=False)
        if not problems and float(value_at(self.schedule, 0)) == 0:
            problems.append(
                "`schedule`: a number or a schedule that begins above 0, because the rise goes to "
                f"its first value. Received: schedule={self.schedule!r}. Linear rises from 0 by "
                "itself."
            )
        refuse(problems + count_problems(num_steps=self.num_steps))

    def __call__(self, step):
        following = value_at(self.schedule, ops.maximum(step - self.num_steps, 0))
        return _share(step, self.num_steps) * following

    def get_config(self) -> dict:
        serialized = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": serialized, "num_steps": self.num_steps}

    @classmethod
    def from_config(cls, config: dict) -> "WarmUp":
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**{**config, "schedule": schedule})


def value_at(value, step):
    """Reads a number (a float) or a schedule (a float32 scalar tensor) at a step, from 0."""
    if _is_number(value):
        return float(value)
    if not isinstance(value, LearningRateSchedule):
        raise TypeError(_expected("value", value, "a number or a schedule"))
    return ops.cast(value(step), "float32")


def greatest_value(value) -> float:
    """The greatest value that a number or a schedule takes; a weight is in use if it is above 0."""
    return _extremes(value)[1]


def schedule_problems(value, *, argument: str, above_zero: bool) -> list[str]:
    """What is wrong with a number or schedule: neither of these, or values out of range."""
    wanted = "above 0" if above_zero else "0 or more"
    if not (_is_number(value) or isinstance(value, LearningRateSchedule)):
        return [_expected(argument, value, f"a finite number {wanted}, or a schedule")]
    least, greatest = _extremes(value)
    # Comparisons with NaN are false, so NaN is refused too.
    if (LEAST <= least if above_zero else 0 <= least) and is_weight(greatest):
        return []
    if _is_number(value):
        return [
            f"`{argument}`: a finite number, {wanted}. Received: {argument}={value!r}."
            + beyond(value)
        ]
    return [
        f"`{argument}`: a schedule of finite values, {wanted}. Received: {argument}={value!r}, "
        f"whose values go from {least:g} to {greatest:g}. Change where it starts or ends."
    ]


def _extremes(value) -> tuple[float, float]:
    """The least and the greatest value of a number or a schedule."""
    if isinstance(value, WarmUp):
        return 0.0, greatest_value(value.schedule)
    if isinstance(value, _Ramp):
        return min(value.start, value.end), max(value.start, value.end)
    steps = _SAMPLED_STEPS if isinstance(value, LearningRateSchedule) else (0,)
    values = [float(value_at(value, step)) for step in steps]
    # Python's min and max lose a NaN unless it comes first.
    return min(sorted(values, key=math.isnan, reverse=True)), max(values)


def _share(step, num_steps: int):
    """How much of `num_steps` is done, 0 to 1."""
    return ops.clip(ops.cast(step, "float32") / num_steps, 0.0, 1.0)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_problems(**values) -> list[str]:
    return [
        f"`{name}`: a finite number, 0 or more. Received: {name}={value!r}.{beyond(value)}"
        for name, value in values.items()
        if not (_is_number(value) and is_weight(value))
    ]


def count_problems(**counts) -> list[str]:
    """Counts that are not integers of at least 1."""
    return [
        f"`{name}`: an integer, 1 or more. Received: {name}={count!r}."
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < 1
    ]


def _expected(argument: str, value, wanted: str) -> str:
    return (
        f"`{argument}`: {wanted} (Constant, Linear, Cosine, WarmUp, or one of "
        f"keras.optimizers.schedules). Received: {argument}={value!r} of type "
        f"{type(value).__name__}."
    )
