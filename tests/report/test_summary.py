"""What is printed at the end of a run, and what the card says of it."""

import html
import shlex

import numpy as np
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.report.card import model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.run_tables import outputs as outputs_table
from mmkd_tf.report.runs_page import runs_page
from mmkd_tf.report.sentences import (
    calibration,
    can_help,
    command,
    task_of,
    taught,
    teacher_comparison,
)
from mmkd_tf.report.summary import next_steps, summary
from mmkd_tf.report.tables import figure
from mmkd_tf.settings.names import parse_settings
from mmkd_tf.tasks import TASKS


def test_the_summary_has_a_line_for_each_model(fabricate_run):
    lines = [line.split() for line in summary(fabricate_run()).splitlines()]
    assert ["accuracy", "all", "inputs", "without", "image", "without", "text"] in lines
    assert ["teacher", "0.900", "0.432", "0.550"] in lines
    assert ["student", "alone", "0.700", "-", "-"] in lines
    assert ["distilled", "student", "0.800", "0.432", "0.550"] in lines
    said = "Mean accuracy of the distilled student under damage: blur 0.550, dropped words 0.650."
    assert said in " ".join(summary(fabricate_run()).split())
    assert ["Measured", "on", "the", "29", "test", "examples."] in lines


def test_a_choice_of_the_examples_is_said_to_be_one(fabricate_run):
    results = fabricate_run()
    results["robustness"]["num_examples"] = 20
    said = "20 of the 29 test examples, chosen at random"
    for written in (summary(results), model_card(results), report_page(results)):
        assert said in " ".join(written.split())


def test_the_card_has_a_table(fabricate_run):
    card = model_card(fabricate_run())
    assert "| accuracy | all inputs | without image | without text |\n| --- | ---: |" in card
    assert "| student alone | 0.700 | - | - |" in card
    assert "under damage: blur 0.550, dropped words 0.650." in card


