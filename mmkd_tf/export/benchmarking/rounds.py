"""Calls model files in turn, round by round, and notes each call's time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmkd_tf.export.benchmarking.inputs import REAL
from mmkd_tf.export.benchmarking.process import ModelFile, Worker

THREADS = (1, 2)
WARM_UP_ROUNDS = 1

# Idle threads of a pool look for work for some milliseconds before they sleep.
_SECONDS_TO_REST = 0.01


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
