import re

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
