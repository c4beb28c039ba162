"""Faults of a run's folder: files edited, exchanged, renamed, damaged, gone; two runs at once.

A case is a line: what is done to the folder of an interrupted run, and a piece of what is said, or
None where the run goes on all the same.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.distill.epochs import Backup, BestEpoch, Checkpoint, DivergedError, StopDiverging
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.manifest import FolderLock

SETTINGS = {"epochs": 3, "teacher.encoders": "scratch", "student.inherit": "none"}
RESULTS = {"chosen": "scratch", "num_examples": 4, "candidates": {}}
ROLES = ("teacher", "student_alone")


def model(seed=0, *, units=2, names=("text",)):
    keras.utils.set_random_seed(seed)
    inputs = {name: keras.Input([3], name=name) for name in names}
    values = list(inputs.values())
    x = keras.layers.Concatenate()(values) if len(values) > 1 else values[0]
    return keras.Model(inputs, keras.layers.Dense(units)(x))


def compiled(seed=0, **options):
    made = model(seed, **options)
    made.compile("adam", "mse")
    return made


def save_state(backup, epoch, made=None):
    checkpoint = Checkpoint(backup)
    checkpoint.set_model(made or compiled())
    checkpoint.model.optimizer.build(checkpoint.model.trainable_variables)
    checkpoint.on_epoch_end(epoch - 1)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run that was killed while its student was trained, made without training."""
    path = tmp_path_factory.mktemp("runs") / "out"
    folder = RunFolder(path)
    folder.begin(make_config(SETTINGS))
    folder.check_same_data("abc")
    folder.add_seconds("data", 1.0)
    for seed, name in enumerate(ROLES):
        save_state(folder.backup(name), 3, compiled(seed))
        folder.save_model(name, model(seed))
    folder.write_comparison(RESULTS)
    save_state(folder.backup("student"), 2, compiled(5))
    with folder.artefact(".state/transfer.json") as file:
        file.write_text('{"rows": {}, "sure": null}')
    folder.write_text("history.csv", "model,epoch,loss\nteacher,1,0.5\n")
    folder.release()
    return path


@pytest.fixture
def run(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "out")


def edit(name, old, new):
    def done(path):
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new))

    return done


def write(name, content):
    return lambda path: (path / name).write_bytes(content)


def remove(*names):
    def done(path):
        for name in names:
            there = path / name
            shutil.rmtree(there) if there.is_dir() else there.unlink()

    return done


def move(name, to):
    return lambda path: os.replace(path / name, path / to)


def copy(name, to):
    return lambda path: shutil.copyfile(path / name, path / to)


def cut(name, share=0.5):
    def done(path):
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: int(share * len(content))])

    return done


def flip(name, at=0.5):
    def done(path):
        content = bytearray((path / name).read_bytes())
        content[int(at * len(content))] ^= 0xFF
        (path / name).write_bytes(content)

    return done


def save(name, **options):
    return lambda path: model(9, **options).save(path / name)


def with_nan(name):
    def done(path):
        made = model()
        made.set_weights([np.full(w.shape, np.nan) for w in made.get_weights()])
        made.save(path / name)

    return done


def old(*then):
    """As a run of before there were manifests, with something done to it."""

    def done(path):
        (path / "manifest.json").unlink()
        for each in then:
            each(path)

    return done


def state(name, epoch, key, **options):
    """Puts a checkpoint of another training there."""
    return lambda path: save_state(Backup(path / name, key), epoch, compiled(7, **options))


