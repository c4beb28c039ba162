"""Calls model files in turn, each in a process of its own, and notes each call's time."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

THREADS = (1, 2)
WARM_UP_ROUNDS = 1
REAL = "real lengths"  # the case whose answers are compared

_SCRIPT = Path(__file__).with_name("worker.py")
_LOG_TAIL = 500
# Idle threads of a pool look for work for some milliseconds before they sleep.
_SECONDS_TO_REST = 0.01


@dataclass(frozen=True)
class ModelFile:
    """A file to be measured, and what runs it.

    Attributes:
        name: What people call it.
        path: The file, or the folder of a SavedModel.
        runtime: "litert", "onnxruntime" or "tensorflow".
    """

    name: str
    path: Path
    runtime: str

    @property
    def bytes(self) -> int:
        """Its size, that of all files in a folder."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())


def save_examples(cases: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Writes examples for the processes to read.

    Args:
        cases: By case and input name, examples in tensor form along the first axis.
        path: A file that ends with `.npz`.
    """
    named = {f"{case}/{k}": v for case, inputs in cases.items() for k, v in inputs.items()}
    np.savez(path, **named)


class Worker:
    """A process that has loaded a model file and waits for orders.

    Args:
        file: What it runs.
        examples: What `save_examples` wrote.
        num_threads: Number of threads that the runtime may use for an operator.

    Attributes:
        peak_memory_mib: How much the process grew, at most, from the runtime being there to the
            file being loaded and run on every example.

    Raises:
        RuntimeError: If the runtime refuses the file, or the process dies.
    """

    def __init__(self, file: ModelFile, examples: Path, *, num_threads: int):
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        script = [sys.executable, "-P", str(_SCRIPT)]
        self._process = subprocess.Popen(
            [*script, file.runtime, str(num_threads), str(file.path), str(examples)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # GPUs are another benchmark.
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        try:
            started = self._answer()
            if "refused" in started:
                raise RuntimeError(started["refused"])
        except BaseException:
            self.close()
            raise
        self.peak_memory_mib = started["peak_memory_mib"]

    def times(self, case: str, num_calls: int) -> np.ndarray:
        """Milliseconds of each call on a case's examples in turn, float64 `[num_calls]`."""
        return np.array(self._ask("time", case, num_calls)) / 1e6

    def outputs(self, case: str) -> np.ndarray:
        """What the file gives for each of a case's examples, float64 `[n, num_classes]`."""
        return np.array(self._ask("run", case, 0))

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _ask(self, *order):
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its answer says why
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._log.seek(0)
        raise RuntimeError(
            f"The process that ran the file ended by itself with code {code}. "
            f"Its last words: {self._log.read().strip()[-_LOG_TAIL:]}"
        )


@dataclass
class Measured:
    """What was seen of one file.

    Attributes:
        outputs: What it gave for the real examples, float64 `[n, size]`.
        peak_memory_mib: See `Worker`; with one thread.
        times: By number of threads and case, for each round the milliseconds of each call.
    """

    outputs: np.ndarray
    peak_memory_mib: float
    times: dict[int, dict[str, list[np.ndarray]]] = field(default_factory=dict)


def measure(
    files: Sequence[ModelFile],
    examples: Path,
    cases: Sequence[str],
    *,
    num_rounds: int,
    num_calls: int,
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measures files in one interleaved run.

    Args:
        files: The files.
        examples: What `save_examples` wrote.
        cases: The cases in it.
        num_rounds: Rounds that count.
        num_calls: Calls in a round of each file, case and number of threads.

    Returns:
        By name what was measured; and by name why a runtime refuses a file.
    """
    with _workers(files, examples) as (workers, refused):
        measured = {
            name: Measured(worker.outputs(REAL), worker.peak_memory_mib)
            for (name, num_threads), worker in workers.items()
            if num_threads == THREADS[0]
        }
        for name, num_threads in workers:
            measured[name].times[num_threads] = {case: [] for case in cases}
        order = list(workers)
        for index in range(WARM_UP_ROUNDS + num_rounds):
            first = index % len(order)
            for case in cases:
                for name, num_threads in order[first:] + order[:first]:
                    times = workers[name, num_threads].times(case, num_calls)
                    if num_threads > 1:
                        time.sleep(_SECONDS_TO_REST)
                    if index >= WARM_UP_ROUNDS:
                        measured[name].times[num_threads][case].append(times)
    return measured, refused


@contextmanager
def _workers(files, examples) -> Iterator[tuple[dict, dict]]:
    """Starts a process for each file and number of threads, the same number side by side."""
    workers, refused = {}, {}
    try:
        for num_threads in THREADS:
            for file in files:
                if file.name in refused:
                    continue
                try:
                    worker = Worker(file, examples, num_threads=num_threads)
                except RuntimeError as error:
                    refused[file.name] = str(error)
                else:
                    workers[file.name, num_threads] = worker
        yield workers, refused
    finally:
        for worker in workers.values():
            worker.close()
