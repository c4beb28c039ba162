"""Runs and studies with pretrained encoders, here a tiny one of the test's own."""

import keras
import numpy as np
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.distill.transfer import SINGLE_WORDS
from mmkd_tf.models.cross_fitted import heads_of
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.roles import num_parameters, untrained
from mmkd_tf.runs.training import transfer_rows
from mmkd_tf.study import make_units, train_unit
from mmkd_tf.study_config import make_study

EXTRA = ["hat", "bead", "lute", "тень", "xylophone"]  # two have letters that the table lacks
SMALL = {"epochs": 1, "image": None, "batch_size": 8, "student.inherit": "tiny"}
SMALL |= {"teacher.encoders": {"text": ["letters"]}, "teacher.folds": 2}


@pytest.fixture(autouse=True)
def letters(register_letters):
    """A backbone that reads letters, by its name in the settings."""
    register_letters(keras.initializers.RandomNormal(seed=0), EXTRA)


def test_teachers_read_features_and_students_more_words(table):
    config = make_config({"data.source": str(table), **SMALL})
    dataset = load_dataset(config)
    assert sorted(dataset.modalities) == ["teacher/fold", "teacher/text", "text"]
    assert dataset.splits["train"].inputs["teacher/text"].shape[1] == 16
    models = untrained(config.for_task(dataset.task), dataset)
    assert sorted(models["teacher"].input) == ["fold", "text"]
    assert len(heads_of(models["teacher"])) == 2
    words = dataset.modalities["text"].vocabulary
    assert {*EXTRA[:3]} < {*words} and not {*EXTRA[3:]} & {*words}
    assert list(models["student"].input) == ["text"]
    number = num_parameters("teacher", models["teacher"], config)
    assert number == models["teacher"].count_params() + 30 * 16
    one, other = (models[name].get_weights() for name in ("student_alone", "student"))
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("eager_training")
def test_a_study_trains_and_compares_them(table, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "mmkd_tf.study.transfer_rows", lambda *given: made.append(transfer_rows(*given)) or made[-1]
    )
    study = make_study({"data": str(table), "settings": SMALL, "seeds": 1})
    recipes = {"default": {}, "words": {"distillation.word_rows": 1}}
    study = study.model_copy(update={"recipes": recipes})
    (unit,) = make_units(study, tmp_path / "out")
    said = []
    train_unit(unit, said.append)
    names = ["teacher", "student_alone", "recipe-default", "recipe-words"]
    assert [line.split(": ")[1].split(",")[0] for line in said] == names
    (rows,) = made  # as a run makes them where a recipe says so
    assert set(rows.sources) == {SINGLE_WORDS}
    outcome = unit.outcome("teacher")
    assert outcome.without == {"validation": {}, "test": {}}  # no head's number is an input
    assert unit.missing == [] and unit.changed_settings() == []
