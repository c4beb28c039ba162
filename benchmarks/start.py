"""How long the command line takes to begin: help, errors, and the first step of training.

    python benchmarks/start.py

Each is a process of its own. Of a run on emoji the time is until the first steps of a model are
done (those of one execution): of the student alone, behind a pretrained teacher whose features are
kept from before, and of a teacher from scratch, which is the first model of its run.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

BEGAN = "MMKD_TF_BENCHMARK_BEGAN"
COMMANDS = {
    "help": ["--help"],
    "a mistyped option": ["run", "--epoch", "3"],
    "a table that is not there": ["run", "nowhere.csv"],
}
RUNS = {
    "first step of a student, features kept": [],
    "first step of a teacher from scratch": ["teacher.encoders=scratch", "student.inherit=none"],
}


def first_step():
    """A Keras callback, which ends the process behind the first steps, and says when that was."""
    import keras

    class FirstStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sys.stdout.write(f"\nbegan after {time.time() - float(os.environ[BEGAN]):.2f}\n")
            sys.stdout.flush()
            os._exit(0)

    return FirstStep()


def benchmark_start(*, num_rounds: int = 3) -> dict[str, float]:
    """Measures the commands in turn.

    Args:
        num_rounds: Rounds that count; one more goes before, which leaves the features.

    Returns:
        By what was asked, the median of seconds.

    Raises:
        ValueError: If `num_rounds` is less than 1.
        RuntimeError: If a run ends before its first step.
    """
    if num_rounds < 1:
        raise ValueError(f"`num_rounds`: 1 or more. Received: {num_rounds}.")
    seconds: dict[str, list[float]] = {name: [] for name in (*COMMANDS, *RUNS)}
    with tempfile.TemporaryDirectory() as name:
        for index in range(1 + num_rounds):
            for asked, arguments in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-m", "mmkd_tf", *arguments], capture_output=True)
                seconds[asked].append(time.perf_counter() - start)
            for asked, settings in RUNS.items():
                output = Path(name) / f"{index}-{len(settings)}"
                seconds[asked].append(_until_first_step(settings, output, Path(name) / "cache"))
    return {asked: median(found[1:]) for asked, found in seconds.items()}


def _until_first_step(settings: list[str], output: Path, cache: Path) -> float:
    given = [*settings, "callbacks=[{name: start.first_step}]"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.getenv("PYTHONPATH")]))
    process = subprocess.run(
        [sys.executable, "-m", "mmkd_tf", "run", "emoji", "--output", str(output), "--quiet"]
        + [part for setting in given for part in ("--set", setting)],
        env={
            **os.environ,
            BEGAN: str(time.time()),
            "MMKD_TF_CACHE": str(cache),
            "PYTHONPATH": path,
        },
        capture_output=True,
        text=True,
    )
    if "began after " not in process.stdout:
        raise RuntimeError(f"a run that came to no training:\n{process.stdout}{process.stderr}")
    return float(process.stdout.rpartition("began after ")[2])


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 3,
) -> None:
    """Print the seconds of each."""
    for asked, seconds in benchmark_start(num_rounds=rounds).items():
        typer.echo(f"{asked:<40}{seconds:6.2f} s")


if __name__ == "__main__":
    typer.run(main)
