import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule

from mmkd_tf.distill.schedules import (
    Constant,
    Cosine,
    Linear,
    WarmUp,
    greatest_value,
    schedule_problems,
    value_at,
)
from mmkd_tf.losses.checks import refuse

EVERY = [
    Constant(3.0),
    Linear(4.0, 1.0, 10),
    Cosine(0.0, 2.0, 10),
    WarmUp(0.9, 5),
    WarmUp(Cosine(2.0, 1.0, 10), 5),
    WarmUp(CosineDecay(1.0, 10), 5),
]


def values(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_constant_is_its_value():
    np.testing.assert_array_equal(values(Constant(0.25), [0, 1, 10**6]), [0.25] * 3)


def test_linear_follows_the_line_and_stays():
    steps = np.arange(30)
    np.testing.assert_allclose(
        values(Linear(4.0, 1.0, 20), steps), np.interp(steps, [0, 20], [4.0, 1.0]), rtol=1e-6
    )


def test_cosine_follows_half_a_wave_and_stays():
    steps = np.arange(30)
    expected = 1.0 + (4.0 - 1.0) * (1 + np.cos(np.pi * np.minimum(steps / 20, 1))) / 2
    np.testing.assert_allclose(values(Cosine(4.0, 1.0, 20), steps), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_both_ends_are_exact(kind):
    schedule = kind(0.7, 0.1, 7)
    assert float(schedule(0)) == np.float32(0.7)
    assert float(schedule(7)) == float(schedule(10**9)) == np.float32(0.1)


def test_warm_up_rises_to_the_first_value_and_counts_on_from_there():
    inner = Linear(3.0, 1.0, 8)
    np.testing.assert_allclose(
        values(WarmUp(inner, 4), range(4)), [0.0, 0.75, 1.5, 2.25], rtol=1e-6
    )
    np.testing.assert_array_equal(values(WarmUp(inner, 4), range(4, 20)), values(inner, range(16)))


def test_warm_up_of_a_number_stays_at_it():
    np.testing.assert_allclose(values(WarmUp(0.5, 2), [0, 1, 2, 3]), [0, 0.25, 0.5, 0.5])


@pytest.mark.parametrize("schedule", EVERY)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_eager_graph_and_xla_agree_in_float32(schedule, dtype):
    graph = tf.function(schedule)
    compiled = tf.function(schedule, jit_compile=True)
    for step in (0, 3, 5, 12, 40):
        expected = value_at(schedule, step)
        assert expected.dtype == "float32" and expected.shape == ()
        for call in (schedule, graph, compiled):
            result = call(tf.constant(step, dtype))
            assert result.dtype == "float32" and result.shape == ()
            assert float(result) == pytest.approx(float(expected), rel=1e-6)


def test_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert Linear(4.0, 1.0, 3)(1).dtype == "float32"
        assert value_at(CosineDecay(1.0, 10), 1).dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("schedule", EVERY)
def test_a_saved_schedule_comes_back(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is type(schedule)
    np.testing.assert_array_equal(values(loaded, range(20)), values(schedule, range(20)))


def test_a_schedule_serves_as_learning_rate():
    optimizer = keras.optimizers.SGD(Linear(1.0, 0.0, 2))
    variable = keras.Variable([0.0])
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], [variable])
    assert float(variable[0]) == -1.5


def test_numbers_stay_numbers():
    value = value_at(2, tf.constant(7))
    assert isinstance(value, float) and value == 2.0


def test_schedules_of_keras_are_read():
    assert float(value_at(ExponentialDecay(4.0, 10, 0.5), 10)) == pytest.approx(2.0)


@pytest.mark.parametrize("value", ["4", None, True, lambda step: 1.0])
def test_other_things_are_neither_number_nor_schedule(value):
    with pytest.raises(TypeError, match="`value`: a number or a schedule .*Received: value="):
        value_at(value, 0)
    with pytest.raises(ValueError, match="`weight`: a finite number 0 or more, or a schedule"):
        refuse(schedule_problems(value, argument="weight", above_zero=False))


@pytest.mark.parametrize("value", [-1, -math.inf, math.inf, math.nan])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="`weight`: a finite number, 0 or more. Received: weight="):
        refuse(schedule_problems(value, argument="weight", above_zero=False))


def test_zero_is_refused_where_it_must_be_above():
    refuse(schedule_problems(0, argument="weight", above_zero=False))
    with pytest.raises(ValueError, match="`temperature`: a finite number, above 0"):
        refuse(schedule_problems(0, argument="temperature", above_zero=True))


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.0),
        Linear(4.0, 0.0, 10),
        Linear(0.0, 4.0, 10),
        Cosine(1.0, 0.0, 10),
        WarmUp(4.0, 10),
        CosineDecay(4.0, 1000),
    ],
)
def test_a_schedule_that_touches_zero_is_for_weights_only(schedule):
    refuse(schedule_problems(schedule, argument="weight", above_zero=False))
    with pytest.raises(ValueError, match="`temperature`: a schedule.* above 0.* go from 0 to"):
        refuse(schedule_problems(schedule, argument="temperature", above_zero=True))


class _Shifted(LearningRateSchedule):
    def __init__(self, values):
        self.values = values

    def __call__(self, step):
        return tf.gather(self.values, min(step, len(self.values) - 1))


@pytest.mark.parametrize("last", [-1.0, math.inf, math.nan])
def test_a_keras_schedule_that_leaves_the_range_is_refused(last):
    with pytest.raises(ValueError, match="`weight`: a schedule of finite values"):
        refuse(schedule_problems(_Shifted([1.0, last, 1.0]), argument="weight", above_zero=False))
    refuse(schedule_problems(_Shifted([1.0, 2.0, 1.0]), argument="weight", above_zero=True))


def test_the_greatest_value_tells_whether_a_weight_is_in_use():
    assert greatest_value(2) == 2.0
    assert greatest_value(Constant(0.0)) == 0.0
    assert greatest_value(Linear(4.0, 1.0, 10**9)) == greatest_value(Cosine(1.0, 4.0, 10**9)) == 4.0
    assert greatest_value(WarmUp(Linear(2.0, 5.0, 3), 2)) == 5.0
    assert greatest_value(CosineDecay(0.5, 100)) == 0.5


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_all_wrong_arguments_are_listed(kind):
    with pytest.raises(ValueError) as error:
        kind(-1.0, "2", 0)
    assert str(error.value).splitlines() == [
        "`start`: a finite number, 0 or more. Received: start=-1.0.",
        "`end`: a finite number, 0 or more. Received: end='2'.",
        "`num_steps`: an integer, 1 or more. Received: num_steps=0.",
    ]


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, None])
def test_a_constant_has_a_range(value):
    with pytest.raises(ValueError, match="`value`: a finite number, 0 or more"):
        Constant(value)


@pytest.mark.parametrize("num_steps", [0, -3, 2.0, True])
def test_a_warm_up_lists_what_is_wrong(num_steps):
    with pytest.raises(ValueError, match="(?s)`schedule`: .*schedule=-1.*`num_steps`: an integer"):
        WarmUp(-1, num_steps)


@pytest.mark.parametrize("schedule", [0, Linear(0.0, 1.0, 3), WarmUp(1.0, 3)], ids=repr)
def test_a_warm_up_to_zero_is_none(schedule):
    with pytest.raises(ValueError, match="`schedule`: .* that begins above 0"):
        WarmUp(schedule, 5)


def test_problems_are_listed_for_the_caller():
    assert schedule_problems(1.0, argument="weight", above_zero=False) == []
    assert len(schedule_problems("1", argument="weight", above_zero=False)) == 1