STATE = ".state/student/epoch-000002.npz"
CASES = {
    "nothing": (lambda path: None, None),
    "a comment in the settings": (lambda p: edit("config.yaml", "seed", "# mine\nseed")(p), None),
    "other epochs": (
        edit("config.yaml", "epochs: 3", "epochs: 4"),
        "training.epochs: was 3, now 4",
    ),
    "another seed": (edit("config.yaml", "seed: 0", "seed: 1"), "seed: was 0, now 1"),
    "another export": (
        edit("config.yaml", "saved_model: true", "saved_model: false"),
        "saved_model",
    ),
    "a table that was moved": (edit("config.yaml", "source: emoji", "source: /x/emoji.csv"), None),
    "settings that are gone": (remove("config.yaml"), None),
    "settings that are no YAML": (write("config.yaml", b"a: [\n"), "config.yaml"),
    "settings of bytes": (write("config.yaml", b"\xff\xfe\x00"), "config.yaml"),
    "settings that are empty": (write("config.yaml", b""), "settings that the run began with"),
    "teacher exchanged": (save("teacher.keras"), "teacher.keras`: the file that this run has made"),
    "teacher of NaN": (with_nan("teacher.keras"), "teacher.keras"),
    "teacher and student change places": (
        copy("student_alone.keras", "teacher.keras"),
        "teacher.ker",
    ),
    "teacher cut": (cut("teacher.keras"), "teacher.keras`.*exchanged or damaged"),
    "teacher flipped": (flip("teacher.keras"), "teacher.keras`.*exchanged or damaged"),
    "teacher empty": (write("teacher.keras", b""), "teacher.keras`.*exchanged or damaged"),
    "teacher is text": (write("teacher.keras", b"hello"), "exchanged or damaged"),
    "a student from elsewhere": (save("student.keras"), "student.keras`.*none of this name"),
    "an expert from elsewhere": (
        save("expert_text.keras"),
        "expert_text.keras`.*none of this name",
    ),
    "a model half-written by a kill": (write(".unfinished.0a.student.keras", b"PK"), None),
    "teacher gone, state there": (remove("teacher.keras"), None),
    "teacher and its state gone": (
        remove("teacher.keras", ".state/teacher"),
        "teacher.keras`: what .*student.*epoch-000002.npz has learned from. Received: none",
    ),
    "all of it gone": (remove("teacher.keras", ".state"), None),
    "student alone gone": (remove("student_alone.keras", ".state/student_alone"), None),
    "the choice is edited": (
        edit(".state/teacher_comparison.json", "scratch", "x"),
        "comparison.js",
    ),
    "the choice is no JSON": (
        write(".state/teacher_comparison.json", b"{"),
        "teacher_comparison.js",
    ),
    "the choice is gone": (remove(".state/teacher_comparison.json"), None),
    "rows edited": (edit(".state/transfer.json", "null", "5"), "transfer.json"),
    "rows gone": (remove(".state/transfer.json"), "transfer.json`: what .* has learned from"),
    "times are no JSON": (write(".state/seconds.json", b"\x00{"), None),
    "times are a list": (write(".state/seconds.json", b"[1]"), None),
    "times are words": (write(".state/seconds.json", b'{"data": "long"}'), None),
    "times are nested": (write(".state/seconds.json", b"[" * 100_000), None),
    "times are gone": (remove(".state/seconds.json"), None),
    "history of numbers": (
        write("history.csv", b"1,2\n3,4\n"),
        "history.csv`: the figures of each",
    ),
    "history of words": (write("history.csv", b"model,epoch\nteacher,two\n"), "history.csv"),
    "history of bytes": (write("history.csv", b"\xff\x00\xfe"), "history.csv"),
    "history gone": (remove("history.csv"), None),
    "folders in the place of what comes later": (
        lambda path: [(path / name).mkdir() for name in ("report.html", "student.tflite")],
        "report.html`: a file that the run writes. Received: a folder.*student.tflite`: a file",
    ),
    "a folder of another's": (lambda path: (path / "notes.d").mkdir(), None),
    "manifest gone": (old(), None),
    "manifest cut": (cut("manifest.json"), "manifest.json`: the checksums .* damaged"),
    "manifest is a list": (write("manifest.json", b"[]"), "manifest.json"),
    "manifest of other keys": (write("manifest.json", b'{"files": 1}'), "manifest.json"),
    "manifest of numbers": (
        write("manifest.json", b'{"settings": {}, "data": null, "files": {"teacher.keras": 5}}'),
        "manifest.json`: the checksums .* damaged file \\(other values",
    ),
    "manifest of bytes": (write("manifest.json", b"\xff\xfe"), "manifest.json"),
    "old, teacher cut": (
        old(cut("teacher.keras")),
        "teacher.keras`: a model.* no whole Keras file",
    ),
    "old, teacher flipped": (old(flip("teacher.keras", 0.3)), "teacher.keras`: a model"),
    "old, teacher empty": (old(write("teacher.keras", b"")), "no whole Keras file"),
    "old, teacher of NaN": (old(with_nan("teacher.keras")), "teacher.keras`.*NaN or infinity"),
    "old, of other classes": (old(save("teacher.keras", units=3)), "inputs and outputs.*Received"),
    "old, of other inputs": (old(save("teacher.keras", names=("a", "b"))), "inputs and outputs"),
    "old, the choice is no JSON": (old(write(".state/teacher_comparison.json", b"{")), None),
    "old, the choice is a number": (old(write(".state/teacher_comparison.json", b"5")), None),
    "state renamed": (
        move(STATE, ".state/student/epoch-000003.npz"),
        "epoch 000003.*after epoch 2",
    ),
    "state of a word": (move(STATE, ".state/student/epoch-two.npz"), "after epoch 2.*renamed"),
    "state of another role": (
        copy(".state/student_alone/epoch-000003.npz", ".state/student/epoch-000003.npz"),
        "student of .*Received: .*student_alone of",
    ),
    "state of another run": (state(".state/student", 2, "student of 0123"), "student of 0123"),
    "state of another model": (state(".state/student", 2, "", units=3), "it is of another model"),
    "state cut": (cut(STATE), "epoch-000002.npz`.*damaged"),
    "state flipped": (flip(STATE, 0.4), "epoch-000002.npz`"),
    "state is empty": (write(STATE, b""), "damaged"),
    "state is text": (write(STATE, b"hello"), "damaged"),
    "state gone": (remove(".state/student"), None),
    "old, another state": (old(state(".state/student", 2, "", units=3)), "it is of another model"),
    "data of others": (write("data.sha256", b"abd\n"), None),
    "data gone": (remove("data.sha256"), None),
    "old, data of others": (
        old(write("data.sha256", b"abd\n")),
        "the data that the run began with",
    ),
}


