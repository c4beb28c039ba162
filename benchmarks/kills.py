"""Whether runs that are killed at random moments end with the files of one that was not.

Run it with `python benchmarks/kills.py`; a kill takes some 35 s of processor time. Each run gets
SIGKILL at a moment between its folder's beginning and its end, all moments being as likely, and
goes on with `--resume` (a study with the same command). Weights, exported files and results must
then be those of a run without a kill, to the last bit; what tells of time and memory is left out.
"""

import collections
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import tensorflow as tf
import typer

SETTINGS = (
    "image=null",
    "data.unlabelled_rows=true",
    "epochs=2",
    "batch_size=8",
    "robustness=false",
)
SCRATCH = ("teacher.encoders=scratch", "student.inherit=none")
# What tells of time, memory and the process, by file and by key of a file of results. Of a
# SavedModel the variables are compared: TensorFlow numbers its functions by what ran before.
UNEQUAL_FILES = re.compile(
    r"\.lock|\.state|manifest\.json|seconds\.json|report\.html|model_card\.md|study\.(md|png)|\.pb$|\.data-"
)
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
UNEQUAL_KEYS = re.compile(r"seconds|peak_memory_mib|latency.*|time|relative_time")


def main(
    kills: Annotated[int, typer.Option(help="Kills of runs with a teacher from scratch.")] = 20,
    pretrained: Annotated[int, typer.Option(help="Kills with a pretrained teacher.")] = 4,
    studies: Annotated[int, typer.Option(help="Kills of studies of two seeds.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
) -> None:
    """Kills runs and studies, and prints where, and how many ended otherwise."""
    rng, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "items.csv"
        lines = [f"a {kind} thing {n},{kind}" for n in range(12) for kind in ("cup", "lamp")]
        lines += [f"{kind} without a label {n}," for n in range(4) for kind in ("cup", "lamp")]
        table.write_text("\n".join(["text,label", *lines, ""]))
        for title, number, command, settings in (
            ("run", kills, ["run"], SETTINGS + SCRATCH),
            ("run, pretrained teacher", pretrained, ["run"], SETTINGS),
            ("study", studies, ["study", "--seeds=2", "--jobs=1"], SETTINGS + SCRATCH),
        ):
            if number:
                command = [*command, str(table), *(f"--set={each}" for each in settings)]
                wrong += _kill(title, number, command, rng=rng, folder=Path(folder))
    raise typer.Exit(min(wrong, 1))


def _kill(title: str, number: int, command: list[str], *, rng: random.Random, folder: Path) -> int:
    """Kills a command so many times; gives how many ended otherwise than undisturbed."""
    whole, _, seconds = _start(command, folder / f"{title} whole", None)
    expected, stages, wrong = _contents(whole), collections.Counter[str](), 0
    while stages.total() < number:
        moment = rng.random() * seconds
        path, stage, took = _start(command, folder / f"{title} {stages.total()}", moment)
        if stage is None:  # it was quicker than the first one
            seconds = max(moment, took)
        else:
            stages[stage] += 1
            if command[0] == "study":
                _start(command, path, None)
            elif not (path / "results.json").is_file():  # else it was about to end
                _start([*command, "--resume"], path, None)
            different = _different(_contents(path), expected)
            wrong += bool(different)
            typer.echo(f"{title}, killed at {moment:.1f} s ({stage}): {different or 'the same'}")
        shutil.rmtree(path)
    typer.echo(f"\n{title}: {number} kills, {wrong} with another end")
    for stage, count in stages.most_common():
        typer.echo(f"  {count:3} {stage}")
    typer.echo("")
    return wrong


def _start(command: list[str], path: Path, moment: float | None) -> tuple[Path, str | None, float]:
    """Runs a command to its end or until so many seconds after its folder is there.

    Gives the folder, the stage of the kill (None without one) and the seconds since the folder.
    """
    log = path.with_suffix(".log")
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmkd_tf", *command, f"--output={path}"],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        begin = time.monotonic()
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - begin
    if process.returncode == -signal.SIGKILL and moment is not None:
        said = [line for line in log.read_text().splitlines() if line.strip()]
        stage = next((line for line in reversed(said) if line.endswith("...")), "beginning")
        return path, re.sub(r" \([\d,]+ parameters\)| ?\.\.\.", "", stage), seconds
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{log.read_text()[-3000:]}")
    return path, None, seconds


def _contents(path: Path) -> dict[str, object]:
    """By file, its arrays, its results without times, or its bytes."""
    found: dict[str, object] = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if not file.is_file() or UNEQUAL_FILES.search(name):
            continue
        content = file.read_bytes()
        if name.endswith(".json"):
            found[name] = _lasting(json.loads(content))
        elif name.endswith(".index"):
            variables = tf.train.load_checkpoint(str(file.with_suffix("")))
            names = set(variables.get_variable_to_shape_map()) - {GRAPH}
            found[name] = {each: variables.get_tensor(each).tobytes() for each in names}
        else:
            found[name] = _arrays(content) if name.endswith((".npz", ".keras")) else content
    return found


def _arrays(content: bytes) -> dict[str, tuple]:
    arrays = {}
    with zipfile.ZipFile(BytesIO(content)) as archive:
        if "model.weights.h5" not in archive.namelist():
            with np.load(BytesIO(content)) as parts:
                arrays = {key: parts[key] for key in parts}
        else:
            weights = h5py.File(BytesIO(archive.read("model.weights.h5")))
            weights.visititems(
                lambda key, value: (
                    arrays.update({key: value[()]}) if hasattr(value, "shape") else None
                )
            )
    return {key: (each.dtype, each.shape, each.tobytes()) for key, each in arrays.items()}


def _lasting(value):
    if isinstance(value, dict):
        if str(value.get("path", value.get("file", ""))).endswith("saved_model"):
            value = {k: v for k, v in value.items() if k != "bytes"}
        return {k: _lasting(v) for k, v in value.items() if not UNEQUAL_KEYS.fullmatch(k)}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def _different(found: dict, expected: dict) -> list[str]:
    return sorted(n for n in found | expected if found.get(n) != expected.get(n))


if __name__ == "__main__":
    typer.run(main)
