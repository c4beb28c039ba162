import numpy as np
import pytest

from mmkd_tf.tasks import (
    HEADLINES,
    TASKS,
    average_precisions,
    first_ranks,
    headline,
    mean_of_known,
    r2_scores,
)


def test_average_precision_by_hand():
    # In order of the scores: 1 0 1 0; precision is 1 at the first hit and 2/3 at the second.
    labels = np.array([[1], [0], [1], [0]])
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    assert average_precisions(labels=labels, scores=scores)[0] == pytest.approx((1 + 2 / 3) / 2)
    # The hits last: 1/3 and 2/4.
    found = average_precisions(labels=1 - labels, scores=scores)[0]
    assert found == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_average_precision_does_not_depend_on_the_order_of_equals():
    scores = np.array([[2.0], [1.0], [1.0], [0.0]])
    one, other = (np.array([[1], *middle, [0]]) for middle in ([[1], [0]], [[0], [1]]))
    found = [average_precisions(labels=labels, scores=scores)[0] for labels in (one, other)]
    # Half the recall at precision 1, the rest at 2 of 3.
    assert found == [pytest.approx(0.5 + 0.5 * 2 / 3)] * 2
    # With one score for all, precision is the share of the labels.
    equal = average_precisions(labels=one, scores=np.zeros([4, 1]))
    assert equal[0] == pytest.approx(0.5)


def test_labels_that_no_example_has_do_not_count():
    labels, scores = np.array([[1, 0], [0, 0]]), np.array([[1.0, 5.0], [0.0, 6.0]])
    found = average_precisions(labels=labels, scores=scores)
    assert found[0] == 1 and np.isnan(found[1])
    assert mean_of_known(found) == 1
    assert mean_of_known(np.array([np.nan])) == 0


def test_r2_by_hand():
    labels = np.array([[1.0, 10], [2, 10], [3, 10], [4, 10]])
    values = np.array([[1.0, 10], [2, 10], [3, 10], [2, 11]])
    # An error of 4 beside a spread of 5; the constant target is missed in one row.
    np.testing.assert_allclose(r2_scores(labels=labels, values=values), [1 - 4 / 5, 0])
    np.testing.assert_allclose(r2_scores(labels=labels, values=labels), [1, 1])
    means = np.broadcast_to(labels.mean(axis=0), labels.shape)
    np.testing.assert_allclose(r2_scores(labels=labels, values=means), [0, 1])


def test_headlines():
    logits = np.array([[2.0, 1.0], [0.0, 1.0]])
    assert headline("single_label", labels=np.array([0, 0]), outputs=logits) == 0.5
    assert headline("multi_label", labels=np.array([[1, 0], [0, 1]]), outputs=logits) == 0.75
    assert headline("regression", labels=logits, outputs=logits) == 1
    assert set(HEADLINES) == set(TASKS)


def test_the_rank_of_equals_is_that_expected_when_they_are_shuffled():
    # One candidate is better than four equal ones, two of which are right.
    candidates = np.array([[1.0], [0.5], [0.5], [0.5], [0.5], [0.1]])
    items = np.array([9, 0, 0, 1, 2, 3])
    rank = first_ranks(queries=np.ones([6, 1]), candidates=candidates, items=items)[1]
    rng = np.random.default_rng(0)
    shuffled = [1 + 1 + np.argmax(rng.permutation([1, 1, 0, 0])) for _ in range(20_000)]
    assert rank == pytest.approx(np.mean(shuffled), abs=0.02)


def test_equal_up_to_rounding_is_equal():
    candidates = np.array([[1.0], [1.0 - 1e-8]])
    ranks = first_ranks(queries=np.ones([2, 1]), candidates=candidates, items=np.arange(2))
    np.testing.assert_array_equal(ranks, [1.5, 1.5])


def test_retrieval_is_judged_by_what_is_among_the_first_ten():
    points = np.stack([np.cos(np.arange(40) / 7), np.sin(np.arange(40) / 7)], axis=1)
    assert headline("retrieval", labels=points, outputs=points) == 1
    assert headline("retrieval", labels=points, outputs=-points) < 0.5
    assert headline("retrieval", labels=points, outputs=0 * points) == 0
