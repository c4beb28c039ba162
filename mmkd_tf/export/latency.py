"""Measures how long exported files take for one example, one by one or in turn."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmkd_tf.edge.interpreter import ANY_SIZE, TensorRunner

_ROUNDS = 30
_CALLS_A_ROUND = 5
_SECONDS_A_FILE = 1.0
_MIN_ROUNDS = 3


def latency_ms(
    path: str | os.PathLike,
    examples: Mapping[str, np.ndarray],
    *,
    calls: int = 100,
    seconds: float = 2.0,
) -> float:
    """Measures a TFLite file: median milliseconds of a call, one example, one thread.

    Setting the inputs and reading the output are included, decoding pictures and splitting texts
    are not. The examples are taken in turn, since a short text may cost less than a long one. It
    ends after `calls` or `seconds`, though not before 5 calls; a tenth as many warm up before.
    """
    runner = TensorRunner(Path(path).read_bytes(), num_threads=1)
    return median_ms(runner, _batches(examples, 1, calls), calls=calls, seconds=seconds)


def median_ms(run: Callable, rows: list, *, calls: int = 100, seconds: float = 2.0) -> float:
    """Calls `run` on the rows in turn and gives the median time in milliseconds."""
    for index in range(max(1, calls // 10)):
        run(rows[index % len(rows)])
    times, end = list[float](), time.perf_counter() + seconds
    while len(times) < calls and (len(times) < 5 or time.perf_counter() < end):
        start = time.perf_counter()
        run(rows[len(times) % len(rows)])
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def interleaved_latency_ms(
    contents: Mapping[str, bytes], inputs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """By name the median of `interleaved_times_ms`."""
    times = interleaved_times_ms(contents, inputs)
    return {name: float(np.median(values)) for name, values in times.items()}


def interleaved_times_ms(
    contents: Mapping[str, bytes], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Calls files in turn, so that what else the machine does falls on all alike.

    Gives by name the milliseconds of each call of one batch, one thread, inputs set and output
    read included.
    """
    runners = {name: TensorRunner(content, num_threads=1) for name, content in contents.items()}
    size = next(iter(runners.values())).batch_size
    size = 1 if size == ANY_SIZE else size
    calls = _batches(inputs, size, _ROUNDS * _CALLS_A_ROUND)
    times: dict[str, list[float]] = {name: [] for name in runners}
    end = time.perf_counter() + _SECONDS_A_FILE * len(runners)
    for index in range(1 + _ROUNDS):  # the first warms up
        if index > _MIN_ROUNDS and time.perf_counter() > end:
            break
        for name, runner in runners.items():
            for call in range(_CALLS_A_ROUND):
                tensors = calls[(index * _CALLS_A_ROUND + call) % len(calls)]
                start = time.perf_counter()
                runner(tensors)
                if index > 0:
                    times[name].append(time.perf_counter() - start)
    return {name: 1e3 * np.array(values) for name, values in times.items()}


def _batches(inputs: Mapping[str, np.ndarray], size: int, number: int) -> list[dict]:
    """Divides examples into at most `number` batches of what one call takes."""
    num_examples = min(len(next(iter(inputs.values()))), number * size)
    return [
        {name: np.ascontiguousarray(values[i : i + size]) for name, values in inputs.items()}
        for i in range(0, num_examples, size)
    ]
