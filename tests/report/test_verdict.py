"""Whether to ship a student is said once, with its figures, and only what chance does not make."""

import json
import re
from pathlib import Path

import pytest

from mmkd_tf.evaluate.statistics import Comparison
from mmkd_tf.report.verdict import closed_words, study_verdict, verdict
from mmkd_tf.tasks import TASKS

GOLDEN = Path(__file__).parents[1] / "golden"


def judged(*, student=0.8, alone=0.7, teacher=0.9, naive=0.2, size=400, by=0.04, **more):
    """Results of a run whose differences have intervals `by` to both sides."""
    task = TASKS[more.get("task", "single_label")]
    scores = {"student": student, "student_alone": alone, "teacher": teacher, "naive": naive}
    if "scratch" in more:
        scores["student_scratch"] = more.pop("scratch")
    pairs = {
        "over_naive": ("student", "naive"),
        "to_teacher": ("student", "teacher"),
        "teaching": ("student", "student_alone"),
        "inheritance": ("student_alone", "student_scratch"),
        "gap": ("teacher", "student_alone"),
    }
    differences = {
        name: {"difference": scores[a] - scores[b]}
        for name, (a, b) in pairs.items()
        if a in scores and b in scores
    }
    for found in differences.values():
        found["interval"] = [found["difference"] - by, found["difference"] + by]
    return {
        "dataset": {"sizes": {"test": size}},
        **{
            name: {"test": {task.headline: score}, "parameters": 10 if "s" in name else 250}
            for name, score in scores.items()
        },
        "test_comparison": {
            "num_examples": size,
            "naive": {"words": "always naming cup", "score": naive},
            "intervals": {name: [score - 0.03, score + 0.03] for name, score in scores.items()},
            "differences": differences,
        },
        **more,
    }


def test_short_sentences_have_all_figures():
    found = verdict(judged(scratch=0.5, inherited={"image": "x"}))
    assert found.ship == "yes"
    assert found.sentence == (
        "Ship the distilled student. On 400 test examples its accuracy is 80.0% (95 %: 77.0% to "
        "83.0%); its teacher, 25 times as large, reaches 90.0%, always naming cup 20.0%. "
        "Inheritance brought +20.0 points (95 %: +16.0 to +24.0). The teacher brought +10.0 points "
        "(95 %: +6.0 to +14.0), 50% of the gap to it."
    )


@pytest.mark.parametrize(
    ("changes", "ship", "words"),
    [
        ({"naive": 0.78}, "no", "Don't ship the distilled student, which is no better than always"),
        ({"alone": 0.85}, "no", "not|Don't ship the distilled student but the student alone"),
        ({"student": 0.5, "alone": 0.5}, "no", "which keeps 43% of its teacher's lead"),
        ({"student": 0.8, "naive": 0.3}, "yes", "^Ship"),
        ({"teacher": 0.1}, "yes", "^Ship"),
        ({"size": 19}, "unclear", "^Too few test examples"),
        (
            {"alone": 0.82},
            "unclear",
            r"^The distilled student is good enough to ship, but the student alone, as small, "
            r"measured better here by 2\.0 points \(no more than chance can make; files of that "
            r"one: mmkd-tf export DIR --output exported --model student_alone\)\. On 400 test "
            r"examples the distilled student's accuracy is 80\.0%",
        ),
        ({"alone": 0.82, "teacher": 2.0}, "no", "lead"),
        (
            {"config": {"fast": True}},
            "unclear",
            r"^First look \(--fast\): so far the distilled student is good enough to ship\. On",
        ),
        ({"naive": 0.78, "config": {"fast": True}}, "no", r"^First look \(--fast\): don't ship"),
        (
            {"alone": 0.8, "by": 0.0},
            "yes",
            r"The teacher brought \+0\.0 points \(no difference seen on 400 examples\)",
        ),
    ],
)
def test_what_decides(changes, ship, words):
    found = verdict(judged(**changes))
    assert found.ship == ship and re.search(words, found.sentence), found.sentence


@pytest.mark.parametrize(
    ("changes", "epochs", "words"),
    [
        (
            {"student": 0.1},
            1,
            "Its training was probably too short (1 epoch): try more, such as --",
        ),
        ({"student": 0.22}, 2, "probably too short (2 epochs): try more, such as --epochs 32."),
        ({"student": 0.1}, 50, "perhaps too short (50 epochs): try more, such as --epochs 100."),
        ({"student": 0.1, "size": 12}, 2, "probably too short (2 epochs)"),
        ({"student": 0.22, "size": 12}, 2, ""),  # of so few examples that is no sign of it
        ({}, 2, ""),
        ({"student": 0.1, "task": "regression"}, 2, "probably too short (2 epochs)"),
    ],
)
def test_a_student_that_is_no_better_than_a_guess_needs_more_epochs(changes, epochs, words):
    said = verdict(judged(**changes, config={"training": {"epochs": epochs}})).sentence
    assert words in said and ("too short" in said) == bool(words), said


