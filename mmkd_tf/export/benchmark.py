"""Measures how long an exported file takes for one example, also beside other exports."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.benchmarking.files import export_ours
from mmkd_tf.export.benchmarking.inputs import REAL, cases_of, random_examples, random_student
from mmkd_tf.export.benchmarking.peers import export_peers
from mmkd_tf.export.benchmarking.process import save_examples
from mmkd_tf.export.benchmarking.results import describe_files, describe_refusals, ratios
from mmkd_tf.export.benchmarking.rounds import measure
from mmkd_tf.export.contract import check_model
from mmkd_tf.export.parity import keras_logits

_NUM_EXAMPLES = 50


def benchmark_edge(
    model: keras.Model | None = None,
    *,
    examples: Mapping[str, np.ndarray] | None = None,
    num_rounds: int = 15,
    num_calls: int = 100,
    seed: int = 0,
) -> dict:
    """Measures a model's TFLite files beside Keras' own, ONNX Runtime and a SavedModel.

    Each file runs in a process of its own, for one and for two threads. In each round all of them
    are called one after the other, beginning with another one each time, so that what else the
    machine does falls on all alike. A call is one example: it includes setting the inputs and
    reading the output in Python, but no decoding of pictures and splitting of texts. What is not
    installed is named and left out.

    Args:
        model: Functional model that gives logits; by default the untrained default student,
            since weights don't matter for time.
        examples: By input name, examples in tensor form, such as the validation split's: their
            texts have the lengths of real ones, and they calibrate quantised files. Without
            them pictures are noise and texts have 1 to 10 words.
        num_rounds: Rounds that count; one more goes before.
        num_calls: Calls of each file in a round, for each of the texts' lengths and each number
            of threads.
        seed: Seed of what is made or chosen at random.

    Returns:
        `model`, `parameters`, `num_rounds`, `num_calls`, `made_examples` (whether there were none);
        `texts`: by case the `least`, `mean` and `greatest` number of words;
        `files`: by name `bytes`, `peak_memory_mib` (growth of a fresh process), `operators` (how
        often each occurs), `max_abs_logit_difference` from Keras (None for the text branch) and
        `latency_ms`: by number of threads ("1", "2") and case, `median` and `p95`;
        `absent`: by name of a file why it was not measured;
        `ratios`: for each claim the median over the rounds of its ratio, with the least and the
        greatest; one thread, texts of real lengths.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model, the examples or a number don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks.
    """
    wrong = {"num_rounds": num_rounds, "num_calls": num_calls}
    wrong = {name: value for name, value in wrong.items() if value < 1}
    if wrong:
        raise ValueError(f"`{'`, `'.join(wrong)}`: 1 or more. Received: {wrong}.")
    model = random_student(seed=seed) if model is None else model
    made = examples is None
    given = random_examples(model, seed=seed) if made else examples
    inputs = check_model(model, class_names=_class_names(model), examples=given)
    cases = cases_of(inputs, number=_NUM_EXAMPLES, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_examples(cases, folder / "examples.npz")
        ours, failed = export_ours(model, inputs, folder)
        peers, absent = export_peers(model, inputs, folder)
        files = [*ours, *peers]
        rounds = {"num_rounds": num_rounds, "num_calls": num_calls}
        measured, refused = measure(files, folder / "examples.npz", list(cases), **rounds)
        found = describe_files(files, measured, logits=keras_logits(model, cases[REAL]))
        absent |= describe_refusals(files, refused)
    return {
        "model": model.name,
        "parameters": model.count_params(),
        **rounds,
        "made_examples": made,
        "texts": {case: _num_words(x["text"]) for case, x in cases.items() if "text" in x},
        "files": found,
        "absent": {**failed, **absent},
        "ratios": ratios(measured),
    }


def _class_names(model):
    """As many as the model has classes; the check of the model says what else is wrong."""
    shapes = [tensor.shape for tensor in getattr(model, "outputs", None) or ()]
    return [f"class {index}" for index in range((shapes[0][-1] if shapes else 0) or 0)]


def _num_words(text):
    counts = np.count_nonzero(text, axis=1)
    return {"least": int(counts.min()), "mean": float(counts.mean()), "greatest": int(counts.max())}


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
