import pytest
from training_step import benchmark_training_step, training_step_text


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
def test_measures_every_student_and_its_ratio():
    measured = benchmark_training_step(num_rounds=1, num_examples=32, epochs=4, size="tiny")
    milliseconds, ratios = measured["milliseconds"], measured["ratios"]
    plain, held, spread, everything, once = milliseconds.values()
    assert list(milliseconds)[0] == "plain" and min(plain, held, everything, once) > 0
    assert spread == pytest.approx(held + once / 4)  # an epoch has one step
    assert list(ratios) == [f"{name} / plain" for name in list(milliseconds)[1:4]]
    assert ratios["inherited, all trained / plain"]["median"] == pytest.approx(everything / plain)


def test_refuses_numbers_that_measure_nothing():
    with pytest.raises(ValueError, match="(?s)`epochs`: 1 or more.*`size`: one of tiny, small"):
        benchmark_training_step(epochs=0, size="huge")


def test_every_figure_has_its_line():
    measured = {
        "milliseconds": {"plain": 8.0, "inherited, held": 9.5},
        "ratios": {"inherited, held / plain": {"median": 1.2, "least": 1.1, "greatest": 1.31}},
    }
    lines = training_step_text(measured).splitlines()
    assert lines[1].split() == ["plain", "8.00"]
    assert lines[-1].split() == ["inherited,", "held", "/", "plain", "1.200", "1.100", "1.310"]
    assert len({len(line) for line in lines[:3]}) == 1
