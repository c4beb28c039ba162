"""Compares an exported file with the Keras model that it was made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from mmkd_tf.export.logits import check_logits, keras_logits
from mmkd_tf.export.trials import run_batches, run_both_ways, sizes_to_try, without

MAX_LOGIT_DIFFERENCE = 1e-4
MIN_TOP1_AGREEMENT = 0.95
MAX_RELATIVE_ERROR = 0.1

# Classes closer than this are equal up to float32 rounding.
_TIE = 1e-6
# Probabilities below this are lost in float32, so logits are compared no further down.
_SMALLEST = 1e-30


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
        accuracy: Share of the examples for which the file gives the label, 0 to 1; None where
            no labels were given.
        keras_accuracy: The same of Keras.
        quantize: How the weights are stored; see `mmkd_tf.export.quantize`.
        batch_size: Number of examples that the file takes at a time, None for any.
        text_input: What the file takes as text, "ids" or "bytes"; None if it takes no text.
        ladder: Where all levels of quantisation were tried, what was seen of each; see
            `mmkd_tf.export.ladder.Rung` for the keys.
    """

    file: str
    bytes: int
    latency_ms: float
    max_abs_logit_difference: float
    top1_agreement: float
    num_examples: int
    accuracy: float | None = None
    keras_accuracy: float | None = None
    quantize: str = "float32"
    batch_size: int | None = 1
    text_input: str | None = None
    ladder: tuple[dict, ...] = ()


@dataclass(frozen=True)
class Parity:
    """How a file did beside Keras, over all batch sizes.

    Attributes:
        max_abs_logit_difference: As in `Export`.
        top1_agreement: As in `Export`.
        accuracy: As in `Export`.
        keras_accuracy: As in `Export`.
        num_examples: Number of examples, each run twice in each batch size.
        batch_sizes: The batch sizes.
    """

    max_abs_logit_difference: float
    top1_agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    num_examples: int
    batch_sizes: tuple[int, ...]


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
    file_inputs: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    batch_size: int | None = None,
    logits: np.ndarray | None = None,
) -> Parity:
    """Runs a file on examples, twice in other order, and with each modality absent.

    A file for any batch size is run with several: one, one that does not divide the number of
    examples, and a large one.

    Args:
        model: The model that the file was made from.
        run: Runs the file on `[n, ...]` tensors by name, gives probabilities `[n, num_classes]`;
            for any n up to `batch_size`.
        inputs: Examples in tensor form.
        exact: Whether the file should equal Keras up to rounding, or is quantised.
        file_inputs: The same examples as the file takes them, where that is something else, such
            as the bytes of texts.
        labels: Class indices `[n]` of the examples, for the accuracy.
        batch_size: Number of examples that the file takes at a time, None for any.
        logits: What `keras_logits` gives for `inputs`, where the caller has it already.

    Returns:
        How far the file is from Keras on `inputs` as they are.

    Raises:
        ValueError: If the model is unfit: it gives values that are not finite, or probabilities.
        RuntimeError: If the file breaks the bound (see `Difference.exceeds`) or keeps a state.
    """
    file_inputs = inputs if file_inputs is None else file_inputs
    num_examples = len(next(iter(inputs.values())))
    logits = keras_logits(model, inputs) if logits is None else logits
    check_logits(logits, case="the examples")
    sizes = sizes_to_try(batch_size, num_examples=num_examples)
    cases = {}
    for size in sizes:
        probabilities = run_both_ways(run, file_inputs, size)
        case = "the examples" if len(sizes) == 1 else f"the examples in batches of {size}"
        cases[case] = difference(logits=logits, probabilities=probabilities)
    complete = list(cases.values())
    for name in inputs:
        case = f"examples without {name}"
        expected = keras_logits(model, without(inputs, name))
        check_logits(expected, case=case)
        answers = run_batches(run, without(file_inputs, name), sizes[0])
        cases[case] = difference(logits=expected, probabilities=answers)
    broken = [f"{case}: {found}" for case, found in cases.items() if found.exceeds(exact=exact)]
    if broken:
        raise RuntimeError(
            "The exported file differs from Keras, so it was not kept. On "
            + "; on ".join(broken)
            + ". "
            + ("Report the model's layers as a defect." if exact else "Export it in float32.")
        )
    return Parity(
        max_abs_logit_difference=max(found.max_abs_logit_difference for found in complete),
        top1_agreement=min(found.top1_agreement for found in complete),
        accuracy=accuracy(probabilities, labels),
        keras_accuracy=accuracy(logits, labels),
        num_examples=num_examples,
        batch_sizes=sizes,
    )


def accuracy(scores: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Gives the share of the rows `[n, num_classes]` whose largest score is the label's."""
    return None if labels is None else float(np.mean(scores.argmax(axis=1) == labels))
