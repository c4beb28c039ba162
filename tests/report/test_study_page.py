import re

import pytest

from mmkd_tf.report.figures import study_figure
from mmkd_tf.report.study_page import study_page, study_text


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_has_a_row_for_each_dataset_and_recipe(fabricate):
    results = fabricate(datasets=("emoji", "catalog"), recipes=("soft", "hard"))
    page = study_page(results, figure="study.png")
    rows = [cells(line) for line in page.splitlines() if "| soft (best) |" in line]
    measured = results["datasets"]["emoji"]["splits"]["validation"]["models"]
    difference = results["datasets"]["emoji"]["splits"]["validation"]["comparisons"]["soft"]
    assert rows[0] == [
        "emoji",
        "soft (best)",
        "5",
        f"{measured['teacher']['mean']['accuracy']:.3f}",
        f"{measured['student_alone']['mean']['accuracy']:.3f}",
        f"{measured['recipe-soft']['mean']['accuracy']:.3f}",
        f"{100 * difference['mean_difference']:+.1f}",
        "-1.1 to +4.2",
        "-2.0 to +5.1",
        "37%",
    ]
    assert rows[1][0] == "catalog" and rows[1][-1] == "no gap"
    assert "Best recipe on validation: soft" in page and "soft +2.0, hard +1.0" in page
    assert "![" in page and "](study.png)" in page
    for dataset in ("emoji", "catalog"):
        for recipe in ("soft", "hard"):
            assert f"{dataset}, {recipe}: Verdict on {dataset} and {recipe}." in page


def test_all_rows_of_a_table_have_its_columns(fabricate):
    page = study_page(fabricate(splits=("validation", "test")), figure="study.png")
    tables = re.findall(r"(?:^\|.*\n)+", page, flags=re.M)
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert len(table.splitlines()) >= 3


def test_the_test_split_is_shown_only_where_it_was_looked_at(fabricate):
    results = fabricate()
    assert "test split" not in study_page(results, figure="f").lower()
    assert "test split" not in study_text(results)
    results = fabricate(splits=("validation", "test"))
    page = study_page(results, figure="f")
    assert "## Test split" in page and "chosen on validation, not for choosing one" in page
    assert "test split" in study_text(results)


def test_one_recipe_is_no_choice(fabricate):
    for text in (study_page(fabricate(), figure="f"), study_text(fabricate())):
        assert "best" not in text.lower()


def test_one_seed_has_no_interval(fabricate):
    results = fabricate(seeds=1)
    comparison = results["datasets"]["emoji"]["splits"]["validation"]["comparisons"]["default"]
    comparison |= {"interval": None, "interval_with_examples": None}
    assert "| - | - |" in study_page(results, figure="f")


def test_failures_are_listed_by_their_last_line(fabricate):
    results = fabricate() | {"failed": {"emoji, seed 3": "Traceback\n  ...\nKeyError: 'x'"}}
    for text in (study_page(results, figure="f"), study_text(results)):
        assert "- emoji, seed 3: KeyError: 'x'" in text and "same command again" in text


def test_the_text_is_aligned(fabricate):
    lines = study_text(fabricate(recipes=("a", "longer-name"))).splitlines()
    table = [line for line in lines if line.startswith(("dataset", "emoji  "))]
    assert len(table) == 3
    assert len({len(line) for line in table}) == 1


def absent(without):
    mean = {"accuracy": 0.75}
    models = {"student_alone": {"mean": mean, "without": without}}
    trained = {"student_alone": {"parameters": 10, "seconds": [1.0]}}
    left = {"dataset": "items", "model": "recipe-dist", "modality": "image", "accuracy": 0.45}
    left |= {"made_for_it": "pictures", "made_for_it_accuracy": 0.5, "share": 0.9}
    cost = {"dataset": "items", "model": "student_alone", "without_dropout": "spared"}
    cost |= {"mean_difference": -0.004, "interval": (-0.012, 0.003)}
    rows = {"left": [left], "cost": [cost]} if without else {"left": [], "cost": []}
    return {
        "datasets": {
            "items": {"models": trained, "splits": {"test": {"models": models, "comparisons": {}}}}
        },
        "recipes": {},
        "ranking": [],
        "failed": {},
        "absence": {"test": rows},
    }


def test_shows_what_is_lost_and_what_it_costs():
    results = absent({"image": 0.4, "text": 0.5})
    shown = study_page(results, figure="study.png")
    assert "| dataset | model | complete | without image | without text |" in shown
    assert "| items | student alone | 0.750 | 0.400 | 0.500 |" in shown
    assert "| items | distilled: dist | image | pictures | 0.450 | 0.500 | 0.900 |" in shown
    assert "| items | student alone | spared | -0.4 | -1.2 to +0.3 |" in shown
    assert "0.900" in study_text(results)


def test_says_nothing_of_models_with_one_modality():
    page = study_page(absent({}), figure="study.png")
    assert "lack" not in page and "left" not in page


def test_older_studies_lack_absence(fabricate):
    results = fabricate()
    del results["absence"]
    for model in results["datasets"]["emoji"]["splits"]["validation"]["models"].values():
        del model["without"]
    assert "without" not in study_page(results, figure="f").lower()


def test_other_tasks_are_compared_by_their_own_figures(fabricate):
    results = fabricate(datasets=("emoji", "prices"))
    prices = results["datasets"]["prices"]
    prices["task"] = "regression"
    for model in prices["splits"]["validation"]["models"].values():
        scores = model["accuracy"]
        del model["accuracy"], model["cross_entropy"], model["macro_f1"]
        model |= {"r2": scores, "mean_absolute_error": [12.345] * 5}
        model["mean"] = {"r2": 0.5, "mean_absolute_error": 12.345}
    page = study_page(results, figure="f")
    assert "| dataset | model | parameters | R2 | mean absolute error | s |" in page
    assert "| prices | teacher | 39,017 | 0.500 | 12.35 | 50 |" in page
    assert "| dataset | model | parameters | accuracy | cross-entropy | macro F1 | s |" in page
    axes = study_figure(results).axes
    assert [each.get_ylabel() for each in axes] == ["accuracy", "R2"]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_too_long_for_the_terminal(fabricate, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    results = fabricate(datasets=("emoji", "a-dataset-of-a-long-name"), recipes=("a", "long-name"))
    assert max(map(len, study_text(results).splitlines())) <= width
    assert "a-dataset-of-a-long-name" in study_text(results) or width == 80
