import pytest

from mmkd_tf.distill.benchmark import benchmark_training


@pytest.mark.slow
def test_measures_every_variant_and_its_ratios():
    measured = benchmark_training(num_rounds=1, num_examples=32)
    assert set(measured["seconds"]) == {
        "student",
        "teacher forward",
        "cached",
        "online",
        "cached with hint",
        "online with hint",
        "keras.distillation with hint",
    }
    seconds, ratios = measured["seconds"], measured["ratios"]
    assert min(seconds.values()) > 0
    expected = seconds["online"] / (seconds["student"] + seconds["teacher forward"])
    assert ratios["online / (student + teacher forward)"]["median"] == pytest.approx(expected)


def test_refuses_numbers_that_measure_nothing():
    with pytest.raises(ValueError, match="`num_rounds`, `batch_size`: 1 or more. Received"):
        benchmark_training(num_rounds=0, batch_size=0)
