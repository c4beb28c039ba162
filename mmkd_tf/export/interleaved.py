"""Measures the time of several files in one run."""

import time
from collections.abc import Mapping

import numpy as np

from mmkd_tf.edge.interpreter import ANY_SIZE, TensorRunner

_ROUNDS = 30
_CALLS_A_ROUND = 5
_SECONDS_A_FILE = 1.0
_MIN_ROUNDS = 3


def interleaved_latency_ms(
    contents: Mapping[str, bytes], inputs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Calls files in turn, so that what else the machine does falls on all alike.

    Args:
        contents: By name, TFLite models that take the same inputs.
        inputs: By input name, examples in the form that the files take; they are taken in turn.

    Returns:
        By name, the median time of a call of one batch, one thread, in milliseconds. Setting the
        inputs and reading the output are included.
    """
    runners = {name: TensorRunner(content, num_threads=1) for name, content in contents.items()}
    calls = _calls(next(iter(runners.values())), inputs)
    times = {name: [] for name in runners}
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
    return {name: float(np.median(values) * 1e3) for name, values in times.items()}


def _calls(runner, inputs):
    """Divides examples into what one call takes."""
    size = 1 if runner.batch_size == ANY_SIZE else runner.batch_size
    num_examples = len(next(iter(inputs.values())))
    return [
        {name: np.ascontiguousarray(inputs[name][start : start + size]) for name in runner.inputs}
        for start in range(0, min(num_examples, _ROUNDS * _CALLS_A_ROUND * size), size)
    ]
