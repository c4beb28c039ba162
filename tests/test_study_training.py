import dataclasses
import shutil

import numpy as np
import pytest

from mmkd_tf import study as study_module
from mmkd_tf.config import make_config
from mmkd_tf.runs import training as run_training
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.settings.names import grouped
from mmkd_tf.study import make_units, train_unit
from mmkd_tf.study_config import make_study

SMALL = {"epochs": 1, "image_size": 16, "image": None, "batch_size": 8}
SMALL |= {"teacher.encoders": "scratch", "student.inherit": "none"}


def unit_of(table, output, *recipes):
    study = make_study({"data": str(table), "settings": SMALL, "seeds": 1})
    named = {"soft": {"temperature": 2}, "hard": {"soft_target_weight": 0}}
    study = study.model_copy(update={"recipes": {name: named[name] for name in recipes}})
    return make_units(study, output)[0]


def changed(config, **settings):
    return make_config(grouped(config.model_dump(), settings))


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory, eager_training):
    output = tmp_path_factory.mktemp("unit")
    said = []
    unit = unit_of(table, output, "soft", "hard")
    train_unit(unit, said.append)
    return unit, said


def test_says_a_line_for_each_model(trained):
    unit, said = trained
    names = ["teacher", "student_alone", "recipe-soft", "recipe-hard"]
    assert [line.split(":")[0] for line in said] == ["items, seed 0"] * 4
    assert [line.split(": ")[1].split(",")[0] for line in said] == names
    assert all("validation accuracy" in line and line.endswith(" s") for line in said)
    assert unit.missing == []


def test_leaves_its_files_and_nothing_half_done(trained):
    unit, _ = trained
    assert sorted(path.name for path in unit.path.iterdir()) == [
        "config.yaml",
        "data.sha256",
        "manifest.json",
        "recipe-hard.npz",
        "recipe-hard.yaml",
        "recipe-soft.npz",
        "recipe-soft.yaml",
        "student_alone.npz",
        "teacher.keras",
        "teacher.npz",
    ]
    outcome = unit.outcome("teacher")
    assert outcome.outputs["validation"].shape == (len(outcome.labels["validation"]), 2)
    assert outcome.outputs["test"].dtype == np.float32 and outcome.seconds > 0
    student = unit.outcome("recipe-soft")
    assert outcome.parameters > 10 * student.parameters
    assert student.parameters == unit.outcome("student_alone").parameters


def test_a_student_that_ignores_its_teacher_is_the_student_alone(trained):
    folder = trained[0]
    alone, hard, soft = map(folder.outcome, ("student_alone", "recipe-hard", "recipe-soft"))
    np.testing.assert_allclose(hard.outputs["test"], alone.outputs["test"], rtol=1e-4, atol=1e-5)
    assert np.abs(soft.outputs["test"] - alone.outputs["test"]).max() > 1e-4


def test_a_further_recipe_is_trained_from_the_teacher_that_is_there(
    trained, table, tmp_path, monkeypatch
):
    unit = unit_of(table, tmp_path, "hard")
    first, _ = trained
    unit.path.mkdir(parents=True)
    for file in first.path.iterdir():
        if "soft" not in file.name and "hard" not in file.name:
            (unit.path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(run_training, "train", None)  # neither teacher nor student alone
    unit = unit_of(table, tmp_path, "soft")
    assert unit.missing == ["recipe-soft"]
    train_unit(unit, lambda line: None)
    expected = first.outcome("recipe-soft")
    again = unit.outcome("recipe-soft")
    np.testing.assert_array_equal(again.outputs["test"], expected.outputs["test"])


def test_a_recipe_that_diverges_does_not_keep_the_others_from_training(
    trained, table, tmp_path, monkeypatch
):
    first, _ = trained
    unit = unit_of(table, tmp_path, "soft", "hard")
    unit.path.mkdir(parents=True)
    for file in first.path.iterdir():
        if "recipe" not in file.name:
            (unit.path / file.name).write_bytes(file.read_bytes())
    predict = study_module.predict
    monkeypatch.setattr(study_module, "train_model", lambda *args, **kwargs: None)
    calls = []

    def predict_nan_first(role, model, dataset):
        calls.append(model)
        logits = predict(role, model, dataset)
        return {k: v * np.nan if len(calls) == 1 else v for k, v in logits.items()}

    monkeypatch.setattr(study_module, "predict", predict_nan_first)
    with pytest.raises(ValueError, match="recipe-soft: the training diverged: .* on validation"):
        train_unit(unit, lambda line: None)
    assert unit.missing == ["recipe-soft"]


def test_the_teacher_is_read_once_for_all_recipes_and_not_for_the_student_alone(
    trained, table, tmp_path, monkeypatch
):
    first, _ = trained
    unit = unit_of(table, tmp_path, "soft", "hard")
    unit.path.mkdir(parents=True)
    for file in first.path.iterdir():
        if file.name.startswith(("teacher", "config", "data")):
            (unit.path / file.name).write_bytes(file.read_bytes())
    load_model, done = RunFolder.load_model, []

    def load(folder, name):
        done.append(f"load {name}")
        return load_model(folder, name)

    def ask(**arguments):
        done.append("ask")
        return cache_soft_targets(**arguments)

    cache_soft_targets = run_training.cache_soft_targets
    monkeypatch.setattr(RunFolder, "load_model", load)
    monkeypatch.setattr(run_training, "cache_soft_targets", ask)
    monkeypatch.setattr(study_module, "train_model", lambda name, *_, **__: done.append(name))
    train_unit(unit, lambda line: None)
    assert done == ["student_alone", "load teacher", "ask", "student", "student"]


def test_a_teacher_without_its_outcome_is_not_trained_again(trained, table, tmp_path, monkeypatch):
    first, _ = trained
    unit = unit_of(table, tmp_path, "soft")
    unit.path.mkdir(parents=True)
    for file in first.path.iterdir():
        if file.name != "teacher.npz" and "hard" not in file.name:
            (unit.path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(study_module, "train_model", None)
    train_unit(unit, lambda line: None)
    expected, again = first.outcome("teacher"), unit
    np.testing.assert_array_equal(
        again.outcome("teacher").outputs["test"], expected.outputs["test"]
    )


def test_other_settings_or_data_are_refused(trained, table, tmp_path):
    unit, _ = trained
    other = dataclasses.replace(unit, config=changed(unit.config, epochs=2))
    with pytest.raises(ValueError, match="training.epochs: was 1, now 2"):
        train_unit(other, lambda line: None)
    shutil.copytree(table.parent, tmp_path / "copy")
    config = changed(unit.config, data=str(tmp_path / "copy" / "items.csv"))
    train_unit(dataclasses.replace(unit, config=config), lambda line: None)  # the same data
    text = table.read_text()
    (tmp_path / "copy" / "items.csv").write_text(text.replace("a red thing 3", "a blue thing 3"))
    with pytest.raises(ValueError, match="have changed since"):
        train_unit(dataclasses.replace(unit, config=config), lambda line: None)
