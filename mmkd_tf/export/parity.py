"""Compares an exported file with the Keras model that it was made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.recurrent import portable

MAX_LOGIT_DIFFERENCE = 1e-4
MIN_TOP1_AGREEMENT = 0.95
MAX_RELATIVE_ERROR = 0.1

# Classes closer than this are equal up to float32 rounding.
_TIE = 1e-6
# Probabilities below this are lost in float32, so logits are compared no further down.
_SMALLEST = 1e-30
_BATCH = 32
_NUM_ABSENT = 20


@dataclass(frozen=True)
class Export:
    """An exported file, and how it did beside Keras.

    Attributes:
        file: Path of the file or folder.
        bytes: Its size.
        latency_ms: Median time of a call for one example, one thread, in milliseconds.
        max_abs_logit_difference: Largest difference of a log-probability from Keras, in nats.
        top1_agreement: Share of the examples with the same first class as in Keras, 0 to 1;
            classes that Keras holds equal to 1e-6 nats count as the same.
        num_examples: Number of examples compared.
    """

    file: str
    bytes: int
    latency_ms: float
    max_abs_logit_difference: float
    top1_agreement: float
    num_examples: int


@dataclass(frozen=True)
class Difference:
    """How far a file is from Keras on some examples.

    Attributes:
        max_abs_logit_difference: In nats, between log-probabilities.
        relative_error: Root mean square of the differences, divided by that of the logits
            about their mean in each row.
        top1_agreement: As in `Export`.
        scale: Largest absolute logit about its row's mean, at least 1: float32 rounding
            grows with it.
    """

    max_abs_logit_difference: float
    relative_error: float
    top1_agreement: float
    scale: float

    def exceeds(self, *, exact: bool) -> bool:
        """Tells whether the bound is broken.

        An exact file may differ by 1e-4 nats, times `scale`. A quantised one needs the same
        first class in 95 % of the examples; where classes lie so close that rounding decides,
        as in a model hardly trained, a relative error of at most 10 % will do.
        """
        if exact:
            return not self.max_abs_logit_difference <= MAX_LOGIT_DIFFERENCE * self.scale
        close = self.relative_error <= MAX_RELATIVE_ERROR
        return not (self.top1_agreement >= MIN_TOP1_AGREEMENT or close)


def keras_logits(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Computes logits, float32 `[n, num_classes]`, of examples in tensor form.

    On the CPU, because GPUs round the factors of float32 products.
    """
    num_examples = len(next(iter(inputs.values())))
    with tf.device("CPU:0"), portable(model):
        batches = [
            call_by_name(model, {k: tf.constant(v[i : i + _BATCH]) for k, v in inputs.items()})
            for i in range(0, num_examples, _BATCH)
        ]
    return np.concatenate([np.asarray(batch, np.float32) for batch in batches])


def difference(*, logits: np.ndarray, probabilities: np.ndarray) -> Difference:
    """Measures how far a file's probabilities are from Keras' logits, both `[n, num_classes]`."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = np.maximum(expected, np.log(_SMALLEST))
    found = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    centred = expected - expected.mean(axis=1, keepdims=True)
    first = np.take_along_axis(expected, found.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    error, spread = (np.sqrt(np.mean(np.square(x))) for x in (found - expected, centred))
    return Difference(
        max_abs_logit_difference=float(np.abs(found - expected).max()),
        relative_error=float(error / max(spread, 1e-6)),
        top1_agreement=float(np.mean(first >= expected.max(axis=1) - _TIE)),
        scale=float(max(1.0, np.abs(logits - logits.mean(axis=1, keepdims=True)).max())),
    )


def compare(
    *,
    model: keras.Model,
    run: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    inputs: Mapping[str, np.ndarray],
    exact: bool,
) -> Difference:
    """Runs a file on examples, twice in other order, and with each modality absent.

    Args:
        model: The model that the file was made from.
        run: Runs the file on `[n, ...]` tensors by name, gives probabilities `[n, num_classes]`.
        inputs: Examples in tensor form.
        exact: Whether the file should equal Keras up to rounding, or is quantised.

    Returns:
        The difference on `inputs` as they are.

    Raises:
        ValueError: If the model is unfit: it gives values that are not finite, or probabilities.
        RuntimeError: If the file breaks the bound (see `Difference.exceeds`) or keeps a state.
    """
    logits = keras_logits(model, inputs)
    check_logits(logits, case="the examples")
    probabilities = run(inputs)
    backwards = run({name: values[::-1] for name, values in inputs.items()})[::-1]
    if not np.allclose(probabilities, backwards, atol=1e-5):
        raise RuntimeError(
            "The exported file answers otherwise when examples come in another order, so it "
            "keeps a state between calls. Report the model's layers as a defect of mmkd_tf."
        )
    result = difference(logits=logits, probabilities=probabilities)
    cases = {"the examples": result}
    for name in inputs:
        absent = {key: values[:_NUM_ABSENT] for key, values in inputs.items()}
        absent[name] = np.zeros_like(absent[name])
        case = f"examples without {name}"
        logits = keras_logits(model, absent)
        check_logits(logits, case=case)
        cases[case] = difference(logits=logits, probabilities=run(absent))
    broken = [f"{case}: {found}" for case, found in cases.items() if found.exceeds(exact=exact)]
    if broken:
        raise RuntimeError(
            "The exported file differs from Keras, so it was not kept. On "
            + "; on ".join(broken)
            + ". "
            + ("Report the model's layers as a defect." if exact else "Export with quantize=None.")
        )
    return result


def check_logits(logits: np.ndarray, *, case: str) -> None:
    """Refuses values that are not finite, and probabilities where logits should be."""
    if not np.isfinite(logits).all():
        raise ValueError(
            f"`model`: finite logits. Received: NaN or infinity in Keras itself on {case}. "
            "Train it anew, or let it cope with inputs of zeros, which stand for absent ones."
        )
    sums = logits.sum(axis=1)
    if (logits >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            "`model`: logits. Received: rows that sum to 1, as after a softmax. "
            "Give the model without it: keras.Model(model.inputs, logits), or a last Dense "
            "layer with activation=None. The export adds the softmax."
        )
