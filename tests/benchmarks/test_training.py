import pytest
from training import benchmark_training, training_text


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
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


def test_every_figure_has_its_line():
    measured = {
        "seconds": {"student": 1.5, "cached": 1.53},
        "ratios": {"cached / student": {"median": 1.02, "least": 0.99, "greatest": 1.1}},
    }
    lines = training_text(measured).splitlines()
    assert lines[1].split() == ["student", "1.50"]
    assert lines[-1].split() == ["cached", "/", "student", "1.020", "0.990", "1.100"]
    assert len({len(line) for line in lines[1:3]}) == 1
