"""The study by its command, on a table of 40 rows."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.config import RunConfig
from mmkd_tf.study import job
from mmkd_tf.study.config import StudyConfig
from mmkd_tf.study.job import make_units

STUDY = """
settings: {image_size: 16, epochs: 1, batch_size: 8, image: none}
datasets: {tiny: {data: %s}}
recipes: {soft: {temperature: 2}}
"""


def invoke(*arguments):
    return CliRunner().invoke(app, ["study", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(STUDY % table)
    arguments = ("--config", folder / "study.yaml", "--output", folder / "out", "--jobs", 2)
    result = invoke(*arguments, "--seeds", 2)
    assert result.exit_code == 0, result.output
    return folder, arguments, result


def test_units_begin_with_the_first_seed_of_each_dataset(tmp_path):
    study = StudyConfig(seeds=2, datasets={"emoji": {}, "catalog": {}})
    units = make_units(study, tmp_path)
    assert [str(unit) for unit in units] == [
        "emoji, seed 0",
        "catalog, seed 0",
        "emoji, seed 1",
        "catalog, seed 1",
    ]
    assert units[3].path == tmp_path / "catalog" / "seed-1"
    assert units[3].config == units[3].recipes["default"] == RunConfig(data="catalog", seed=1)


def test_the_number_of_jobs_is_checked(tmp_path):
    result = invoke("--output", tmp_path / "out", "--jobs", 0)
    assert result.exit_code == 2 and "`--jobs`: 1 or more" in result.output


def test_a_dataset_that_can_not_be_used_stops_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "train_all", None)
    (tmp_path / "study.yaml").write_text("datasets: {gone: {data: gone.csv}}")
    result = invoke("--config", tmp_path / "study.yaml", "--output", tmp_path / "out")
    assert result.exit_code == 2 and "gone.csv" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_leaves_table_figure_and_results(finished):
    folder, _, result = finished
    out = folder / "out"
    names = ["study.json", "study.md", "study.png", "tiny"]
    assert sorted(path.name for path in out.iterdir()) == names
    results = json.loads((out / "study.json").read_text())
    assert list(results["datasets"]["tiny"]["splits"]) == ["validation"]
    assert results["failed"] == {} and results["seeds"] == 2
    assert "2 at once" in result.output and "validation split" in result.output
    assert "test split" not in result.output.lower().replace("the test split", "")
    assert (out / "study.png").read_bytes().startswith(b"\x89PNG")
    assert str(folder) not in (out / "study.json").read_text() + (out / "study.md").read_text()


@pytest.mark.slow
def test_what_is_there_is_not_trained_again_and_test_is_shown_when_asked_for(finished, monkeypatch):
    folder, arguments, _ = finished
    monkeypatch.setattr(job, "train_all", None)
    result = invoke(*arguments, "--seeds", 2, "--test")
    assert result.exit_code == 0, result.output
    assert " 0 models to train" in result.output and "\ntest split" in result.output
    results = json.loads((folder / "out" / "study.json").read_text())
    assert list(results["datasets"]["tiny"]["splits"]) == ["validation", "test"]


@pytest.mark.slow
def test_changed_settings_or_data_are_refused(finished, table, monkeypatch):
    folder, arguments, _ = finished
    monkeypatch.setattr(job, "train_all", None)
    result = invoke(*arguments, "--set", "epochs=2")
    assert result.exit_code == 2 and "epochs was 1, is now 2" in result.output
    text = (STUDY % table).replace("temperature: 2", "temperature: 3")
    (folder / "other.yaml").write_text(text)
    result = invoke(*arguments, "--config", folder / "other.yaml")
    assert result.exit_code == 2 and "temperature was 2.0, is now 3.0" in result.output
    original = table.read_text()
    try:
        table.write_text(original.replace("red3.png,a red thing 3,red\n", ""))
        result = invoke(*arguments)
        assert result.exit_code == 2 and "have changed since" in result.output
    finally:
        table.write_text(original)


@pytest.mark.slow
def test_one_job_gives_what_two_jobs_give(finished):
    folder, arguments, _ = finished
    result = invoke(*arguments, "--seeds", 1, "--jobs", 1, "--output", folder / "one")
    assert result.exit_code == 0, result.output
    for model in ("teacher", "student_alone", "recipe-soft"):
        with (
            np.load(folder / "out" / "tiny" / "seed-0" / f"{model}.npz") as two,
            np.load(folder / "one" / "tiny" / "seed-0" / f"{model}.npz") as one,
        ):
            for name in set(one) - {"seconds"}:
                np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.slow
def test_failures_are_listed_and_the_rest_is_shown(finished, monkeypatch):
    _, arguments, _ = finished
    monkeypatch.setattr(
        job, "train_all", lambda groups, **_: {str(u): "why" for g in groups for u in g}
    )
    result = invoke(*arguments, "--seeds", 3)
    assert result.exit_code == 1, result.output
    assert "- tiny, seed 2: why" in result.output and "validation split" in result.output


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on(finished, monkeypatch):
    _, arguments, _ = finished

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "train_all", interrupted)
    result = invoke(*arguments, "--seeds", 3)
    assert result.exit_code == 130 and "Go on with the same command" in result.output


def test_only_data_of_one_class_an_example_are_compared(tmp_path):
    tags = ("red", "blue", "red|blue", "|")
    rows = "".join(f"thing {number},{tags[number % 4]}\n" for number in range(40))
    (tmp_path / "tagged.csv").write_text("text,label\n" + rows)
    table = tmp_path / "tagged.csv"
    result = invoke(table, "--output", tmp_path / "out", "--set", "image=none")
    assert result.exit_code == 2 and "of multi_label" in result.output
