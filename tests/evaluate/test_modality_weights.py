import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import SPLITS, Dataset, Examples
from mmkd_tf.evaluate.robustness import modality_weights
from mmkd_tf.models import Concatenation, WeightedSum, fusion_weights

INPUTS = {
    "image": np.array([[1.0], [2.0], [0.0], [3.0]], np.float32),
    "text": np.array([[1.0], [1.0], [1.0], [0.0]], np.float32),
}


def dataset(task="single_label", inputs=INPUTS):
    labels = np.array([0, 1, 1, 1], np.int32)
    if task == "multi_label":
        labels = np.eye(2, dtype=np.float32)[labels]
    return Dataset(
        name="few",
        splits=dict.fromkeys(SPLITS, Examples(inputs, labels)),
        class_names=["cup", "hat"],
        modalities={},
        task=task,
    )


def model(layer):
    inputs = {name: keras.Input([1], name=name) for name in INPUTS}
    presence = {n: keras.ops.cast(keras.ops.not_equal(x, 0), "float32") for n, x in inputs.items()}
    return keras.Model(inputs, layer(inputs, presence))


def test_sums_up_the_weights_of_the_complete_examples():
    weighing = model(WeightedSum(4, by_example=True))
    found = modality_weights(weighing, dataset())
    each = fusion_weights(weighing, {name: x[:2] for name, x in INPUTS.items()})
    assert list(found) == ["image", "text"]
    assert found["image"]["mean"] == pytest.approx(each["image"].mean())
    assert found["image"]["mean"] + found["text"]["mean"] == pytest.approx(1)
    assert found["image"]["low"] <= found["image"]["mean"] <= found["image"]["high"]
    expected = dict(zip(("cup", "hat"), each["image"], strict=True))
    assert found["image"]["per_class"] == pytest.approx(expected)


def test_has_classes_only_where_examples_have_one():
    found = modality_weights(model(WeightedSum(4)), dataset("multi_label"))
    assert set(found["text"]) == {"mean", "low", "high"}


def test_nothing_where_the_fusion_has_no_weights_or_no_example_is_complete():
    assert modality_weights(model(Concatenation()), dataset()) is None
    blank = {**INPUTS, "text": np.zeros_like(INPUTS["text"])}
    assert modality_weights(model(WeightedSum(4)), dataset(inputs=blank)) is None


def test_a_model_of_one_modality_has_nothing_to_weigh():
    inputs = {"text": keras.Input([1], name="text")}
    presence = {"text": keras.ops.ones_like(inputs["text"])}
    one = keras.Model(inputs, WeightedSum(4)(inputs, presence))
    assert modality_weights(one, dataset()) is None
