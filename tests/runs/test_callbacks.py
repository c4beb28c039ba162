"""Keras callbacks by name, and what TensorBoard is shown."""

import sys
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmkd_tf.config import make_config
from mmkd_tf.data.dataset import Examples
from mmkd_tf.runs.callbacks import check_callbacks, named_callbacks

LOGGER = {
    "name": "keras.callbacks.CSVLogger",
    "arguments": {"filename": "{folder}/{model}.csv", "append": True},
}


def config(**values):
    return make_config({"data": "items.csv", **values})


@pytest.fixture
def dataset():
    inputs = {"photo": np.full([3, 4, 4, 3], 9, np.uint8), "title": np.ones([3, 2], np.int32)}
    texts = {"title": ["red cup", "<b>", ""]}
    validation = Examples(inputs, np.zeros(3, np.int32), texts)
    return SimpleNamespace(splits={"validation": validation})


def fit(callbacks) -> None:
    inputs = keras.Input([2])
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(np.ones([4, 2]), np.ones(4), epochs=2, verbose=0, callbacks=callbacks)


def test_callbacks_by_name_know_the_model_and_the_folder(tmp_path, dataset):
    settings = config(callbacks=[LOGGER])
    check_callbacks(settings)
    fit(named_callbacks(settings, "student", dataset, tmp_path))
    lines = (tmp_path / "student.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,loss") and len(lines) == 3


def test_a_run_notes_them_and_reads_them_again():
    settings = config(callbacks=[LOGGER], tensorboard=True)
    assert make_config(yaml.safe_load(settings.to_yaml())) == settings


def test_tensorboard_has_figures_by_epoch_and_examples(tmp_path, dataset):
    settings = config(tensorboard=True)
    check_callbacks(settings)
    fit(named_callbacks(settings, "student", dataset, tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard" / "student"))
    events.Reload()
    tags = events.Tags()["tensors"]
    assert {"loss", "examples/photo", "examples/title"} == set(tags)
    assert [event.step for event in events.Tensors("loss")] == [1, 2]
    assert events.Tensors("examples/title")[0].tensor_proto.string_val[0] == b"red cup"


def test_a_session_of_a_logging_service_spans_one_training(tmp_path, dataset, monkeypatch):
    said = []
    service = ModuleType("wandb")
    service.init = lambda **given: said.append(given)
    service.finish = lambda: said.append("finished")
    service.Logger = keras.callbacks.Callback
    monkeypatch.setitem(sys.modules, "wandb", service)
    fit(named_callbacks(config(callbacks=[{"name": "wandb.Logger"}]), "teacher", dataset, tmp_path))
    assert said == [{"project": "mmkd_tf", "name": "teacher"}, "finished"]


def test_all_that_can_not_be_found_is_said_before_the_training(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    names = ["keras.callbacks.CsvLogger", "no_such_package.Logger", "Logger"]
    settings = config(tensorboard=True, callbacks=[{"name": name} for name in names])
    with pytest.raises(ValueError) as caught:
        check_callbacks(settings)
    said = str(caught.value)
    assert "pip install 'mmkd-tf[tensorboard]'" in said and said.count("`callbacks`:") == 3
    assert "pip install no_such_package" in said


def test_a_callback_without_a_name_is_refused():
    with pytest.raises(ValueError, match="callbacks"):
        config(callbacks=[{"arguments": {}}])
