import numpy as np
import pytest

from mmkd_tf.evaluate.statistics import (
    Comparison,
    Predictions,
    compare,
    gap_closed,
    rank_recipes,
    scores,
    teacher_gap,
    wilson_interval,
)
from mmkd_tf.tasks import find_task

LABELS = np.arange(20) % 2


def right(num_right, labels=LABELS, sure=2.0):
    """Predictions of two classes of which the first `num_right` are right."""
    named = np.where(np.arange(len(labels)) < num_right, labels, 1 - labels)
    return Predictions(find_task("single_label"), labels, sure * np.eye(2)[named])


def compared(*, teacher, alone, student, **arguments):
    return compare(
        teacher=[right(n) for n in teacher],
        student_alone=[right(n) for n in alone],
        student=[right(n) for n in student],
        **{"rng": np.random.default_rng(0), **arguments},
    )


def test_scores_by_seed():
    measured = scores([right(20), right(15)])
    assert measured["accuracy"] == [1.0, 0.75]
    # log(1 + e^-2) where right, 2 more where wrong
    base = np.log1p(np.exp(-2.0))
    assert measured["cross_entropy"] == pytest.approx([base, base + 0.25 * 2])
    # of each class, 7 or 8 of 10 are right: F1 of both, by hand
    assert measured["macro_f1"][0] == 1.0
    assert measured["macro_f1"][1] == pytest.approx((2 * 8 / 21 + 2 * 7 / 19) / 2)
    assert list(measured) == ["accuracy", "cross_entropy", "macro_f1"]


def test_differences_are_paired_by_seed():
    result = compared(teacher=[20, 20], alone=[10, 14], student=[13, 13])
    assert result.differences == pytest.approx([0.15, -0.05])
    assert result.mean_difference == pytest.approx(0.05)
    # mean 0.05 of a gap of 1 - 0.6
    assert result.gap_closed == pytest.approx(0.125)


def test_the_interval_of_two_seeds_is_their_range():
    # Of resamples of two, a quarter is each end.
    result = compared(teacher=[20, 20], alone=[10, 10], student=[11, 14])
    assert result.interval == pytest.approx((0.05, 0.2))


def test_the_interval_of_many_seeds_is_that_of_a_mean():
    rng = np.random.default_rng(5)
    labels = np.arange(1000) % 2
    gains = rng.normal(50, 30, 60).round().astype(int)
    result = compare(
        teacher=[right(900, labels)] * 60,
        student_alone=[right(500, labels)] * 60,
        student=[right(500 + gain, labels) for gain in gains],
        rng=rng,
    )
    margin = 1.96 * gains.std() / 1000 / np.sqrt(60)
    expected = (gains.mean() / 1000 - margin, gains.mean() / 1000 + margin)
    assert result.interval == pytest.approx(expected, abs=0.1 * margin)


def test_the_choice_of_examples_widens_the_interval_as_the_binomial_says():
    # The same gain for each seed: 40 of 400 examples are won, none is lost.
    labels = np.arange(400) % 2
    seeds = {
        "teacher": [right(400, labels)] * 5,
        "student_alone": [right(200, labels)] * 5,
        "student": [right(240, labels)] * 5,
    }
    result = compare(**seeds, rng=np.random.default_rng(1))
    assert result.interval == (0.1, 0.1)
    margin = 1.96 * np.sqrt(0.1 * 0.9 / 400)
    expected = (0.1 - margin, 0.1 + margin)
    assert result.interval_with_examples == pytest.approx(expected, abs=0.004)


def test_seeds_with_splits_of_their_own_average_the_choice_of_examples():
    sizes = (400, 402, 404, 406)
    seeds = [np.arange(size) % 2 for size in sizes]
    result = compare(
        teacher=[right(400, labels) for labels in seeds],
        student_alone=[right(200, labels) for labels in seeds],
        student=[right(240, labels) for labels in seeds],
        rng=np.random.default_rng(1),
    )
    low, high = result.interval_with_examples
    # Four splits, of which the seeds' resample keeps 2.7 apart on average.
    assert (high - low) / 2 < 0.85 * 1.96 * np.sqrt(0.1 * 0.9 / 400)
    assert low < 0.1 < high


def test_one_seed_gives_no_interval():
    result = compared(teacher=[20], alone=[10], student=[15])
    assert result.interval is None and result.interval_with_examples is None


def test_there_is_no_gap_where_the_teacher_is_no_better():
    # The same mean from other seeds, which floating point could tell apart.
    result = compared(
        teacher=[11, 16, 18, 15, 15], alone=[18, 11, 16, 15, 15], student=[19, 19, 19, 19, 19]
    )
    assert result.gap_closed is None


def test_a_gap_within_the_chance_of_examples_is_none():
    # One of 20 examples more: of resamples of 20 examples, many have as much against it.
    assert compared(teacher=[11] * 5, alone=[10] * 5, student=[15] * 5).gap_closed is None


def test_swapped_students_turn_the_sign():
    one = compared(teacher=[20, 20], alone=[10, 12], student=[15, 13])
    other = compared(teacher=[20, 20], alone=[15, 13], student=[10, 12])
    assert one.mean_difference == -other.mean_difference == pytest.approx(0.15)