def test_nothing_is_said_where_it_was_not_measured(fabricate_run):
    results = fabricate_run() | {"robustness": None}
    assert "Measured on the 29" not in summary(results)
    assert "without image" not in summary(results) and "absent" not in model_card(results)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_too_long_for_the_terminal(fabricate_run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    results = fabricate_run()
    results["exports"][0]["file"] = "student_photograph_small.tflite"
    text = summary(results)
    assert max(map(len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if line.startswith("teacher "))
    assert row.split() == [
        *("teacher", "0.886", "0.836", "to", "0.936"),
        *("0.611", "0.622", "0.033", "90,000"),
    ]
    assert "student_small.tflite" in text and "4 seconds (data 1, student alone 2)" in text


def results_of(task, key, alone, student, gap):
    return {
        "task": task,
        "dataset": {"sizes": {"test": 50}},
        "student_alone": {"test": {key: alone}},
        "student": {"test": {key: student}},
        "gap_closed": gap,
    }


def test_the_task_of_older_results_is_one_class():
    assert task_of({}).name == "single_label" and task_of({"task": "retrieval"}).is_pairwise


def test_numbers_have_their_own_columns():
    figures = {"r2": 0.946, "mean_absolute_error": 18.19, "root_mean_squared_error": 24.49}
    whole = results_of("regression", "r2", 0.9, 0.946, 0.5) | {
        name: {"parameters": 986_210, "test": figures}
        for name in ("teacher", "student_alone", "student")
    }
    whole |= {"exports": [], "seconds": {"data": 1.0}, "peak_memory_mib": 10.0}
    row = next(line for line in summary(whole).splitlines() if line.startswith("teacher "))
    assert row.split() == ["teacher", "0.946", "18.19", "24.49", "986,210"]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_is_shown_of_a_task_is_measured(task):
    rng = np.random.default_rng(0)
    labels = {
        "single_label": rng.integers(0, 2, 20),
        "multi_label": rng.integers(0, 2, [20, 2]),
        "regression": rng.normal(size=[20, 2]),
        "retrieval": np.arange(20),
        "embedding": np.arange(20) // 2,
    }[task.name]
    outputs = rng.normal(size=[20, 2])
    measured = task.measure(labels=labels, outputs=outputs, names=["a", "b"])
    words = task.words
    assert {key for _, key, _ in words.columns} <= set(measured)
    assert words.columns[0][1] == task.headline
    parts = measured[words.per_output]
    assert {key for _, key, _ in words.output_columns} <= set(parts[0])
    results = {"task": task.name, "student": {"test": measured}}
    table = outputs_table(results)
    assert [row[0] for row in table.rows] == [part["name"] for part in parts]
    assert "-" not in table.rows[0]
    assert bool(table.bars) != (task.name == "embedding")  # whose thresholds have no scale
    for place, shares in table.bars.items():
        assert [figure(share) for share in shares] == [row[place] for row in table.rows]
    assert task.purpose("photo and title", 2) and task.examples_have(2)
    assert task.agreement_sentence(0.5).endswith(".")


def test_a_card_of_pairs_shows_how_one_is_found_by_the_other(fabricate_run):
    results = fabricate_run()
    test = TASKS["retrieval"].measure(labels=np.arange(20), outputs=np.eye(20), names=())
    for name in ("teacher", "student_alone", "student"):
        results[name] = {"parameters": 10, "test": test}
    results |= {"task": "retrieval", "robustness": None}
    results["dataset"]["class_names"] = []
    results["exports"] = [export | {"task": "retrieval"} for export in results["exports"]]
    card = model_card(results)
    assert 'texts.search(Encoder("student_image.tflite").encode(["picture.png"])[0], top=5)' in card
    assert "`student_image.tflite`, `student_text.tflite`, and each `_small.tflite`" in card
    results["dataset"]["inputs"] = {"text": {"kind": "image"}}
    assert 'Encoder("student_text.tflite")' in model_card(results)
    assert "Index" not in model_card(results)


CAN_HELP = {
    "num_examples": 186,
    "teacher": 0.661,
    "student_alone": 0.65,
    "gap": 0.011,
    "interval": [-0.043, 0.065],
    "only_teacher_right": 16,
    "only_student_right": 14,
    "can_help": False,
}


def test_it_is_said_plainly_that_a_teacher_can_hardly_help(fabricate_run):
    config = make_config({"teacher.encoders": "scratch"}).model_dump()
    text = can_help({"can_help": CAN_HELP, "config": config})
    assert text == (
        "On the 186 validation examples the teacher's accuracy is 0.661, that of the student alone "
        "0.650: +1.1 points (95 %: -4.3 to +6.5); the teacher gets 16 right that the student gets "
        "wrong, and 14 the other way round. That is no more than chance can make, so the teacher "
        "can hardly help. Try a teacher with pretrained encoders (teacher.encoders=pretrained)."
    )
    config = make_config({}).model_dump()
    text = can_help({"can_help": CAN_HELP, "config": config})
    assert text.endswith(
        "Try other teachers (teacher.encoders=auto) or rows without labels (--unlabelled)."
    )
    numbers = {**CAN_HELP, "only_teacher_right": None, "only_student_right": None}
    numbers |= {"can_help": True, "interval": [0.004, 0.05]}
    text = can_help({"can_help": numbers, "config": config, "task": "regression"})
    assert "+0.011 (95 %: +0.004 to +0.050). So there is something to learn" in text
    results = {**fabricate_run(), "can_help": CAN_HELP}
    card, page = model_card(results), html.unescape(report_page(results))
    for shown in (" ".join(summary(results).split()), card, page):
        assert "the teacher gets 16 right that the student gets wrong" in shown
    assert can_help({}) == ""


def test_the_choice_of_a_teacher_is_told():
    candidates = {
        "pretrained": {"loss": 0.533, "score": 0.812, "parameters": 7},
        "both": {"loss": 0.6, "score": 0.823, "parameters": 9},
        "scratch": {"loss": 1.02, "score": 0.651, "parameters": 8},
    }
    found = {"chosen": "pretrained", "num_examples": 186, "candidates": candidates}
    assert teacher_comparison({"teacher_comparison": found}) == (
        "The teacher with pretrained encoders was taken, which has the least loss on the 186 "
        "validation examples: pretrained encoders 0.533 (accuracy 0.812), both side by side 0.600 "
        "(accuracy 0.823), encoders trained from scratch 1.020 (accuracy 0.651)."
    )
    assert teacher_comparison({"teacher_comparison": None}) == ""


def test_the_temperatures_of_a_teacher_are_told(fabricate_run):
    results = fabricate_run()
    results["teacher"]["temperatures"] = {"single": 1.142, "joint": 1.21}
    assert "divided by 1.14 where one head answers, by 1.21 where all do" in taught(results)


@pytest.mark.parametrize(
    "given",
    [
        {"data": "my items.csv", "epochs": 7, "author": "Ann O'Neil: <me>"},
        {"data": "items.csv", "text": None, "label": ["price", "weight"], "task": "regression"},
        {"inputs": {"front": {"kind": "image", "size": 32}, "back": {"kind": "image"}}},
    ],
)
def test_the_command_makes_the_same_settings(given):
    config = make_config(given)
    name, verb, source, *flags = shlex.split(command({"config": config.model_dump()}))
    assert (name, verb, source) == ("mmkd-tf", "run", config.data.source)
    pairs = list(zip(flags[::2], flags[1::2], strict=True))
    again = parse_settings([value for flag, value in pairs if flag == "--set"])
    again |= {flag.removeprefix("--"): value for flag, value in pairs if flag != "--set"}
    assert make_config({"data": source, **again}) == config


def test_a_first_look_is_said_to_be_one_everywhere(fabricate_run):
    results = fabricate_run()
    assert "This was a first look" not in summary(results) + report_page(results)
    results["config"] = make_config({"fast": True}).model_dump()
    assert 'class="badge">first look' in report_page(results)
    assert 'class="badge">first look' in runs_page({"a": results})
    for text in (" ".join(summary(results).split()), report_page(results)):
        assert "This was a first look (--fast), with 4 epochs" in text


def test_a_calibration_is_not_said_to_do_what_it_does_not():
    found = {"temperature": 1.36, "num_examples": 440, "error_before": 0.05, "error_after": 0.04}
    said = calibration({"calibration": found})
    assert "which is to make" in said and said.endswith(
        "on test the calibration error is 0.040, without it 0.050."
    )
    said = calibration({"calibration": found | {"num_examples": 44, "error_after": 0.06}})
    assert "it became worse. Probabilities calibrated on so few examples (44) are rough." in said


def test_the_end_says_what_to_do_next(fabricate_run, tmp_path):
    results, folder = fabricate_run(), tmp_path / "my items"
    assert next_steps(results, folder).splitlines() == [
        f"Files: {folder}",
        f"Open {folder / 'report.html'}",
        f"Try mmkd-tf predict '{folder}' --text 'a few words'",
    ]
    results["dataset"]["modalities"] = {"front": "a picture", "cells": "numbers"}
    results["dataset"]["inputs"] = {"front": {"kind": "image"}, "cells": {"kind": "tabular"}}
    assert next_steps(results, folder).endswith("--input front=picture.png")
    results["task"] = "embedding"
    assert next_steps(results, folder).endswith("report.html")
    results["dataset"]["modalities"].pop("cells")
    assert next_steps(results, folder).endswith("=picture.png --candidates candidates.txt")
    results["dataset"]["modalities"] = {"cells": "numbers"}
    results["task"] = "single_label"
    assert next_steps(results, folder).endswith("new.csv --output answers.csv")
