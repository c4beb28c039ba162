"""Two processes that train together: as one device does, with one of them that writes."""

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.distill.replicas import strategy_by_name
from mmkd_tf.distill.workers import cluster, is_chief, refuse_together, together

# Each process runs this file's neighbour; neither of them waits for ever for one that has died.
PROCESS = Path(__file__).with_name("workers_process.py")
SECONDS = 600


def described(*jobs, task=("worker", 0)):
    return json.dumps({"cluster": dict(jobs), "task": {"type": task[0], "index": task[1]}})


def test_which_process_of_how_many(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster() == (1, 0) and is_chief() and not together("auto")
    two = ("worker", ["a:1", "b:1"])
    monkeypatch.setenv("TF_CONFIG", described(two, task=("worker", 1)))
    assert cluster() == (2, 1) and not is_chief()
    assert together("auto") and together("multiworker") and not together("mirrored")
    monkeypatch.setenv("TF_CONFIG", described(("chief", ["c:1"]), two, task=("worker", 1)))
    assert cluster() == (3, 2)
    monkeypatch.setenv("TF_CONFIG", described(("worker", ["a:1"])))
    assert cluster() == (1, 0) and not together("auto")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "no attribute 'get'"),
        (described(("worker", ["a:1", "b:1"]), task=("worker", 2)), "not in list"),
        (described(("worker", ["a:1"]), ("ps", ["b:1"])), "with ps"),
    ],
)
def test_what_is_no_cluster_is_refused(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=f'`TF_CONFIG`: {{"cluster": .* Received: .*{reason}'):
        cluster()


def test_what_has_no_cluster_or_no_use_for_one_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="names two processes or more. Received: TF_CONFIG=not"):
        strategy_by_name("multiworker")
    refuse_together("auto", "a study")
    monkeypatch.setenv("TF_CONFIG", described(("worker", ["localhost:1", "localhost:2"])))
    with pytest.raises(ValueError, match="none or mirrored for a study, .* auto, with 2 proc"):
        refuse_together("auto", "a study")
    tf.zeros([])  # TensorFlow is at work
    with pytest.raises(ValueError, match="Call mmkd_tf.distill.replicas.strategy_by_name"):
        strategy_by_name.__wrapped__("auto")


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Folders of two processes that have done `workers_process.py`."""
    folder = tmp_path_factory.mktemp("workers")
    lines = [f"{label} {number},{label}" for label in ("red", "blue") for number in range(20)]
    (folder / "items.csv").write_text("\n".join(["text,label", *lines]))
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    running = []
    try:
        for index in range(2):
            config = described(("worker", hosts), task=("worker", index))
            environment = {**os.environ, "TF_CONFIG": config, "no_proxy": "127.0.0.1"}
            with open(folder / f"{index}.txt", "wb") as said:
                command = [sys.executable, PROCESS, folder]
                running.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
        end = time.monotonic() + SECONDS
        while None in (codes := [each.poll() for each in running]) and not any(codes):
            if time.monotonic() > end:
                break
            time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
            process.wait()
    said = [(folder / f"{index}.txt").read_text()[-3000:] for index in range(2)]
    assert codes == [0, 0], "\n".join(said)  # one that fails is not waited for by the other
    return folder


@pytest.fixture
def process(monkeypatch):
    """What the processes run, as a module."""
    monkeypatch.syspath_prepend(PROCESS.parent)
    return importlib.import_module(PROCESS.stem)


def weights(folder, name):
    with np.load(folder / name) as kept:
        return [kept[key] for key in kept.files]


def assert_same(folder, name, alone):
    """Weights to 2e-5, as with the devices of one process, and between processes to the bit."""
    both = [weights(folder, f"{name}{index}.npz") for index in range(2)]
    for first, second, of_one in zip(*both, alone.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, of_one, atol=2e-5)


def assert_same_figures(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_two_processes_train_as_one_device(processes, process, tmp_path):
    first, second = (json.loads((processes / f"{index}.json").read_text()) for index in range(2))
    labels, epochs = process.learn_from_labels("none")
    assert_same(processes, "labels", labels)
    assert len(epochs) == 2  # of 3: both have stopped early, and taken the first one's weights
    assert_same_figures(first["labels"], epochs[1:])
    taught, epochs = process.learn_from_teacher("none", tmp_path)
    assert_same(processes, "taught", taught)
    assert_same_figures(first["taught"], epochs)
    assert (second["labels"], second["taught"]) == (first["labels"], first["taught"])


@pytest.mark.slow
def test_the_first_process_has_the_last_word(processes, process):
    first, second = (json.loads((processes / f"{index}.json").read_text()) for index in range(2))
    # What the other one goes on from it never had itself.
    assert first["state"] == second["state"] == ["best.npz", "epoch-000001.npz"]
    assert_same(processes, "shared", process.model(seed=0))
    assert "`DATA`: the rows that the first process reads" in second["refused"]
    assert first["refused"].startswith("`steps_per_execution`: 1 under MultiWorker")


@pytest.mark.slow
def test_the_first_process_alone_has_results(processes):
    first, second = (json.loads((processes / f"{index}.json").read_text()) for index in range(2))
    assert {"student", "verdict", "exports"} <= set(first["results"]) and not second["results"]
    assert (processes / "run0" / "results.json").is_file()
    assert not (processes / "run1" / "results.json").is_file()
    files = [processes / f"run{index}" / "student.keras" for index in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_all_but_the_first_process_leave_the_folder_alone(monkeypatch, tmp_path):
    folders = []

    def run(config, folder, reporter):
        folders.append(folder)
        return {}

    monkeypatch.setattr("mmkd_tf.run.run", run)
    hosts = ("worker", ["localhost:1", "localhost:2"])
    monkeypatch.setenv("TF_CONFIG", described(hosts, task=("worker", 1)))
    (tmp_path / "items.csv").write_text("text,label\na,b\nc,d\n")
    command = ["run", tmp_path / "items.csv", "--image", "none", "--strategy", "auto"]
    command += ["--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    assert "Results are those of the first process" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv"]
    assert not folders[0].path.exists()
