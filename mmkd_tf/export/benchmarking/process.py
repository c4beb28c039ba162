"""Starts a process for one model file and asks it for times and answers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd_tf.export.benchmarking import worker

_LOG_TAIL = 500


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
        script = [sys.executable, "-P", worker.__file__]
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
