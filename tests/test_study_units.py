import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.study_config import StudyConfig
from mmkd_tf.study_results import Outcome, Unit


def unit_at(path, config=None, recipes=None, teacher_path=None) -> Unit:
    """A unit with a folder."""
    path.mkdir(parents=True, exist_ok=True)
    return Unit(
        dataset="emoji",
        seed=0,
        path=path,
        config=config or RunConfig(),
        recipes=recipes or {},
        teacher_path=teacher_path or path,
    )


OUTCOME = Outcome(
    outputs={
        "validation": np.array([[1, 2]], np.float32),
        "test": np.array([[0.5, -1]], np.float32),
    },
    labels={"validation": np.array([1], np.int32), "test": np.array([0], np.int32)},
    without={
        "validation": {"text": np.array([[3, 4]], np.float32)},
        "test": {"text": np.array([[5, 6]], np.float32)},
    },
    parameters=7,
    seconds=1.5,
)


def test_an_outcome_comes_back_as_it_was(tmp_path):
    folder = unit_at(tmp_path)
    assert folder.outcome("teacher") is None
    folder.save_outcome("teacher", OUTCOME)
    back = folder.outcome("teacher")
    for split in ("validation", "test"):
        np.testing.assert_array_equal(back.outputs[split], OUTCOME.outputs[split])
        np.testing.assert_array_equal(back.labels[split], OUTCOME.labels[split])
        assert list(back.without[split]) == ["text"]
        np.testing.assert_array_equal(back.without[split]["text"], OUTCOME.without[split]["text"])
    assert back.outputs["test"].dtype == np.float32
    assert (type(back.parameters), type(back.seconds)) == (int, float)
    assert (back.parameters, back.seconds) == (7, 1.5)


def test_an_outcome_predicts_each_split_complete_or_not():
    for split in ("validation", "test"):
        predictions = OUTCOME.predictions(split, "single_label")
        assert predictions.task.name == "single_label"
        assert predictions.labels is OUTCOME.labels[split]
        assert predictions.outputs is OUTCOME.outputs[split]
        absent = OUTCOME.predictions(split, "single_label", without="text")
        assert absent.outputs is OUTCOME.without[split]["text"]


def test_a_teacher_is_taken_from_another_unit_if_it_is_there(tmp_path):
    other = unit_at(tmp_path / "other")
    unit = unit_at(tmp_path / "own", teacher_path=other.path)
    assert not unit_at(tmp_path / "own").take_teacher()
    other.save_outcome("teacher", OUTCOME)
    assert not unit.take_teacher()  # the model itself is not there yet
    (other.path / "teacher.keras").write_bytes(b"model")
    assert unit.take_teacher()
    assert (unit.path / "teacher.keras").read_bytes() == b"model"
    assert unit.outcome("teacher").parameters == 7


def test_an_outcome_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = unit_at(tmp_path)

    def half(file, **arrays):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OSError, match="No space"):
        folder.save_outcome("teacher", OUTCOME)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_outcome_is_named(tmp_path):
    folder = unit_at(tmp_path)
    folder.save_outcome("teacher", OUTCOME)
    whole = (tmp_path / "teacher.npz").read_bytes()
    for part in (b"", whole[:200], whole[:400] + b"x" + whole[401:]):
        (tmp_path / "teacher.npz").write_bytes(part)
        with pytest.raises(ValueError, match="teacher.npz`: .*damaged.*Remove it"):
            folder.outcome("teacher")


def config_of(**settings) -> RunConfig:
    return make_config(settings)


def test_says_which_settings_differ(tmp_path):
    path = tmp_path / "emoji" / "seed-0"
    recipes = {"soft": config_of(temperature=5)}
    unit = unit_at(path, recipes=recipes)
    assert unit.changed_settings() == []
    unit.begin()
    # A setting of the distilled student does not concern the others, nor a further recipe.
    more = {**recipes, "hard": config_of(temperature=1)}
    assert unit_at(path, config_of(temperature=9), more).changed_settings() == []
    other = unit_at(path, config_of(epochs=3), {"soft": config_of(temperature=6)})
    assert [line.split(": ", 1)[1] for line in other.changed_settings()] == [
        "training.epochs: was 32, now 3",
        "distillation.temperature: was 5.0, now 6.0",
    ]
    with pytest.raises(ValueError, match="training.epochs: was 32, now 3"):
        other.begin()