def go_on(path):
    """What a run reads when it goes on: settings, data, models, choice, and the student's state."""
    folder = RunFolder(path)
    try:
        config = folder.resume({})
        folder.check_same_data("abc")
        folder.read_comparison()
        for name in ROLES:
            folder.load_model(name, like=model())
        student = compiled()
        best = BestEpoch(folder.backup("student"), patience=1)
        best.read(student)
        epoch = Checkpoint(folder.backup("student")).restore(student)
        folder.add_seconds("data", 2.0)
        return config, epoch
    finally:
        folder.release()


@pytest.mark.filterwarnings("ignore:.*is damaged")
@pytest.mark.parametrize("case", CASES)
def test_what_is_done_to_a_folder(run, case):
    fault, expected = CASES[case]
    fault(run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    if expected is None:
        config, epoch = go_on(run)
        assert config.training.epochs == 3 and epoch in (0, 2)
        return
    with pytest.raises(ValueError, match=f"(?s){expected}"):
        go_on(run)
    # Nothing is lost by it, and what the message says to do is possible.
    kept = {file for file in before if file.name not in (".lock", "manifest.json", "seconds.json")}
    assert all(file.read_bytes() == before[file] for file in kept)


def test_a_folder_goes_on_after_what_was_wrong_was_put_back(run):
    original = (run / "teacher.keras").read_bytes()
    flip("teacher.keras")(run)
    for _ in range(2):
        with pytest.raises(ValueError, match="exchanged or damaged"):
            go_on(run)
    (run / "teacher.keras").write_bytes(original)
    assert go_on(run)[1] == 2


def test_all_that_is_wrong_is_said_at_once(run):
    for fault in ("other epochs", "teacher cut", "a student from elsewhere", "history of words"):
        CASES[fault][0](run)
    with pytest.raises(ValueError) as raised:
        go_on(run)
    for name in ("config.yaml", "teacher.keras", "student.keras", "history.csv"):
        assert name in str(raised.value)


def test_a_kill_between_the_manifest_and_the_file_leaves_what_can_go_on(run):
    folder = RunFolder(run)
    folder.resume({})
    folder.manifest.note("student.keras", run / "teacher.keras")  # and no such file comes
    folder.release()
    assert go_on(run)[1] == 2


def test_a_table_that_is_away_costs_no_run_that_goes_on(tmp_path):
    begun = RunFolder(tmp_path / "out")
    begun.begin(make_config(SETTINGS))
    begun.release()
    resumed = RunFolder(tmp_path / "out")
    resumed.resume({})
    resumed.give_up()  # as after "no such file"
    assert go_on(tmp_path / "out")[0].training.epochs == 3


@pytest.mark.parametrize("content", [b"[]", b"{", b"[" * 100_000])
def test_results_of_a_finished_run_that_are_damaged_are_said(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match="results.json`: the results of a run.* damaged file"):
        RunFolder(tmp_path).read_comparison()


def test_a_model_that_diverged_is_neither_saved_nor_kept_as_a_state(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(make_config(SETTINGS))
    broken = model()
    broken.set_weights([np.full(w.shape, np.nan) for w in broken.get_weights()])
    with pytest.raises(ValueError, match="`student`.*NaN or infinity"):
        folder.save_model("student", broken)
    assert not list(tmp_path.glob("*.keras"))
    save_state(folder.backup("student"), 2, compiled())
    nan = compiled()
    nan.set_weights(broken.get_weights())
    save_state(folder.backup("student"), 2, nan)
    with pytest.raises(ValueError, match="NaN or infinity: the training had diverged"):
        Checkpoint(folder.backup("student")).restore(compiled())


def test_a_second_run_in_a_folder_is_refused_and_a_dead_ones_lock_is_none(run):
    # Without TensorFlow, which this needs not: flock and a process that is killed.
    held = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
            "f.write('4711'); f.flush(); print('held', flush=True); time.sleep(60)",
            str(run / ".lock"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout.readline() == "held\n"
    try:
        with pytest.raises(ValueError, match="no other run is at work.*4711"):
            RunFolder(run).resume({})
        with pytest.raises(ValueError, match="interrupted"):
            RunFolder(run).begin(make_config(SETTINGS))
    finally:
        held.kill()
        held.wait()
    assert go_on(run)[1] == 2


def test_two_that_begin_at_once_are_one(tmp_path):
    first, second = RunFolder(tmp_path / "out"), RunFolder(tmp_path / "out")
    (tmp_path / "out").mkdir()
    lock = FolderLock(tmp_path / "out")
    with pytest.raises(ValueError, match="no other run is at work"):
        first.begin(make_config(SETTINGS))
    lock.release()
    second.begin(make_config(SETTINGS))  # an empty folder but for the lock's file
    assert second.manifest.files == {}
    second.give_up()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_is_too_small_leaves_no_folder(tmp_path):
    folder = RunFolder(tmp_path / "out")
    folder.begin(make_config(SETTINGS))
    folder.check_same_data("abc")
    with pytest.raises(ValueError, match="`--output`: a disk with at least .* MiB free"):
        folder.check_space(2**60)
    folder.give_up()
    assert not list(tmp_path.iterdir())


def test_a_path_that_no_model_can_be_written_to_is_refused_before_any_training(tmp_path):
    with pytest.raises(ValueError, match=r"`--output`: a path in UTF-8.*Received: .*a\\udcff"):
        RunFolder(tmp_path / "a\udcff").begin(make_config(SETTINGS))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["teacher", "student_alone"])
def test_a_finished_runs_model_that_was_exchanged_is_refused(run, name):
    folder = RunFolder(run)
    folder.resume({})
    folder.write_text("results.json", "{}")
    folder.finish()
    assert sorted(json.loads((run / "manifest.json").read_text())["files"]) == [
        "student_alone.keras",
        "teacher.keras",
    ]
    assert RunFolder(run).load_model(name) is not None
    save(f"{name}.keras")(run)
    with pytest.raises(ValueError, match=f"{name}.keras`: the file that this run has made"):
        RunFolder(run).load_model(name)


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        (
            [{"loss": 1.0}, {"loss": float("nan"), "hint_loss": float("nan")}],
            "loss was nan.*hint_l",
        ),
        ([{"loss": 1.0}, {"loss": float("inf")}], "in epoch 2 the loss was inf"),
        ([{"loss": 2.0}, {"loss": 5e4}], "loss was 50000, after 2 at the start"),
        ([{"loss": 0.5, "val_loss": float("nan")}], "validation loss was nan"),
        ([{"loss": 1e6}, {"loss": 1e8}, {"loss": 1.0}], None),
        ([{"loss": 1e-9}, {"loss": 9.0}], None),
    ],
)
def test_a_training_ends_when_it_diverges(logs, said):
    stop = StopDiverging(far_above=True)

    def shown():
        for epoch, each in enumerate(logs):
            stop.on_epoch_begin(epoch)
            stop.on_train_batch_end(0, {"loss": each["loss"]} if "val_loss" in each else each)
            stop.on_epoch_end(epoch, each)

    if said is None:
        return shown()
    with pytest.raises(DivergedError, match=said):
        shown()


