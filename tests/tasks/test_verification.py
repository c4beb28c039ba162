"""Verification and identification, against counting by hand."""

import numpy as np
import pytest

from mmkd_tf.tasks.verification import (
    cosines_of,
    equal_error_rate,
    identification_ranks,
    nearest,
    pairs_of,
    threshold_at,
    unit,
    verification,
)

RNG = np.random.default_rng(0)


def test_all_pairs_of_few_examples_each_once():
    identities = np.array([5, 2, 5, 2, 5, 9])
    genuine, impostors = pairs_of(identities)
    assert {frozenset(pair) for pair in genuine.tolist()} == {
        frozenset(pair) for pair in ((0, 2), (0, 4), (2, 4), (1, 3))
    }
    assert len(genuine) == 4 and len(impostors) == 15 - 4
    assert len({frozenset(pair) for pair in impostors.tolist()}) == 11


def test_pairs_of_many_examples_grow_no_faster_than_these():
    identities = np.repeat(np.arange(30), 100)
    genuine, impostors = pairs_of(identities)
    assert len(genuine) < 20 * 3000 and len(impostors) <= 200_000
    assert (identities[genuine[:, 0]] == identities[genuine[:, 1]]).all()
    assert (identities[impostors[:, 0]] != identities[impostors[:, 1]]).all()
    again = pairs_of(identities)
    assert (again[0] == genuine).all() and (again[1] == impostors).all()


def test_equal_error_rate_is_where_both_kinds_of_mistakes_are_as_frequent():
    genuine, impostors = RNG.normal(1, 1, 4000), RNG.normal(-1, 1, 9000)
    # The two normal curves cross half-way, one deviation from each mean.
    assert equal_error_rate(genuine=genuine, impostors=impostors) == pytest.approx(0.1587, abs=0.01)
    assert equal_error_rate(genuine=genuine + 9, impostors=impostors) == 0
    assert equal_error_rate(genuine=genuine - 9, impostors=impostors) == 1
    assert equal_error_rate(genuine=np.zeros(5), impostors=np.zeros(7)) == 0.5


def test_weights_are_repetitions():
    genuine, impostors = RNG.normal(0.5, 1, 20), RNG.normal(0, 1, 30)
    counts = RNG.integers(0, 4, 20), RNG.integers(0, 4, 30)
    repeated = {
        "genuine": np.repeat(genuine, counts[0]),
        "impostors": np.repeat(impostors, counts[1]),
    }
    found = equal_error_rate(genuine=genuine, impostors=impostors, weights=counts)
    assert found == pytest.approx(equal_error_rate(**repeated))


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.5])
def test_a_threshold_lets_no_more_impostors_through(rate):
    impostors = RNG.normal(size=1000)
    threshold = threshold_at(impostors, rate)
    assert np.mean(impostors > threshold) == rate
    assert np.mean(np.zeros(1000) > threshold_at(np.zeros(1000), rate)) == 0


def test_ranks_in_a_gallery_of_one_example_each():
    points = unit(RNG.normal(size=(11, 3)))
    identities = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 3, 2])
    ranks = identification_ranks(points, identities)
    rows = {k: np.flatnonzero(identities == k) for k in range(4)}
    for k, own in rows.items():
        for place, row in enumerate(own):
            if len(own) == 1:
                assert np.isnan(ranks[row])
                continue
            gallery = {j: others[(place + 1) % len(others)] for j, others in rows.items()}
            scores = {j: points[row] @ points[other] for j, other in gallery.items()}
            assert ranks[row] == 1 + sum(score > scores[k] for score in scores.values())


def test_a_model_that_gives_the_same_to_all_is_chance():
    points, identities = np.ones([12, 4]) / 2, np.repeat(np.arange(4), 3)
    assert (identification_ranks(points, identities) == 2.5).all()
    figures = verification(points, identities)
    assert figures["equal_error_rate"] == 0.5 and figures["true_accepts_at_1_percent"] == 0
    assert nearest(points).shape == (12,)


def test_figures_of_a_good_model_and_their_interval():
    identities = np.repeat(np.arange(40), 4)
    centres = RNG.normal(size=(40, 8))
    points = unit(centres[identities] + 0.7 * RNG.normal(size=(160, 8)))
    figures = verification(points, identities)
    low, high = figures["equal_error_rate_interval"]
    assert 0 < low < figures["equal_error_rate"] < high < 0.3
    genuine, impostors = (cosines_of(points, pairs) for pairs in pairs_of(identities))
    for point, rate in zip(figures["per_threshold"], (0.01, 0.001), strict=True):
        assert point["false_accepts"] == np.mean(impostors > point["threshold"]) <= rate
        assert point["true_accepts"] == np.mean(genuine > point["threshold"])
    assert figures == verification(points, identities)


def test_pairs_of_one_sort_alone_are_refused():
    with pytest.raises(ValueError, match="0 pairs of one identity and 3 of two"):
        verification(np.eye(3), np.arange(3))
    with pytest.raises(ValueError, match="3 pairs of one identity and 0 of two"):
        verification(np.eye(3), np.zeros(3, int))