def test_a_setting_younger_than_the_folder_had_its_default(tmp_path):
    unit = unit_at(tmp_path)
    unit.begin()
    file = tmp_path / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    del settings["training"]["weight_decay"]
    file.write_text(yaml.safe_dump(settings))
    assert unit.changed_settings() == []
    assert len(unit_at(tmp_path, config_of(weight_decay=0.5)).changed_settings()) == 1


def test_a_folder_of_before_there_were_pretrained_encoders_has_none(tmp_path):
    scratch = {"teacher.encoders": "scratch", "student.inherit": "none"}
    hints = {"soft": config_of(**scratch, relation_weight=0.5)}
    unit = unit_at(tmp_path, config_of(**scratch), hints)
    unit.begin()
    assert unit.changed_settings() == []  # a recipe's file does not say what the teacher is
    file = tmp_path / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    for name in scratch:
        group, _, setting = name.partition(".")
        del settings[group][setting]
    file.write_text(yaml.safe_dump(settings))
    assert unit.changed_settings() == []
    assert [line.split(": ", 1)[1] for line in unit_at(tmp_path).changed_settings()] == [
        "teacher.encoders: was 'scratch', now 'pretrained'",
        "student.inherit: was 'none', now 'small'",
    ]


def test_a_folder_of_before_settings_came_in_groups_goes_on(tmp_path):
    """What is in `config.yaml` and `recipe-<name>.yaml` of such a study of the emoji data."""
    text = (Path(__file__).parent / "golden" / "settings" / "config-default.yaml").read_text()
    old = yaml.safe_load(text) | {"temperature": 4.0, "soft_target_weight": 0.2}
    names = ("soft_target_loss", "temperature", "hard_label_weight", "soft_target_weight")
    names += ("modality_hint_weight", "relation_weight", "on_wrong_teacher")
    recipe = {name: old.pop(name) for name in names}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    (tmp_path / "recipe-soft.yaml").write_text(yaml.safe_dump(recipe))
    asked = {"temperature": 4, "soft_target_weight": 0.2}
    scratch = {"teacher.encoders": "scratch", "student.inherit": "none"}
    study = StudyConfig(seeds=1, settings=scratch, recipes={"soft": asked})
    now, recipe = study.run_config("emoji", 0), study.run_config("emoji", 0, "soft")
    assert unit_at(tmp_path, now, {"soft": recipe}).changed_settings() == []
    recipes = {"soft": {**asked, "hard_label_weight": 1}}
    study = StudyConfig(seeds=1, settings=scratch, recipes=recipes)
    recipe = study.run_config("emoji", 0, "soft")
    assert unit_at(tmp_path, now, {"soft": recipe}).changed_settings() == []
    unit_at(tmp_path, now, {"soft": recipe}).begin()
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == old


def test_where_a_table_lies_does_not_matter(tmp_path):
    unit_at(tmp_path, config_of(data="/here/items.csv", test="/here/test.csv")).begin()
    assert "/here" not in (tmp_path / "config.yaml").read_text()
    there = config_of(data="/there/items.csv", test="/there/test.csv")
    assert unit_at(tmp_path, there).changed_settings() == []
    other = config_of(data="/there/other.csv", test=0.2)
    assert len(unit_at(tmp_path, other).changed_settings()) == 2


def test_its_teachers_are_one_and_the_experts_of_what_its_students_read(tmp_path):
    config = config_of(experts=True, student_modalities=["text"])
    unit = unit_at(tmp_path, config, {"soft": config})
    assert unit.models == ["teacher", "text_expert", "student_alone", "recipe-soft"]
    assert dataclasses.replace(unit, recipes={}).models == ["student_alone"]
