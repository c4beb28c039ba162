"""Faults of a study's folder: outcomes exchanged, damaged, gone; settings edited; two at once.

A case is a line: what is done to the folder of a study that has ended, what is made again, and a
piece of what is said where it is refused.
"""

import json
import shutil

import numpy as np
import pytest

from mmkd_tf import study
from mmkd_tf.config import make_config
from mmkd_tf.report.progress import Reporter
from mmkd_tf.runs.manifest import FolderLock
from mmkd_tf.study import _check_files, _held, run_study
from mmkd_tf.study_config import StudyConfig
from mmkd_tf.study_results import Outcome, Unit

SETTINGS = {"teacher.encoders": "scratch", "student.inherit": "none", "epochs": 3}
RECIPES = {"soft": {"temperature": 2}, "hard": {"temperature": 1}}


def unit_at(path, recipes=RECIPES, **settings):
    made = {name: make_config(SETTINGS | each) for name, each in recipes.items()}
    return Unit("tiny", 0, path, make_config(SETTINGS | settings), made, path)


def outcome(seed):
    values = np.random.default_rng(seed).normal(size=[4, 2]).astype(np.float32)
    both = {"validation": values, "test": values}
    labels = {split: np.zeros(4, np.int32) for split in both}
    return Outcome(both, labels, {split: {} for split in both}, 5, 1.0)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a unit that has ended, made without training."""
    unit = unit_at(tmp_path_factory.mktemp("study") / "tiny" / "seed-0")
    unit.begin()
    unit.folder.check_same_data("abc")
    for seed, name in enumerate(unit.models):
        unit.save_outcome(name, outcome(seed))
    with unit.folder.artefact("teacher.keras") as file:
        file.write_bytes(b"a model")
    return unit.path


@pytest.fixture
def folder(ended, tmp_path):
    return shutil.copytree(ended, tmp_path / "seed-0")


def write(name, content):
    return lambda path: (path / name).write_bytes(content)


def copy(name, to):
    return lambda path: shutil.copyfile(path / name, path / to)


def remove(*names):
    return lambda path: [(path / name).unlink() for name in names]


def edit(name, old, new):
    return lambda path: (path / name).write_text((path / name).read_text().replace(old, new))


def both(*faults):
    return lambda path: [fault(path) for fault in faults]


OLD = remove("manifest.json")  # as a study of before there were manifests
OTHER = "the file that this run has made"
CASES = {
    "nothing": (lambda path: None, [], None),
    "an outcome gone": (remove("recipe-soft.npz"), ["recipe-soft"], None),
    "all outcomes gone": (
        remove("teacher.npz", "student_alone.npz", "recipe-soft.npz", "recipe-hard.npz"),
        ["teacher", "student_alone", "recipe-soft", "recipe-hard"],
        None,
    ),
    "teacher's outcome exchanged": (copy("recipe-soft.npz", "teacher.npz"), ["teacher"], None),
    "teacher's outcome cut": (write("teacher.npz", b"PK"), ["teacher"], None),
    "teacher's outcome empty": (write("teacher.npz", b""), ["teacher"], None),
    "teacher's outcome and model": (
        both(write("teacher.npz", b""), write("teacher.keras", b"x")),
        None,
        f"teacher.npz`: {OTHER}.*teacher.keras`: {OTHER}",
    ),
    "teacher exchanged": (write("teacher.keras", b"another"), None, f"teacher.keras`: {OTHER}"),
    "teacher gone": (remove("teacher.keras"), [], None),
    "recipes change places": (
        both(copy("recipe-soft.npz", "x"), copy("recipe-hard.npz", "recipe-soft.npz")),
        None,
        f"recipe-soft.npz`: {OTHER}",
    ),
    "student's outcome damaged": (write("student_alone.npz", b"PK"), None, "student_alone.npz"),
    "settings edited": (
        edit("config.yaml", "epochs: 3", "epochs: 4"),
        None,
        f"config.yaml`: {OTHER}",
    ),
    "a recipe's settings edited": (edit("recipe-soft.yaml", "2.0", "3.0"), None, "recipe-soft.y"),
    "settings are no YAML": (write("config.yaml", b"a: ["), None, "config.yaml"),
    "settings gone": (remove("config.yaml"), [], None),
    "manifest damaged": (write("manifest.json", b"{"), None, "manifest.json`: the checksums"),
    "old": (OLD, [], None),
    "old, a file half-written by a kill": (both(OLD, write(".unfinished.0a.x.npz", b"")), [], None),
    "old, an outcome cut": (
        both(OLD, write("recipe-hard.npz", b"PK")),
        None,
        "recipe-hard.*Remove",
    ),
    "old, an outcome of other arrays": (
        both(OLD, lambda path: np.savez(path / "recipe-hard.npz", x=1)),
        None,
        "recipe-hard.npz`: what a trained model says",
    ),
    "old, settings are no YAML": (both(OLD, write("config.yaml", b"a: [")), None, "config.yaml"),
    "old, settings are a list": (both(OLD, write("config.yaml", b"[1]")), None, "config.yaml"),
}


def look(unit):
    if changed := unit.changed_settings():
        raise ValueError("\n".join(changed))
    _check_files([unit], Reporter())
    return unit.missing


@pytest.mark.parametrize("case", CASES)
def test_what_is_done_to_a_folder(folder, case):
    fault, missing, said = CASES[case]
    fault(folder)
    if said is None:
        assert look(unit_at(folder)) == missing
        unit_at(folder).begin()
        assert look(unit_at(folder)) == missing
        assert (folder / "config.yaml").is_file() and unit_at(folder).manifest is not None
        return
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match=f"(?s){said}"):
        look(unit_at(folder))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_settings_that_are_gone_are_still_those_of_the_models(folder):
    remove("config.yaml", "recipe-soft.yaml")(folder)
    with pytest.raises(ValueError, match="epochs: was 3, now 4"):
        look(unit_at(folder, epochs=4))
    with pytest.raises(ValueError, match="temperature: was 2.0, now 5.0"):
        look(unit_at(folder, {"soft": {"temperature": 5}}))


def test_further_recipes_leave_states_of_others_their_own(folder):
    before = unit_at(folder)
    more = unit_at(folder, RECIPES | {"softer": {"temperature": 9}})
    more.begin()
    for model in before.models:
        assert more.backup(model) == before.backup(model)
    keys = {more.backup(model).key for model in more.models}
    assert len(keys) == len(more.models)
    assert look(more) == ["recipe-softer"]


def test_a_second_study_in_a_folder_is_refused(tmp_path):
    asked = StudyConfig(seeds=1, datasets={"gone": {"data": str(tmp_path / "gone.csv")}})
    out = tmp_path / "out"
    with _held(out):
        with pytest.raises(ValueError, match="no other run is at work"):
            run_study(asked, out, jobs=1)
    assert not out.exists()  # nothing came of it
    with pytest.raises(ValueError, match="gone.csv"):
        run_study(asked, out, jobs=1)
    assert not out.exists()
    (tmp_path / "manifest.json").touch()
    with pytest.raises(ValueError, match="`--output`: a new folder, .* which holds a run"):
        run_study(asked, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`--output`: a folder. Received: the file"):
        run_study(asked, tmp_path / "file")


def test_work_that_goes_on_after_its_study_was_killed_keeps_others_out(folder, monkeypatch):
    monkeypatch.setattr(study, "_train_unit", lambda unit, say: say("trained"))
    told = []
    lock = FolderLock(folder)
    with pytest.raises(ValueError, match="no other run is at work"):
        study.train_unit(unit_at(folder), told.append)
    lock.release()
    study.train_unit(unit_at(folder), told.append)
    assert told == ["trained"]


def test_a_kill_between_manifest_and_file_is_work_to_do(folder):
    unit = unit_at(folder)
    remove("recipe-soft.npz")(folder)
    unit.manifest.note("recipe-soft.npz", folder / "teacher.npz")
    assert look(unit) == ["recipe-soft"]
    unit.save_outcome("recipe-soft", outcome(7))
    assert look(unit) == []
    noted = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(noted) == {
        *(f"{name}.npz" for name in unit.models),
        *("teacher.keras", "config.yaml", "recipe-soft.yaml", "recipe-hard.yaml"),
    }
