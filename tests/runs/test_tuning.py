"""A search of two trials on a small table, and what it says where it can't be made."""

import builtins
import json

import pytest
import yaml
from typer.testing import CliRunner

from mmkd_tf.cli import app

SMALL = {
    "training.epochs": 1,
    "image_size": 16,
    "training.batch_size": 8,
    "teacher.encoders": "scratch",
    "student.inherit": "none",
}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tune(table, output, *more):
    pairs = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    return invoke("tune", table, "--output", output, *pairs, *more)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
def test_a_search_goes_on_where_it_was_and_keeps_the_best(table, tmp_path):
    output = tmp_path / "tuning"
    assert tune(table, output, "--trials", 2, "--quiet").exit_code == 0
    done = tune(table, output, "--trials", 3, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["num_trials"] == 3 and found["best"] >= found["first"]
    # The teacher and the first two trials are read.
    assert "Training the teacher" not in done.stderr and "Trial 3 of 3" in done.stderr
    assert "Trial 2 of 3" not in done.stderr
    best = yaml.safe_load((output / "best.yaml").read_text())
    assert set(found["settings"]) == {
        f"{group}.{name}" for group, own in best.items() for name in own
    }
    changed = tune(table, output, "--trials", 4, "--set", "seed=1")
    assert changed.exit_code == 2 and "seed: was 0, now 1" in changed.output


def test_without_optuna_the_line_that_installs_it_is_said(table, tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name == "optuna":
            raise ImportError
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    done = tune(table, tmp_path / "tuning")
    assert done.exit_code == 2 and "pip install 'mmkd-tf[tune]'" in done.output
    assert not (tmp_path / "tuning").exists()
