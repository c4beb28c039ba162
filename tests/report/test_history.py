"""The epochs of trainings are kept, also where one is interrupted."""

import keras
import numpy as np
import pytest

from mmkd_tf.report.history import History


def test_epochs_of_several_models_are_a_table(tmp_path):
    history = History(tmp_path)
    assert history.read() == {}
    history.add("teacher", 1, {"loss": 1.5, "val_loss": 2.0})
    history.add("student", 1, {"loss": 0.5, "soft_target_loss": 0.25})
    history.add("teacher", 2, {"loss": 1.0, "val_loss": float("nan")})
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "model,epoch,loss,val_loss,soft_target_loss",
        "teacher,1,1.5,2.0,",
        "student,1,0.5,,0.25",
        "teacher,2,1.0,nan,",
    ]
    assert History(tmp_path).read() == {
        "teacher": {"epoch": [1, 2], "loss": [1.5, 1.0], "val_loss": [2.0, None]},
        "student": {"epoch": [1], "loss": [0.5], "soft_target_loss": [0.25]},
    }


def test_a_repeated_epoch_takes_the_place_of_the_first_try(tmp_path):
    for loss in (3.0, 2.0):
        History(tmp_path).add("student", 1, {"loss": loss})
    assert History(tmp_path).read() == {"student": {"epoch": [1], "loss": [2.0]}}
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


def test_the_callback_keeps_what_keras_says(tmp_path):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones([8, 2]), np.zeros([8, 1])
    for first in (0, 2):  # as where a training is resumed
        callback = History(tmp_path).callback("teacher")
        arguments = {"initial_epoch": first, "epochs": first + 2, "verbose": 0}
        found = model.fit(x, y, validation_data=(x, y), callbacks=[callback], **arguments)
    kept = History(tmp_path).read()["teacher"]
    assert kept["epoch"] == [1, 2, 3, 4]
    assert kept["val_loss"][2:] == pytest.approx(found.history["val_loss"])