def test_the_generator_decides():
    arguments = {"teacher": [20] * 7, "alone": [10] * 7, "student": [12, 9, 16, 11, 13, 19, 3]}
    assert compared(**arguments) == compared(**arguments)
    others = [compared(**arguments, rng=np.random.default_rng(seed)) for seed in range(5)]
    assert len({other.interval for other in others}) > 1
    assert len({other.interval_with_examples for other in others}) > 1


def test_all_problems_are_listed():
    with pytest.raises(ValueError) as error:
        compare(
            teacher=[right(20), right(20, 1 - LABELS)],
            student_alone=[right(10), right(10)],
            student=[right(10), right(10), right(10)],
            rng=np.random.default_rng(0),
            num_resamples=100,
        )
    for words in ("2, 2 and 3 entries", "different labels in the entries [1]", "num_resamples=100"):
        assert words in str(error.value)


def test_recipes_are_ranked_over_all_datasets():
    def gains(value):
        return Comparison([value], value, None, None, None)

    comparisons = {
        "emoji": {"a": gains(0.01), "b": gains(0.03), "only here": gains(0.5)},
        "catalog": {"a": gains(0.09), "b": gains(0.05)},
    }
    assert rank_recipes(comparisons) == [
        ("a", pytest.approx(0.05)),
        ("b", pytest.approx(0.04)),
    ]
    assert rank_recipes({}) == []


def test_gap_closed():
    assert gap_closed(teacher=0.9, student_alone=0.7, student=0.8) == pytest.approx(0.5)
    assert gap_closed(teacher=0.9, student_alone=0.7, student=0.6) == pytest.approx(-0.5)
    assert gap_closed(teacher=0.7, student_alone=0.7, student=0.9) is None


def numbers(error, seed):
    """Predictions of a number with errors of a size."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=[30, 1])
    return Predictions(find_task("regression"), labels, labels + error * rng.normal(size=[30, 1]))


def test_a_headline_that_is_no_mean_over_examples_is_compared_over_seeds_alone():
    roles = {"teacher": 0.1, "student_alone": 0.5, "student": 0.3}
    seeds = {name: [numbers(error, n) for n in range(5)] for name, error in roles.items()}
    result = compare(**seeds, rng=np.random.default_rng(0))
    r2 = {name: np.array(scores(of)["r2"]) for name, of in seeds.items()}
    assert result.differences == pytest.approx(r2["student"] - r2["student_alone"])
    assert result.interval_with_examples is None and result.interval[0] > 0
    assert 0 < result.gap_closed < 1


def test_pairs_are_compared_over_seeds_and_examples():
    rng = np.random.default_rng(0)

    def pairs(noise):
        first = rng.normal(size=[60, 4])
        second = first + noise * rng.normal(size=[60, 4])
        outputs = np.concatenate([first, second], axis=1)
        return Predictions(find_task("retrieval"), np.arange(60), outputs)

    roles = {"teacher": 0.1, "student_alone": 2.0, "student": 0.8}
    seeds = {name: [pairs(noise) for _ in range(5)] for name, noise in roles.items()}
    result = compare(**seeds, rng=rng)
    found = {name: np.array(scores(of)["recall_at_10"]) for name, of in seeds.items()}
    assert result.differences == pytest.approx(found["student"] - found["student_alone"])
    low, high = result.interval_with_examples
    assert low <= result.mean_difference <= high


def test_the_interval_of_a_share_has_a_width_at_its_ends_too():
    # Of all of n: n / (n + 1.96**2) to 1. Of half of 100: 0.5 +- 1.96 * sqrt(0.0025 + 0.0098**2)
    # / 1.038416, that is 0.0962.
    assert wilson_interval(1.0, 10) == pytest.approx((10 / 13.8416, 1))
    assert wilson_interval(0.0, 10) == pytest.approx((0, 3.8416 / 13.8416))
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def gap_of(teacher, alone):
    return teacher_gap(teacher=teacher, student_alone=alone, rng=np.random.default_rng(0))


def test_a_teacher_that_is_the_student_can_not_help():
    found = gap_of(right(13), right(13, sure=1.0))
    assert found.gap == 0 and found.interval == (0, 0) and not found.can_help
    assert found.only_teacher_right == found.only_student_right == 0


def test_a_teacher_helps_that_is_better_beyond_chance():
    labels = np.arange(200) % 2
    found = gap_of(right(160, labels), right(120, labels))
    assert (found.num_examples, found.teacher, found.student_alone) == (200, 0.8, 0.6)
    # 40 of 200 differ: a standard error of sqrt(.2 * .8 / 200) = .0283
    assert found.gap == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.2 - 0.055, 0.2 + 0.055), abs=0.01)
    assert found.can_help and (found.only_teacher_right, found.only_student_right) == (40, 0)
    # Two of 200 more are no more than chance, nor is a gap on few examples.
    assert not gap_of(right(122, labels), right(120, labels)).can_help
    worse = gap_of(right(100, labels), right(120, labels))
    assert not worse.can_help and (worse.only_teacher_right, worse.only_student_right) == (0, 20)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_figures_that_are_no_means_have_an_interval_too(task):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, [60, 3]).astype(np.float32)
    near, far = (
        Predictions(find_task(task), labels, labels + rng.normal(scale=scale, size=labels.shape))
        for scale in (0.1, 0.6)
    )
    found = gap_of(near, far)
    assert found.can_help and found.interval[0] < found.gap < found.interval[1]
    assert found.only_teacher_right is None is found.only_student_right
    assert not gap_of(near, near).can_help and not gap_of(far, near).can_help
