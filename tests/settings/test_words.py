"""Settings for people: meaning, default and range, in a list and in the file of a run."""

import json

import yaml
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.settings.groups import FAST
from mmkd_tf.settings.names import GROUPS, OTHERS, setting_names
from mmkd_tf.settings.words import settings_of


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_every_setting_is_listed_with_its_meaning():
    found = {one["name"]: one for one in json.loads(invoke("settings", "--json").stdout)}
    assert set(setting_names()) <= set(found) and "inputs.NAME.size" in found
    assert all(one["meaning"] and one["allowed"] for one in found.values())
    epochs = found["training.epochs"]
    assert (epochs["default"], epochs["allowed"]) == ("32", "a whole number, at least 1")
    assert set(RunConfig.model_fields) == {*GROUPS, "inputs", *OTHERS}


def test_some_are_chosen_by_a_part_of_their_name():
    assert "training.epochs" in invoke("settings", "epoch").stdout
    for word in ("inputs", "inputs.image", "inputs.front.size", "size"):
        assert "inputs.NAME.size" in invoke("settings", word).stdout, word
    assert "inputs.NAME.column" not in invoke("settings", "inputs.front.size").stdout
    done = invoke("settings", "epochen")
    assert done.exit_code == 2 and "Did you mean training.epochs?" in done.output


def test_the_file_of_a_run_explains_itself_and_means_the_same():
    config = make_config({"epochs": 3, "image": "photo"})
    text = config.to_yaml()
    assert "  # Passes over the training rows" in text and "\n  epochs: 3\n" in text
    assert make_config(yaml.safe_load(text)) == config
    assert max(map(len, text.splitlines())) <= 96


def test_a_first_look_is_recorded_and_gives_way():
    config = make_config({"fast": True, "epochs": 9})
    assert config.fast and config.training.epochs == 9
    assert config.robustness is False and config.export.quantize == "dynamic"
    assert set(FAST) <= {one.name for one in settings_of(RunConfig)}
    # What a run has written is not changed when it is read again.
    written = yaml.safe_load(make_config({"fast": True, "robustness": True}).to_yaml())
    assert make_config(written).robustness is True


def test_the_version_and_a_short_flag_for_help():
    assert invoke("--version").stdout.startswith("mmkd-tf ")
    assert "Train a teacher" in invoke("run", "-h").stdout