TRAINED = """
import sys, time
import keras, numpy as np
from mmkd_tf.distill.epochs import Backup, Checkpoint

class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(epoch, flush=True)
        time.sleep(0.05)

def train(folder, epochs, *more):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    checkpoint = Checkpoint(Backup(folder, "student of x"))
    x, y = np.ones([4, 3], "float32"), np.zeros([4, 2], "float32")
    first = checkpoint.restore(model)
    given = {"epochs": epochs, "initial_epoch": first, "shuffle": False, "verbose": 0}
    model.fit(x, y, callbacks=[checkpoint, *more], **given)
    return first, model.get_weights()
"""


def resumed_is_whole(folder, tmp_path):
    namespace = {}
    exec(TRAINED, namespace)  # noqa: S102
    files = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    assert files and all(name.startswith("epoch-") for name in files)
    last = int(max(files)[6:-4])
    first, weights = namespace["train"](folder, last + 3)
    assert first == last
    _, whole = namespace["train"](tmp_path / "whole", last + 3)
    for a, b in zip(weights, whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_training_that_sigterm_ends_goes_on_bit_equal(tmp_path):
    folder = tmp_path / "state"
    code = f"{TRAINED}\ntrain({str(folder)!r}, 1000, Slow())"
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "0\n"
    time.sleep(0.2)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == -signal.SIGTERM
    resumed_is_whole(folder, tmp_path)


def test_a_training_that_sigint_ends_goes_on_bit_equal(tmp_path, usual_sigint):
    namespace = {}
    exec(TRAINED, namespace)  # noqa: S102

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        namespace["train"](tmp_path / "state", 1000, Interrupt())
    resumed_is_whole(tmp_path / "state", tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB, where this machine lets one be made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("no tmpfs can be made here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_a_folder_that_goes_on(interrupted, small_disk):
    path = shutil.copytree(interrupted, small_disk / "out")
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * (free - 4096))
    folder = RunFolder(path)
    folder.resume({})
    large = model(3, names=tuple("abcdefgh"))
    with pytest.raises(OSError, match="No space left"):
        with folder.artefact("student.keras") as unfinished:
            unfinished.write_bytes(b"x" * 65536)
    with pytest.raises(Exception, match="No space left|Unable|write"):
        for _ in range(8):
            folder.save_model("student_scratch", large)
    folder.release()
    assert not list(path.glob(".unfinished*"))
    (small_disk / "filler").unlink()
    assert go_on(path)[1] == 2
