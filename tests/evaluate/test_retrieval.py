import numpy as np
import pytest

from mmkd_tf.evaluate.retrieval import (
    first_agreement,
    first_ranks,
    pair_metrics,
    retrieval_metrics,
)


def unit(rng, *shape):
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_ranks_equal_a_sort():
    rng = np.random.default_rng(0)
    queries, candidates = unit(rng, 40, 6), unit(rng, 40, 6)
    items = rng.integers(0, 15, 40)
    expected = []
    for query, item in zip(queries, items, strict=True):
        order = np.argsort(-(candidates @ query))
        expected.append(1 + np.flatnonzero(items[order] == item)[0])
    found = first_ranks(queries=queries, candidates=candidates, items=items)
    np.testing.assert_array_equal(found, expected)
    metrics = retrieval_metrics(queries=queries, candidates=candidates, items=items)
    for k in (1, 5, 10):
        assert getattr(metrics, f"recall_at_{k}") == np.mean(np.array(expected) <= k)
    assert metrics.median_rank == np.median(expected)
    assert metrics.mean_reciprocal_rank == pytest.approx(np.mean(1 / np.array(expected)))
    assert metrics.num_candidates == 40


def test_a_perfect_model_finds_all_and_a_constant_one_ranks_in_the_middle():
    perfect = retrieval_metrics(queries=np.eye(30), candidates=np.eye(30), items=np.arange(30))
    assert perfect.recall_at_1 == perfect.mean_reciprocal_rank == perfect.median_rank == 1
    same = np.ones([30, 4]) / 2
    constant = retrieval_metrics(queries=same, candidates=same, items=np.arange(30))
    assert constant.recall_at_1 == constant.recall_at_10 == 0
    assert constant.median_rank == 15.5  # the mean of 1 to 30


def test_equals_have_the_rank_expected_when_they_are_shuffled():
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


def test_several_of_one_item_are_right_answers_for_each_other():
    queries, candidates = np.eye(3), np.eye(3)[[1, 0, 2]]
    apart = retrieval_metrics(queries=queries, candidates=candidates, items=np.arange(3))
    together = retrieval_metrics(queries=queries, candidates=candidates, items=np.array([0, 0, 1]))
    assert apart.recall_at_1 == pytest.approx(1 / 3) and together.recall_at_1 == 1


def test_pairs_are_measured_in_both_directions_at_any_scale():
    rng = np.random.default_rng(1)
    first, second = unit(rng, 25, 4), unit(rng, 25, 4)
    items = np.arange(25)
    pairs = np.concatenate([17 * first, second], axis=1).astype("float32")
    metrics = pair_metrics(pairs=pairs, items=items)
    there = retrieval_metrics(queries=first, candidates=second, items=items)
    back = retrieval_metrics(queries=second, candidates=first, items=items)
    assert (metrics.image_to_text, metrics.text_to_image) == (there, back)
    assert metrics.recall_at_10 == pytest.approx((there.recall_at_10 + back.recall_at_10) / 2)


def test_absent_ones_are_zeros_and_equal_to_all():
    pairs = np.concatenate([np.zeros([4, 2]), np.eye(4)[:, :2]], axis=1)
    assert pair_metrics(pairs=pairs, items=np.arange(4)).image_to_text.median_rank == 2.5


def test_agreement_counts_both_directions():
    eye = np.concatenate([np.eye(4), np.eye(4)], axis=1)
    swapped = np.concatenate([np.eye(4), np.eye(4)[[1, 0, 2, 3]]], axis=1)
    assert first_agreement(teacher_pairs=eye, student_pairs=3 * eye) == 1
    assert first_agreement(teacher_pairs=eye, student_pairs=swapped) == 0.5


def test_refuses_what_does_not_fit_in_one_error():
    queries = np.full([3, 2], np.nan)
    with pytest.raises(ValueError, match=r"(?s)shapes .*`queries`: finite numbers.* 3 of 3 rows"):
        first_ranks(queries=queries, candidates=np.zeros([2, 2]), items=np.zeros(3, int))
    with pytest.raises(ValueError, match="at least one example"):
        first_ranks(queries=np.zeros([0, 2]), candidates=np.zeros([0, 2]), items=np.zeros(0, int))
