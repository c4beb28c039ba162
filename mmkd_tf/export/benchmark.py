"""Measures how long an exported file takes for one example."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner


def latency_ms(
    path: str | os.PathLike,
    examples: Mapping[str, np.ndarray],
    *,
    calls: int = 100,
    seconds: float = 2.0,
) -> float:
    """Measures a TFLite file: median time of a call, one example, one thread.

    Setting the inputs and reading the output are included, decoding pictures and splitting texts
    are not.

    Args:
        path: The file.
        examples: By input name, examples in tensor form along the first axis; they are taken in
            turn, since a short text may cost less than a long one.
        calls: Number of calls measured, at least 1; a tenth as many go before, not measured.
        seconds: Measuring ends after this time, though not before 5 calls.

    Returns:
        Milliseconds.
    """
    runner = TensorRunner(Path(path).read_bytes(), num_threads=1)
    num_examples = len(next(iter(examples.values())))
    rows = [
        {name: np.ascontiguousarray(values[i : i + 1]) for name, values in examples.items()}
        for i in range(min(num_examples, calls))
    ]
    return median_ms(runner, rows, calls=calls, seconds=seconds)


def median_ms(run: Callable, rows: list, *, calls: int = 100, seconds: float = 2.0) -> float:
    """Calls `run` on the rows in turn and gives the median time in milliseconds."""
    for index in range(max(1, calls // 10)):
        run(rows[index % len(rows)])
    times, end = [], time.perf_counter() + seconds
    while len(times) < calls and (len(times) < 5 or time.perf_counter() < end):
        start = time.perf_counter()
        run(rows[len(times) % len(rows)])
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)
