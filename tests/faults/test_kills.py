"""A run that is killed in any stage goes on to the same weights and results.

At the boundary of each stage the folder of one run is copied, as a kill would leave it there. Each
copy goes on until the next boundary, and must then hold what the run itself held there.
"""

import collections
import json
import re
import shutil
import zipfile
from io import BytesIO

import h5py
import numpy as np
import pytest

from mmkd_tf import run as run_module
from mmkd_tf.config import make_config
from mmkd_tf.distill.epochs import Checkpoint
from mmkd_tf.report.progress import Reporter, progress_console
from mmkd_tf.run import run
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.manifest import Manifest

# In the order of a run: where it ends, and how often it has been there before. `begin` is
# before the call and `end` behind it.
STAGES = {
    "data read": (run_module, "_write_lists", "begin", 0),
    "teacher, one epoch": (Checkpoint, "on_epoch_end", "end", 0),
    "teacher noted, not there": (Manifest, "note", "end", 0),
    "teacher written": (RunFolder, "save_model", "end", 0),
    "student alone, one epoch": (Checkpoint, "on_epoch_end", "end", 2),
    "student alone noted, not there": (Manifest, "note", "end", 1),
    "teacher asked": (run_module, "keep_soft_targets", "end", 0),
    "further rows noted": (Manifest, "note", "end", 2),
    "student, one epoch": (Checkpoint, "on_epoch_end", "end", 4),
    "student noted, not there": (Manifest, "note", "end", 3),
    "student written": (RunFolder, "save_model", "end", 2),
    "measured": (run_module, "keep_test_outputs", "end", 0),
    "exported": (run_module, "export_all", "end", 0),
    "results not written": (run_module, "write_results", "begin", 0),
}
NAMES = list(STAGES)
SETTINGS = {
    "image": None,
    "data.unlabelled_rows": True,
    "training.epochs": 2,
    "training.batch_size": 8,
    "teacher.encoders": "scratch",
    "student.inherit": "none",
    "robustness": False,
}
OF_A_KILL = re.compile(
    r"\.lock|\.unfinished|seconds\.json|manifest\.json|report\.html|results\.json"
)


class Killed(BaseException):
    """What ends a run where a kill would."""


def watch(patch, arrive):
    """Has `arrive` called with the stage at each boundary."""
    calls = collections.Counter()

    def watched(owner, name):
        call = getattr(owner, name)

        def watching(*given, **options):
            count = calls[owner, name]
            calls[owner, name] += 1
            arrive((owner, name, "begin", count))
            found = call(*given, **options)
            arrive((owner, name, "end", count))
            return found

        return watching

    for owner, name in {(owner, name) for owner, name, _, _ in STAGES.values()}:
        patch.setattr(owner, name, watched(owner, name))


def exports(model, dataset, settings, path, **options):
    """In place of exports, which take long and are tested elsewhere: a file of the weights."""
    np.savez(path / "student.npz", *model.get_weights())
    return []


def arrays_of(content, name):
    if name.endswith(".npz"):
        with np.load(BytesIO(content)) as archive:
            return {key: archive[key] for key in archive if key != "key"}
    with zipfile.ZipFile(BytesIO(content)) as archive:
        weights = h5py.File(BytesIO(archive.read("model.weights.h5")))
        found = {}
        weights.visititems(
            lambda key, value: found.update({key: value[()]}) if hasattr(value, "shape") else None
        )
        return found


def contents(path):
    """All that a folder holds: arrays of models and states, else bytes."""
    files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    return {
        name: arrays_of(content, name) if name.endswith((".npz", ".keras")) else content
        for name, content in files.items()
        if not OF_A_KILL.search(name)
    }


def go_on(path):
    folder = RunFolder(path)
    try:
        return run(folder.resume({}), folder, Reporter(progress_console(quiet=True)))
    finally:
        folder.release()


def lasting(results):
    """The figures that do not tell of time and memory."""
    return {k: v for k, v in results.items() if k not in ("seconds", "peak_memory_mib")}


@pytest.fixture(scope="module")
def killed(tmp_path_factory, eager_training):
    """By stage, the folder that a kill leaves; and the results of the run itself."""
    base = tmp_path_factory.mktemp("kills")
    lines = [f"a {kind} thing {n},{kind}" for n in range(12) for kind in ("cup", "lamp")]
    lines += [f"{kind} without a label {n}," for n in range(4) for kind in ("cup", "lamp")]
    (base / "items.csv").write_text("\n".join(["text,label", *lines, ""]))
    places = {place: stage for stage, place in STAGES.items()}

    def copy(place):
        if place in places:
            shutil.copytree(base / "out", base / str(NAMES.index(places[place])))

    folder = RunFolder(base / "out")
    folder.begin(make_config({**SETTINGS, "data.source": str(base / "items.csv")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "export_all", exports)
        watch(patch, copy)
        results = run(folder.read_config(), folder, Reporter(progress_console(quiet=True)))
    assert [(base / str(index)).is_dir() for index in range(len(NAMES))] == [True] * len(NAMES)
    return base, results


def same(found, expected):
    assert set(found) == set(expected)
    for name, content in expected.items():
        if isinstance(content, dict):
            np.testing.assert_equal(found[name], content, err_msg=name)
        else:
            assert found[name] == content, name


@pytest.mark.parametrize("stage", NAMES)
def test_a_run_that_is_killed_goes_on(killed, tmp_path, monkeypatch, stage):
    base, results = killed
    index = NAMES.index(stage)
    path = shutil.copytree(base / str(index), tmp_path / "out")
    monkeypatch.setattr(run_module, "export_all", exports)
    if stage == NAMES[-1]:
        found = lasting(go_on(path))
        assert json.dumps(found, sort_keys=True) == json.dumps(lasting(results), sort_keys=True)
        return same(contents(path), contents(base / "out"))
    owner, name, side, _ = STAGES[NAMES[index + 1]]

    def end(place):
        if place[:3] == (owner, name, side) and _is_there(path, base / str(index + 1)):
            raise Killed

    watch(monkeypatch, end)
    with pytest.raises(Killed):
        go_on(path)
    same(contents(path), contents(base / str(index + 1)))


def _is_there(path, next_one):
    """Whether a folder that goes on has come as far: the same files are there."""
    return set(contents(path)) == set(contents(next_one))
