"""The study by its command, on a table of 40 rows."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf import study as study_module
from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.study import make_units
from mmkd_tf.study_config import StudyConfig

SMALL = "image_size: 16, epochs: 1, batch_size: 8, image: none"
SMALL += ", teacher.encoders: scratch, student.inherit: none"
STUDY = f"""
settings: {{{SMALL}}}
datasets: {{tiny: {{data: %s}}}}
recipes: {{soft: {{temperature: 2}}}}
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
    assert (
        units[3].config
        == units[3].recipes["default"]
        == make_config({"data": "catalog", "seed": 1})
    )


def test_the_number_of_jobs_is_checked(tmp_path):
    result = invoke("--output", tmp_path / "out", "--jobs", 0)
    assert result.exit_code == 2 and "`--jobs`: 1 or more" in result.output


def test_a_dataset_that_can_not_be_used_stops_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "run_groups", None)
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
    monkeypatch.setattr(study_module, "run_groups", None)
    result = invoke(*arguments, "--seeds", 2, "--test")
    assert result.exit_code == 0, result.output
    assert " 0 models to train" in result.output and "\ntest split" in result.output
    results = json.loads((folder / "out" / "study.json").read_text())
    assert list(results["datasets"]["tiny"]["splits"]) == ["validation", "test"]


@pytest.mark.slow
def test_changed_settings_or_data_are_refused(finished, table, monkeypatch):
    folder, arguments, _ = finished
    monkeypatch.setattr(study_module, "run_groups", None)
    result = invoke(*arguments, "--set", "epochs=2")
    assert result.exit_code == 2 and "training.epochs: was 1, now 2" in result.output
    text = (STUDY % table).replace("temperature: 2", "temperature: 3")
    (folder / "other.yaml").write_text(text)
    result = invoke(*arguments, "--config", folder / "other.yaml")
    assert result.exit_code == 2 and "distillation.temperature: was 2.0, now 3.0" in result.output
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
        study_module,
        "run_groups",
        lambda groups, work, **_: {str(u): "why" for g in groups for u in g},
    )
    result = invoke(*arguments, "--seeds", 3)
    assert result.exit_code == 1, result.output
    assert "- tiny, seed 2: why" in result.output and "validation split" in result.output


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on(finished, monkeypatch):
    _, arguments, _ = finished

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "run_groups", interrupted)
    result = invoke(*arguments, "--seeds", 3)
    assert result.exit_code == 130 and "Go on with the same command" in result.output


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
@pytest.mark.parametrize(
    ("settings", "headline"),
    [
        ("label: tags", "average_precision"),
        ("label: weight, task: regression", "r2"),
        ("task: retrieval, image: image", "recall_at_10"),
    ],
)
def test_data_of_each_task_are_compared(tmp_path, monkeypatch, settings, headline):
    def in_this_process(groups, work, **_):
        for unit in itertools.chain(*groups):
            work(unit)
        return {}

    monkeypatch.setattr(study_module, "run_groups", in_this_process)
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,text,tags,weight"]
    for number in range(40):
        tags = [name for name in ("red", "round") if rng.random() < 0.5]
        Image.fromarray(np.full([16, 16, 3], 5 * number + 10, np.uint8)).save(
            folder / f"{number}.png"
        )
        text = f"thing {number} {' '.join(tags)}"
        lines.append(f"{number}.png,{text},{'|'.join(tags) or '|'},{len(tags) + rng.random():.2f}")
    (folder / "things.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "study.yaml").write_text(
        f"seeds: 1\nsettings: {{{SMALL}}}\n"
        f"datasets: {{things: {{data: {folder}/things.csv, {settings}}}}}\n"
    )
    result = invoke("--config", tmp_path / "study.yaml", "--output", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "study.json").read_text())["datasets"]["things"]
    models = found["splits"]["validation"]["models"]
    assert sorted(models) == ["recipe-default", "student_alone", "teacher"]
    assert all(len(model[headline]) == 1 for model in models.values())


def test_a_recipe_that_does_not_fit_the_data_stops_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "run_groups", None)
    rows = "".join(f"thing {number},{number % 7}.5\n" for number in range(40))
    (tmp_path / "things.csv").write_text("text,label\n" + rows)
    (tmp_path / "study.yaml").write_text(
        "settings: {task: regression, image: none}\nrecipes: {a: {soft_target_loss: dist}}\n"
        "datasets: {things: {data: things.csv}}\n"
    )
    result = invoke("--config", tmp_path / "study.yaml", "--output", tmp_path / "out")
    assert result.exit_code == 2 and "auto or squared for regression" in result.output


def test_an_existing_folder_without_data_does_not_begin_another_study(tmp_path):
    (tmp_path / "items").mkdir()
    result = invoke("--output", tmp_path)
    assert result.exit_code == 2
    assert "`DATA`: what the study in" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["items"]
