import numpy as np
import pytest

from mmkd_tf.study import make_units
from mmkd_tf.study_config import StudyConfig
from mmkd_tf.study_results import SPLITS, Outcome, absence
from mmkd_tf.tasks import TASKS

LABELS = np.arange(10, dtype=np.int32) % 2


def logits(num_right):
    """Of ten examples the first so many are right."""
    right = np.where(np.arange(10) < num_right, LABELS, 1 - LABELS)
    return np.eye(2, dtype=np.float32)[right]


def outcome(num_right, **without):
    return Outcome(
        outputs={split: logits(num_right) for split in SPLITS},
        labels=dict.fromkeys(SPLITS, LABELS),
        without={split: {k: logits(v) for k, v in without.items()} for split in SPLITS},
        parameters=1,
        seconds=1.0,
    )


@pytest.fixture
def found(tmp_path):
    study = StudyConfig(
        seeds=2,
        datasets={
            "items": {"data": "emoji", "modality_dropout": 0.3},
            "spared": {"data": "emoji", "modality_dropout": 0},
            "pictures": {"data": "emoji", "student_modalities": ["image"]},
            "others": {"data": "catalog", "student_modalities": ["image"]},
        },
    )
    units = make_units(study, tmp_path)
    outcomes = {
        "items": {
            "teacher": {0: outcome(9, image=1, text=1), 1: outcome(9, image=1, text=1)},
            "student_alone": {0: outcome(8, image=2, text=4), 1: outcome(6, image=2, text=6)},
            "recipe-default": {0: outcome(8, image=2, text=6), 1: outcome(8, image=2, text=6)},
        },
        "spared": {
            "student_alone": {0: outcome(9, image=2, text=1), 1: outcome(8, image=2, text=1)},
        },
        "pictures": {"student_alone": {0: outcome(7), 1: outcome(5)}},
        "others": {"student_alone": {0: outcome(10), 1: outcome(10)}},
    }
    return absence(units, outcomes, dict.fromkeys(outcomes, TASKS["single_label"]), "test")


def test_what_is_left_is_compared_with_the_student_made_for_it(found):
    by_model = {(row["dataset"], row["model"]): row for row in found["left"]}
    assert set(by_model) == {
        ("items", "student_alone"),
        ("items", "recipe-default"),
        ("spared", "student_alone"),
    }
    row = by_model["items", "student_alone"]
    assert (row["modality"], row["made_for_it"]) == ("image", "pictures")
    # Without text .4 and .6 are right; made for pictures .7 and .5.
    assert row["accuracy"] == pytest.approx(0.5) and row["made_for_it_accuracy"] == pytest.approx(
        0.6
    )
    assert row["share"] == pytest.approx(0.5 / 0.6)


def test_the_cost_on_complete_inputs_is_a_difference_by_seed(found):
    (row,) = found["cost"]
    assert (row["dataset"], row["without_dropout"], row["model"]) == (
        "items",
        "spared",
        "student_alone",
    )
    assert row["mean_difference"] == pytest.approx(-0.15)  # -.1 and -.2
    assert row["interval"] == pytest.approx((-0.2, -0.1))


def test_datasets_whose_students_alone_differ_share_a_teacher(tmp_path):
    study = StudyConfig(
        seeds=1,
        datasets={
            "items": {"data": "emoji"},
            "pictures": {"data": "emoji", "student_modalities": ["image"]},
            "longer": {"data": "emoji", "epochs": 50},
        },
    )
    items, pictures, longer = make_units(study, tmp_path)
    assert items.teacher_path == pictures.teacher_path == items.path
    assert longer.teacher_path == longer.path
