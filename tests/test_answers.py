"""Tables and exported files: answers for each row, and figures of labelled ones."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.edge import Classifier

MODEL = Path(__file__).parents[1] / "saved_models/emoji/student_small.tflite"
ROWS = [
    ("pizza", "Food & Drink", "1"),
    ("flag: Chad", "Flags", "2"),
    ("dog", "Animals & Nature", "3"),
]


@pytest.fixture
def table(tmp_path):
    return write(tmp_path, ROWS)


def write(folder, rows):
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "number"), *rows])
    return folder / "items.csv"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_row_has_its_answer(table, tmp_path):
    done = invoke("predict", MODEL, table, "--output", tmp_path / "new" / "answers.csv")
    assert done.exit_code == 0, done.output
    found = read(tmp_path / "new" / "answers.csv")
    assert [row["number"] for row in found] == ["1", "2", "3"]
    model = Classifier(MODEL)
    for row in found:
        expected = model.predict(text=row["text"])
        assert row["prediction"] == expected.label
        assert float(row["probability"]) == pytest.approx(expected.probability, abs=1e-6)
        named = [float(row[f"probability of {name}"]) for name in model.class_names]
        assert sum(named) == pytest.approx(1, abs=1e-4)
    assert "no column 'image'" in done.output


def test_a_file_that_is_there_is_replaced_only_when_told(table, tmp_path):
    answers = tmp_path / "answers.csv"
    answers.write_text("mine")
    done = invoke("predict", MODEL, table, "--output", answers)
    assert done.exit_code == 2 and "replace it with --overwrite" in done.output
    assert answers.read_text() == "mine"
    done = invoke("predict", MODEL, table, "--output", answers, "--overwrite")
    assert done.exit_code == 0 and len(read(answers)) == 3
    before = table.read_bytes()
    done = invoke("predict", MODEL, table, "--output", table, "--overwrite")
    assert done.exit_code == 2 and "another file than the table" in done.output
    assert table.read_bytes() == before
    assert "only with --output" in invoke("predict", MODEL, table, "--overwrite").output


def test_without_a_file_answers_are_printed(table):
    done = invoke("predict", MODEL, table, "--json")
    assert [row["number"] for row in json.loads(done.stdout)] == ["1", "2", "3"]
    assert invoke("predict", MODEL, table).stdout.startswith("text,label,number,prediction,")


def test_rows_that_say_nothing_are_listed_and_may_be_left_empty(tmp_path):
    table = write(tmp_path, [*ROWS, ("", "Flags", "4")])
    done = invoke("predict", MODEL, table, "--output", tmp_path / "answers.csv")
    assert done.exit_code == 2 and "row 5:" in done.output and "--skip-bad-rows" in done.output
    assert not (tmp_path / "answers.csv").exists()
    done = invoke("predict", MODEL, table, "--output", tmp_path / "answers.csv", "--skip-bad-rows")
    assert done.exit_code == 0 and read(tmp_path / "answers.csv")[3]["prediction"] == ""


def test_columns_have_names_of_their_own(table):
    done = invoke("predict", MODEL, table, "--text", "label", "--json")
    model = Classifier(MODEL)
    expected = [model.predict(text=label).label for _, label, _ in ROWS]
    assert [row["prediction"] for row in json.loads(done.stdout)] == expected
    done = invoke("predict", MODEL, table, "--text", "txt")
    assert done.exit_code == 2 and "did you mean 'text'?" in done.output
    done = invoke("predict", MODEL, table, "--input", "sound=text")
    assert done.exit_code == 2 and "`--sound`" in done.output


def test_a_labelled_table_gives_figures_with_an_interval(table):
    done = invoke("evaluate", MODEL, table, "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    model = Classifier(MODEL)
    right = [model.predict(text=text).label == label for text, label, _ in ROWS]
    assert figures["num_examples"] == 3 and figures["accuracy"] == sum(right) / 3
    low, high = figures["interval"]
    assert 0 <= low < figures["accuracy"] <= high <= 1
    assert sum(each["support"] for each in figures["per_class"]) == 3
    text = invoke("evaluate", MODEL, table).stdout
    assert f"accuracy: {sum(right) / 3:.3f} (95 %: " in text and "Food & Drink" in text


def test_labels_that_the_model_does_not_know_are_listed(tmp_path):
    table = write(tmp_path, [*ROWS, ("sun", "Weather", "4")])
    done = invoke("evaluate", MODEL, table)
    assert done.exit_code == 2 and "label 'Weather': none of the model's" in done.output
    done = invoke("evaluate", MODEL, table, "--skip-bad-rows")
    assert "3 rows, 1 left out" in done.output
    done = invoke("evaluate", MODEL, table, "--label", "kind")
    assert done.exit_code == 2 and "no column 'kind'" in done.output


def test_a_column_that_is_not_there_is_named_by_flags_that_the_command_has(table):
    done = invoke("predict", MODEL, table, "--image", "foo")
    assert done.exit_code == 2 and "no column 'foo'" in done.output
    assert "--input NAME=COLUMN" in done.output and "--label" not in done.output
    assert "--label" in invoke("evaluate", MODEL, table, "--text", "foo").output


def test_a_model_alone_may_be_given_a_table(tmp_path):
    done = invoke("predict", MODEL)
    assert done.exit_code == 2 and f"mmkd-tf predict {MODEL} new.csv" in done.output
    (tmp_path / "items").mkdir()
    for more in (["--text", "cup"], ["new.csv"]):
        done = invoke("predict", tmp_path / "itms", *more)
        assert done.exit_code == 2 and f"Did you mean '{tmp_path / 'items'}'?" in done.output
        assert "`MODEL`: a .tflite file, or the folder of a run" in done.output