def test_short_trainings_of_students_that_are_compared_are_told():
    config = {"training": {"epochs": 5}}
    falls, rises = {"val_loss": [1.3, 1.2]}, {"val_loss": [1.2, 1.3]}
    said = verdict(judged(scratch=0.21, config=config)).sentence
    assert said.endswith(
        "The training of the student from scratch was probably too short (5 epochs): try more, "
        "such as --epochs 32."
    )
    history = {"student": rises, "student_alone": falls, "student_scratch": falls}
    said = verdict(judged(scratch=0.5, config=config, history=history)).sentence
    assert said.endswith(
        "At the end (5 epochs) the validation loss of the student alone and the student from "
        "scratch still fell, so with more epochs differences may be others: try more, such as "
        "--epochs 32."
    )
    config = {"training": {"epochs": 50}}
    assert "still fell" not in verdict(judged(config=config, history=history)).sentence


def test_a_study_says_so_too():
    comparison = Comparison([0.1, 0.1], 0.1, (0.05, 0.15), None, None)
    task = TASKS["single_label"]
    assert "briefly" not in study_verdict(comparison, task, student=0.41, most_frequent=0.4)
    said = study_verdict(comparison, task, student=0.4, most_frequent=0.4)
    assert "no more than always naming the most frequent class (40.0%)" in said


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        # A teacher that is no better, or hardly, leaves no gap to close.
        ({"teacher": 0.7}, "itself no better than the student alone beyond chance", "of the gap"),
        ({"teacher": 0.73, "student": 0.8}, "itself no better", "of the gap"),
        # What is no more than chance is no part of a gap either.
        ({"student": 0.72}, r"\+2.0 points \(95 %: -2.0 to \+6.0, no more than chance", "gap"),
        ({"student": 0.95}, "all of the gap to it", "%% of the gap"),
    ],
)
def test_a_share_of_the_gap_is_said_where_there_is_one(changes, said, not_said):
    sentence = verdict(judged(**changes)).sentence
    assert re.search(said, sentence) and not_said not in sentence, sentence


def test_harm_is_no_share_of_anything():
    found = verdict(judged(student=0.4, alone=0.8))
    assert "-40.0 points" in found.sentence and "of the gap" not in found.sentence


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("multi_label", "average precision is 0.800 (95 %: 0.770 to 0.830)"),
        ("regression", "R2 is 0.800 (95 %: 0.770 to 0.830)"),
        ("retrieval", "recall at 10 is 0.800 (95 %: 0.770 to 0.830)"),
    ],
)
def test_other_tasks_have_no_points(task, words):
    sentence = verdict(judged(task=task)).sentence
    assert words in sentence and "+0.100 (95 %: +0.060 to +0.140)" in sentence
    assert "points" not in sentence


def test_inheritance_that_was_not_compared_is_said_to_be():
    assert "not measured (--compare scratch)" in verdict(judged(inherited={"image": "x"})).sentence
    assert "inheritance" not in verdict(judged()).sentence


# There are no older results of embeddings.
@pytest.mark.parametrize("task", [name for name in TASKS if name != "embedding"])
def test_older_results_have_a_verdict_too(task):
    results = json.loads((GOLDEN / f"results-{task}.json").read_text(encoding="utf-8"))
    found = verdict(results)
    assert found.ship in ("yes", "no", "unclear") and found.sentence.endswith(".")
    assert "of the gap" not in found.sentence  # how large it is beyond chance is not known


def test_an_unfinished_run_has_none():
    assert verdict({"config": {}}).ship == "unclear"


@pytest.mark.parametrize(
    ("differences", "interval", "closed", "words"),
    [
        ([0.1] * 5, (0.1, 0.1), 0.28, r"^Distillation helped: \+10.0 points .*28% of the gap"),
        ([0.1] * 5, (0.1, 0.1), None, "helped: .*no share of the gap"),
        ([0.1] * 5, (0.1, 0.1), 3.0, "helped: .*all of the gap"),
        ([-0.06] * 5, (-0.1, -0.02), -5.0, r"^Distillation did not help: -6.0 points [^%]*% over"),
        ([0.0] * 5, (0, 0), None, r"^Can't be told from 5 seeds: \+0.0 points .*\(no difference"),
        ([0.1] * 4, (0.1, 0.1), 0.5, r"^Can't be told from 4 seeds: .*Use at least 5\."),
        ([0.25], None, 0.5, r"^Can't be told from one seed: \+25.0 points of accuracy\.$"),
    ],
)
def test_a_study_says_it_plainly(differences, interval, closed, words):
    mean = sum(differences) / len(differences)
    found = study_verdict(
        Comparison(differences, mean, interval, None, closed), TASKS["single_label"]
    )
    assert re.search(words, found), found


def test_shares_of_a_gap_lie_between_none_and_all():
    assert closed_words(-5.0).startswith("none of") and closed_words(0.375).startswith("38%")
