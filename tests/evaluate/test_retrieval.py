import numpy as np
import pytest

from mmkd_tf.evaluate.retrieval import first_agreement, retrieval_metrics


def unit(rng, *shape):
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def pair(first, second):
    return np.concatenate([first, second], axis=1)


def ranks(queries, candidates, items):
    found = []
    for query, item in zip(queries, items, strict=True):
        order = np.argsort(-(candidates @ query))
        found.append(1 + np.flatnonzero(items[order] == item)[0])
    return np.array(found)


def test_equals_a_sort_in_both_directions_at_any_scale():
    rng = np.random.default_rng(0)
    images, texts = unit(rng, 40, 6), unit(rng, 40, 6)
    items = rng.integers(0, 15, 40)
    metrics = retrieval_metrics(pairs=pair(17 * images, texts).astype("float32"), items=items)
    there, back = ranks(images, texts, items), ranks(texts, images, items)
    assert [each.name for each in metrics.per_direction] == ["image to text", "text to image"]
    for each, expected in zip(metrics.per_direction, (there, back), strict=True):
        for k in (1, 5, 10):
            assert getattr(each, f"recall_at_{k}") == np.mean(expected <= k)
        assert each.median_rank == np.median(expected)
        assert each.mean_reciprocal_rank == pytest.approx(np.mean(1 / expected))
        assert each.num_candidates == 40
    both = np.concatenate([there, back])
    assert metrics.recall_at_10 == pytest.approx(np.mean(both <= 10))
    assert metrics.mean_reciprocal_rank == pytest.approx(np.mean(1 / both))


def test_a_perfect_model_finds_all_and_a_constant_one_ranks_in_the_middle():
    items, eye = np.arange(30), np.eye(30)
    perfect = retrieval_metrics(pairs=pair(eye, eye), items=items)
    assert perfect.recall_at_1 == perfect.mean_reciprocal_rank == 1
    constant = retrieval_metrics(pairs=np.ones([30, 8]), items=items)
    assert constant.recall_at_1 == constant.recall_at_10 == 0
    assert constant.per_direction[0].median_rank == 15.5  # the mean of 1 to 30


def test_several_of_one_item_are_right_answers_for_each_other():
    pairs = pair(np.eye(3), np.eye(3)[[1, 0, 2]])
    assert retrieval_metrics(pairs=pairs, items=np.arange(3)).recall_at_1 == pytest.approx(1 / 3)
    assert retrieval_metrics(pairs=pairs, items=np.array([0, 0, 1])).recall_at_1 == 1


def test_absent_ones_are_zeros_and_equal_to_all():
    pairs = pair(np.zeros([4, 2]), np.eye(4)[:, :2])
    metrics = retrieval_metrics(pairs=pairs, items=np.arange(4))
    assert metrics.per_direction[0].median_rank == 2.5


def test_agreement_counts_both_directions():
    eye, swapped = pair(np.eye(4), np.eye(4)), pair(np.eye(4), np.eye(4)[[1, 0, 2, 3]])
    assert first_agreement(teacher_pairs=eye, student_pairs=3 * eye) == 1
    assert first_agreement(teacher_pairs=eye, student_pairs=swapped) == 0.5


def test_refuses_what_does_not_fit_in_one_error():
    with pytest.raises(ValueError, match=r"(?s)shapes .*`pairs`: finite numbers.* 3 of 3 rows"):
        retrieval_metrics(pairs=np.full([3, 3], np.nan), items=np.zeros(3, int))
    with pytest.raises(ValueError, match="at least one example"):
        retrieval_metrics(pairs=np.zeros([0, 2]), items=np.zeros(0, int))
