import keras
import numpy as np
import pytest

from mmkd_tf.losses.pairs import matching_loss
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.retrieval import BatchRecall, MatchingLoss, first_ranks

TASK = find_task("retrieval")


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


def measure(*, outputs, labels):
    inputs = ["image", "text"]
    return TASK.measure(outputs=outputs, labels=labels, names=[], inputs=inputs)


def test_equals_a_sort_in_both_directions_at_any_scale():
    rng = np.random.default_rng(0)
    images, texts = unit(rng, 40, 6), unit(rng, 40, 6)
    items = rng.integers(0, 15, 40)
    metrics = measure(outputs=pair(17 * images, texts).astype("float32"), labels=items)
    there, back = ranks(images, texts, items), ranks(texts, images, items)
    assert [each["name"] for each in metrics["per_direction"]] == ["image to text", "text to image"]
    for each, expected in zip(metrics["per_direction"], (there, back), strict=True):
        for k in (1, 5, 10):
            assert each[f"recall_at_{k}"] == np.mean(expected <= k)
        assert each["median_rank"] == np.median(expected)
        assert each["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / expected))
        assert each["num_candidates"] == 40
    both = np.concatenate([there, back])
    assert metrics["recall_at_10"] == pytest.approx(np.mean(both <= 10))
    assert metrics["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / both))


def test_a_perfect_model_finds_all_and_a_constant_one_ranks_in_the_middle():
    items, eye = np.arange(30), np.eye(30)
    perfect = measure(outputs=pair(eye, eye), labels=items)
    assert perfect["recall_at_1"] == perfect["mean_reciprocal_rank"] == 1
    constant = measure(outputs=np.ones([30, 8]), labels=items)
    assert constant["recall_at_1"] == constant["recall_at_10"] == 0
    assert constant["per_direction"][0]["median_rank"] == 15.5  # the mean of 1 to 30


def test_several_of_one_item_are_right_answers_for_each_other():
    pairs = pair(np.eye(3), np.eye(3)[[1, 0, 2]])
    assert measure(outputs=pairs, labels=np.arange(3))["recall_at_1"] == pytest.approx(1 / 3)
    assert measure(outputs=pairs, labels=np.array([0, 0, 1]))["recall_at_1"] == 1


def test_absent_ones_are_zeros_and_equal_to_all():
    pairs = pair(np.zeros([4, 2]), np.eye(4)[:, :2])
    metrics = measure(outputs=pairs, labels=np.arange(4))
    assert metrics["per_direction"][0]["median_rank"] == 2.5


def test_agreement_counts_both_directions():
    eye, swapped = pair(np.eye(4), np.eye(4)), pair(np.eye(4), np.eye(4)[[1, 0, 2, 3]])
    assert TASK.agreement(teacher_outputs=eye, student_outputs=3 * eye) == 1
    assert TASK.agreement(teacher_outputs=eye, student_outputs=swapped) == 0.5


def test_refuses_what_does_not_fit_in_one_error():
    with pytest.raises(ValueError, match=r"(?s)shapes .*`outputs`: finite numbers.* 3 of 3 rows"):
        measure(outputs=np.full([3, 3], np.nan), labels=np.zeros(3, int))
    with pytest.raises(ValueError, match="at least one example"):
        measure(outputs=np.zeros([0, 2]), labels=np.zeros(0, int))


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
    assert TASK.file_score(labels=points, answers=points) == 1
    assert TASK.score(labels=points, outputs=points) == 1
    assert TASK.file_score(labels=points, answers=-points) < 0.5
    assert TASK.file_score(labels=points, answers=0 * points) == 0


def test_the_keras_loss_is_the_mean_of_the_function_and_survives_saving():
    rng = np.random.default_rng(0)
    pairs, items = rng.normal(size=(6, 8)).astype("float32"), np.array([0, 1, 1, 2, 3, 4])
    values = np.asarray(matching_loss(pairs=pairs, items=items))
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(MatchingLoss())
    )
    assert float(loss(items, pairs)) == pytest.approx(values.mean(), rel=1e-5)
    assert float(loss(items[:, None], pairs)) == pytest.approx(values.mean(), rel=1e-5)
    weights = np.array([1.0, 0, 0, 2, 0, 0])
    weighted = float(loss(items, pairs, sample_weight=weights))
    assert weighted == pytest.approx((values * weights).mean(), rel=1e-5)


def test_the_metric_counts_what_is_among_ten_and_equals_against_it():
    points = np.stack([np.cos(np.arange(24) / 4), np.sin(np.arange(24) / 4)], axis=1)
    metric = BatchRecall()
    metric.update_state(np.arange(24), np.concatenate([points, points], axis=1))
    metric.update_state(np.arange(24), np.ones([24, 4]))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    metric.update_state(np.zeros(24, int), np.ones([24, 4]))  # all are right for each other
    assert float(metric.result()) == 1
