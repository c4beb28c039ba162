"""What the settings of distillation mean for each task, and which are refused."""

import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.config import make_config
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.runs.training import student_terms
from mmkd_tf.tasks import TASKS


def dataset(task, labels):
    examples = Examples({"text": np.ones([2, 2], np.int32)}, np.array(labels))
    return Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=["a", "b"],
        modalities={},
        task=task,
    )


MULTI_LABEL = dataset("multi_label", np.float32([[0, 1], [1, 0]]))
REGRESSION = dataset("regression", np.float32([[0, 10], [2, 30]]))
SINGLE_LABEL = dataset("single_label", np.int32([0, 1]))


def terms_by_default(dataset):
    return student_terms(make_config({}).for_task(dataset.task), dataset)


def test_soft_targets_fit_the_task():
    (term,) = terms_by_default(MULTI_LABEL)
    assert term.loss is losses.sigmoid_soft_target_loss and term.temperature == 4.0
    (term,) = terms_by_default(REGRESSION)
    assert term.loss is losses.squared_loss and term.temperature is None
    assert term.loss_options == {"scale": [1.0, 10.0]}
    (term,) = terms_by_default(SINGLE_LABEL)
    assert term.loss is losses.soft_target_loss and term.temperature == 2.0
    config = make_config({"soft_target_loss": "standardized"})
    (term,) = student_terms(config.for_task(SINGLE_LABEL.task), SINGLE_LABEL)
    assert term.loss_options == {"standardize": True}


@pytest.mark.parametrize(
    ("name", "loss", "of_labels"),
    [
        ("single_label", "divergence", 1),
        ("multi_label", "sigmoid", 1),
        ("regression", "squared", 1),
        ("retrieval", "affinity", 1),
        ("embedding", "embedding", 1),
    ],
)
def test_the_defaults_just_work(name, loss, of_labels):
    task = TASKS[name]
    for config in (make_config({}), make_config({"soft_target_loss": loss})):
        settings = config.for_task(task).distillation
        assert settings.soft_target_loss == loss
        assert settings.hard_label_weight == of_labels


def test_pairs_are_softened_less_and_weighed_more_unless_settings_say_otherwise():
    found = make_config({}).distillation.for_task(TASKS["retrieval"])
    assert (found.soft_target_loss, found.temperature, found.soft_target_weight) == (
        "affinity",
        1,
        1,
    )
    config = make_config({"temperature": 3, "soft_target_weight": 0})
    found = config.distillation.for_task(TASKS["retrieval"])
    assert found.temperature == 3 and found.soft_target_weight == 0
    assert make_config({}).distillation.for_task(TASKS["regression"]).temperature is None


def names_of(config, task):
    with pytest.raises(ValueError, match="Leave them out") as caught:
        config.for_task(task)
    return [line.split("`")[1] for line in str(caught.value).splitlines()[:-1]]


def test_settings_without_effect_come_together():
    settings = {"soft_target_loss": "divergence", "on_wrong_teacher": "skip"}
    settings |= {"temperature": 2, "label_separator": ";"}
    assert names_of(make_config(settings), TASKS["regression"]) == [
        "distillation.soft_target_loss",
        "distillation.on_wrong_teacher",
        "distillation.temperature",
        "data.label_separator",
    ]
    with pytest.raises(ValueError, match="auto or divergence or dist"):
        make_config({"soft_target_loss": "squared"}).for_task(TASKS["single_label"])


def test_pairs_need_two_inputs_and_have_no_fusion():
    settings = {"image": "none", "fusion": "gated", "teacher.modality_dropout": {"text": 0.3}}
    assert names_of(make_config(settings), TASKS["retrieval"]) == [
        "teacher.fusion",
        "teacher.modality_dropout",
        "inputs",
    ]
