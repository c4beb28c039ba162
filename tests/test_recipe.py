import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.recipe import check_settings, distillation_terms, soft_target_settings


def dataset(task, labels):
    examples = Examples({"text": np.ones([2, 2], np.int32)}, np.array(labels, np.float32))
    return Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=["a", "b"],
        modalities={},
        task=task,
    )


def test_soft_targets_fit_the_task():
    (term,) = distillation_terms(RunConfig(), dataset("multi_label", [[0, 1], [1, 0]]))
    assert term.loss is losses.sigmoid_soft_target_loss and term.temperature == 4.0
    (term,) = distillation_terms(RunConfig(), dataset("regression", [[0, 10], [2, 30]]))
    assert term.loss is losses.squared_loss and term.temperature is None
    assert term.loss_options == {"scale": [1.0, 10.0]}
    (term,) = distillation_terms(RunConfig(), dataset("single_label", [0, 1]))
    assert term.loss is losses.dist_loss
    config = RunConfig(soft_target_loss="standardized")
    (term,) = distillation_terms(config, dataset("single_label", [0, 1]))
    assert term.loss_options == {"standardize": True}


@pytest.mark.parametrize(
    ("task", "name"),
    [("single_label", "dist"), ("multi_label", "sigmoid"), ("regression", "squared")],
)
def test_the_defaults_just_work(task, name):
    check_settings(RunConfig(), task)
    assert soft_target_settings(RunConfig(), task)["soft_target_loss"] == name
    explicit = RunConfig(soft_target_loss=name)
    check_settings(explicit, task)
    assert soft_target_settings(explicit, task)["soft_target_loss"] == name


def test_pairs_are_softened_less_and_heard_more_unless_settings_say_otherwise():
    found = soft_target_settings(RunConfig(), "retrieval")
    assert found == {"soft_target_loss": "affinity", "temperature": 1, "soft_target_weight": 1}
    config = RunConfig(temperature=3, soft_target_weight=0)
    found = soft_target_settings(config, "retrieval")
    assert found["temperature"] == 3 and found["soft_target_weight"] == 0
    assert soft_target_settings(RunConfig(), "regression")["temperature"] is None


def test_settings_without_effect_come_together():
    config = RunConfig(
        soft_target_loss="divergence",
        on_wrong_teacher="skip",
        temperature=2,
        label_separator=";",
    )
    with pytest.raises(ValueError, match="Leave them out") as caught:
        check_settings(config, "regression")
    names = ("soft_target_loss", "on_wrong_teacher", "temperature", "label_separator")
    assert [line.split("`")[1] for line in str(caught.value).splitlines()[:-1]] == list(names)
    with pytest.raises(ValueError, match="auto or dist or divergence"):
        check_settings(RunConfig(soft_target_loss="squared"), "single_label")
