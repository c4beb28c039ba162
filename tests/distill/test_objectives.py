import keras
import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.objectives import ScaledSquaredError, objective

LABELS = {
    "single_label": np.array([0, 1, 1, 0], np.int32),
    "multi_label": np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32),
    "regression": np.array([[1, 100], [2, 300], [3, 100], [4, 300]], np.float32),
}


def dataset(task):
    examples = Examples({"text": np.ones([4, 2], np.int32)}, LABELS[task])
    return Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=["a", "b"],
        modalities={},
        task=task,
    )


def test_several_labels():
    goal = objective(dataset("multi_label"))
    logits = np.array([[2.0, -1], [0, 3], [-2, 1], [1, 1]])
    probs = 1 / (1 + np.exp(-logits))
    labels = LABELS["multi_label"]
    expected = -np.mean(labels * np.log(probs) + (1 - labels) * np.log(1 - probs))
    assert float(goal.loss(labels, logits)) == pytest.approx(expected, rel=1e-5)
    assert goal.soft_target_loss is losses.sigmoid_soft_target_loss
    (metric,) = goal.metrics()
    metric.update_state(labels, 100 * (labels - 0.5))
    assert float(metric.result()) == pytest.approx(1, abs=1e-3)
    assert goal.metrics()[0] is not metric  # each training has its own


def test_numbers_of_any_unit_count_alike():
    goal = objective(dataset("regression"))
    deviation = LABELS["regression"].std(axis=0)
    np.testing.assert_allclose(goal.loss.scale, deviation)
    means = np.broadcast_to(LABELS["regression"].mean(axis=0), [4, 2])
    # Those who always say the mean lose 1, whatever the units.
    assert float(goal.loss(LABELS["regression"], means)) == pytest.approx(1)
    values = means + [[0.5, 20.0]]
    error = np.mean(np.square((LABELS["regression"] - values) / deviation))
    assert float(goal.loss(LABELS["regression"], values)) == pytest.approx(error)
    soft = goal.soft_target_loss(
        teacher_logits=LABELS["regression"], student_logits=values, **goal.soft_target_options
    )
    assert float(np.mean(soft)) == pytest.approx(error)


def test_one_class():
    goal = objective(dataset("single_label"))
    assert isinstance(goal.loss, keras.losses.SparseCategoricalCrossentropy)
    assert goal.metrics() == ["accuracy"] and goal.soft_target_loss is losses.dist_loss


def test_the_scaled_error_is_saved_and_weighted():
    loss = ScaledSquaredError([0.5, 2.0])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.scale == [0.5, 2.0]
    labels, values = np.zeros([2, 2]), np.array([[1.0, 0], [0, 4.0]])
    # (1 / 0.5)**2 / 2 = 2 and (4 / 2)**2 / 2 = 2, of which the second weighs three times.
    assert float(again(labels, values)) == pytest.approx(2)
    weighted = again(labels, values * [[1], [2]], sample_weight=np.array([1.0, 3.0]))
    assert float(weighted) == pytest.approx((2 + 3 * 8) / 2)
    with pytest.raises(ValueError, match="`scale`: numbers above 0"):
        ScaledSquaredError([1.0, 0.0])


def test_other_tasks_are_refused():
    other = dataset("single_label")
    other.task = "guessing"
    with pytest.raises(ValueError, match="of a task that can be trained"):
        objective(other)
