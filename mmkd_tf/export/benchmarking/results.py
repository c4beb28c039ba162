"""Makes sizes, medians, percentiles and ratios of what the benchmark saw."""

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from mmkd_tf.export.benchmarking.files import OURS, TEXT_BRANCH
from mmkd_tf.export.benchmarking.inputs import FIVE, FULL, REAL
from mmkd_tf.export.benchmarking.operators import count_operators
from mmkd_tf.export.benchmarking.peers import KERAS_STATIC, ONNX_KERAS, ONNX_LSTM, SAVED_MODEL
from mmkd_tf.export.benchmarking.process import ModelFile
from mmkd_tf.export.benchmarking.rounds import THREADS, Measured
from mmkd_tf.export.parity import difference


def describe_files(
    files: Sequence[ModelFile], measured: Mapping[str, Measured], *, logits: np.ndarray
) -> dict[str, dict]:
    """Sums up what was seen of each file that was measured.

    Args:
        files: The files, still there.
        measured: What `measure` gives.
        logits: Keras' logits of the real examples, float32 `[n, num_classes]`.

    Returns:
        What `benchmark_edge` gives as `files`.
    """
    return {
        file.name: {
            "bytes": file.bytes,
            "peak_memory_mib": measured[file.name].peak_memory_mib,
            "max_abs_logit_difference": None
            if file.name == TEXT_BRANCH
            else _difference(logits, measured[file.name].outputs),
            "operators": count_operators(file.path),
            "latency_ms": {
                str(num_threads): {case: _latency(times) for case, times in cases.items()}
                for num_threads, cases in measured[file.name].times.items()
            },
        }
        for file in files
        if file.name in measured
    }


def describe_refusals(files: Sequence[ModelFile], refused: Mapping[str, str]) -> dict[str, str]:
    """Says by name why a runtime did not run a file; where it is Flex operators, which."""
    reasons = dict(refused)
    for file in files:
        if file.name in refused and file.runtime == "litert":
            flex = [name for name in count_operators(file.path) if name.startswith("Flex")]
            if flex:
                reasons[file.name] = (
                    "a plain LiteRT interpreter refuses it, for it needs Flex operators: "
                    + ", ".join(flex)
                )
    return reasons


def ratios(measured: Mapping[str, Measured]) -> dict[str, dict[str, float]]:
    """Compares with others, and a short text with a long one, where both were measured.

    Args:
        measured: What `measure` gives.

    Returns:
        By claim the `median`, `least` and `greatest` over the rounds of the ratio of the medians
        in a round, one thread.
    """

    def medians(name, case):
        return [float(np.median(times)) for times in measured[name].times[THREADS[0]][case]]

    pairs = {
        f"{OURS} / {peer}": ((OURS, REAL), (peer, REAL))
        for peer in (KERAS_STATIC, ONNX_LSTM, ONNX_KERAS, SAVED_MODEL)
    }
    pairs[f"{TEXT_BRANCH}: {FIVE} / {FULL}"] = ((TEXT_BRANCH, FIVE), (TEXT_BRANCH, FULL))
    found = {}
    for claim, (ours, theirs) in pairs.items():
        if ours[0] in measured and theirs[0] in measured:
            values = [a / b for a, b in zip(medians(*ours), medians(*theirs), strict=True)]
            found[claim] = {
                "median": median(values),
                "least": min(values),
                "greatest": max(values),
            }
    return found


def _latency(times):
    return {"median": float(np.median(times)), "p95": float(np.quantile(times, 0.95))}


def _difference(logits, outputs):
    """In nats; the files of others give logits, ours probabilities."""
    if not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = powers / powers.sum(axis=1, keepdims=True)
    return difference(logits=logits, probabilities=outputs).max_abs_logit_difference
