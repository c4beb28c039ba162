import json

import numpy as np

from mmkd_tf.report.figures import study_figure
from mmkd_tf.report.study_page import study_page
from mmkd_tf.study import make_units
from mmkd_tf.study_config import StudyConfig
from mmkd_tf.study_results import SPLITS, Outcome, summarize
from mmkd_tf.tasks import TASKS

LABELS = np.arange(10, dtype=np.int32) % 2
EMOJI = {"emoji": TASKS["single_label"]}


def leave(unit, **num_right):
    """Outcomes of which the first so many examples are right, one fewer on test."""
    for model, number in num_right.items():
        logits = [
            np.eye(2, dtype=np.float32)[np.where(np.arange(10) < n, LABELS, 1 - LABELS)]
            for n in (number, number - 1)
        ]
        outcome = Outcome(
            outputs=dict(zip(SPLITS, logits, strict=True)),
            labels=dict.fromkeys(SPLITS, LABELS),
            without={split: {} for split in SPLITS},
            parameters=100 + len(model),
            seconds=2.0,
        )
        unit.path.mkdir(parents=True, exist_ok=True)
        unit.save_outcome(model, outcome)


def study_of(tmp_path, **recipes):
    study = StudyConfig(seeds=2, datasets={"emoji": {}}, recipes=recipes)
    return study, make_units(study, tmp_path)


def test_summarizes_what_the_folders_hold(tmp_path):
    study, units = study_of(tmp_path, soft={"temperature": 2}, hard={})
    leave(units[0], teacher=10, student_alone=6, **{"recipe-soft": 8, "recipe-hard": 6})
    leave(units[1], teacher=10, student_alone=8, **{"recipe-soft": 9, "recipe-hard": 6})
    results = summarize(study, units, EMOJI, test=True, failed={})
    dataset = results["datasets"]["emoji"]
    assert list(dataset["splits"]) == ["validation", "test"]
    validation, test = dataset["splits"].values()
    assert validation["models"]["recipe-soft"]["accuracy"] == [0.8, 0.9]
    assert test["models"]["recipe-soft"]["accuracy"] == [0.7, 0.8]
    assert validation["examples"] == 10
    np.testing.assert_allclose(validation["comparisons"]["soft"]["differences"], [0.2, 0.1])
    # Of ten examples, a gap of 2 and 4 can be chance.
    assert validation["comparisons"]["soft"]["gap_closed"] is None
    assert "from 2 seeds: +15.0 points" in validation["comparisons"]["soft"]["verdict"]
    assert dataset["task"] == "single_label"
    assert [entry["recipe"] for entry in results["ranking"]] == ["soft", "hard"]
    assert dataset["models"]["teacher"] == {
        "seeds": [0, 1],
        "parameters": 107,
        "seconds": [2.0, 2.0],
    }
    assert results["recipes"]["soft"]["temperature"] == 2
    json.dumps(results)


def test_the_test_split_is_not_touched_without_being_asked_for(tmp_path):
    study, units = study_of(tmp_path, soft={})
    for unit in units:
        leave(unit, teacher=10, student_alone=6, **{"recipe-soft": 8})
    results = summarize(study, units, EMOJI, test=False, failed={})
    assert list(results["datasets"]["emoji"]["splits"]) == ["validation"]


def test_a_recipe_is_compared_on_the_seeds_that_it_has(tmp_path):
    study, units = study_of(tmp_path, soft={}, hard={})
    leave(units[0], teacher=10, student_alone=6, **{"recipe-soft": 8})
    leave(units[1], teacher=10, student_alone=8, **{"recipe-soft": 8, "recipe-hard": 10})
    results = summarize(study, units, EMOJI, test=False, failed={"emoji, seed 0": "why"})
    comparisons = results["datasets"]["emoji"]["splits"]["validation"]["comparisons"]
    np.testing.assert_allclose(comparisons["soft"]["differences"], [0.2, 0.0])
    np.testing.assert_allclose(comparisons["hard"]["differences"], [0.2])
    assert comparisons["hard"]["interval"] is None
    assert results["failed"] == {"emoji, seed 0": "why"}


def test_seeds_without_a_student_alone_are_left_out(tmp_path):
    study, units = study_of(tmp_path, soft={})
    leave(units[0], teacher=10)
    assert summarize(study, units, EMOJI, test=False, failed={})["datasets"] == {}
    leave(units[1], teacher=10, student_alone=6, **{"recipe-soft": 8})
    models = summarize(study, units, EMOJI, test=False, failed={})["datasets"]["emoji"]["models"]
    assert models["teacher"]["seeds"] == [1]


def test_a_dataset_may_be_there_for_one_model_that_others_are_compared_with(tmp_path):
    study = StudyConfig(
        seeds=1,
        datasets={"scratch": {"data": "emoji"}, "emoji": {}, "text": {"data": "emoji"}},
        only={"scratch": "student_alone", "text": "teacher"},
    )
    units = make_units(study, tmp_path)
    assert [unit.missing for unit in units] == [
        ["student_alone"],
        ["teacher", "student_alone", "recipe-default"],
        ["teacher"],
    ]
    assert units[1].teacher_path == units[2].teacher_path == units[1].path
    leave(units[0], student_alone=7)
    leave(units[1], teacher=10, student_alone=6, **{"recipe-default": 8})
    leave(units[2], teacher=9)
    tasks = dict.fromkeys(study.datasets, TASKS["single_label"])
    results = summarize(study, units, tasks, test=True, failed={})
    found = {name: each["splits"]["test"] for name, each in results["datasets"].items()}
    assert {name: list(each["models"]) for name, each in found.items()} == {
        "scratch": ["student_alone"],
        "emoji": ["teacher", "student_alone", "recipe-default"],
        "text": ["teacher"],
    }
    assert list(found["emoji"]["comparisons"]) == ["default"] and not found["text"]["comparisons"]
    assert [each["recipe"] for each in results["ranking"]] == ["default"]
    assert "| text " in study_page(results, figure="study.png")
    assert len(study_figure(results).axes) == 2


def test_models_of_other_tasks_are_compared_by_their_own_figures(tmp_path):
    study, units = study_of(tmp_path, soft={})
    targets = np.linspace(0, 1, 10, dtype=np.float32)[:, None]
    for unit in units:
        for model, error in {"teacher": 0, "student_alone": 0.2, "recipe-soft": 0.1}.items():
            outcome = Outcome(
                outputs=dict.fromkeys(SPLITS, targets * (1 - error)),
                labels=dict.fromkeys(SPLITS, targets),
                without={split: {} for split in SPLITS},
                parameters=1,
                seconds=1.0,
            )
            unit.path.mkdir(parents=True, exist_ok=True)
            unit.save_outcome(model, outcome)
    tasks = {"emoji": TASKS["regression"]}
    dataset = summarize(study, units, tasks, test=False, failed={})["datasets"]["emoji"]
    assert dataset["task"] == "regression"
    validation = dataset["splits"]["validation"]
    assert validation["models"]["teacher"]["r2"] == [1, 1]
    assert validation["comparisons"]["soft"]["mean_difference"] > 0
    assert 0 < validation["comparisons"]["soft"]["gap_closed"] < 1
