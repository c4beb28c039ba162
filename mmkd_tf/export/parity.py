"""Compares an exported file with the Keras model that it was made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from mmkd_tf.export.heads import comparable, same_answers, spread_of
from mmkd_tf.export.logits import check_logits, keras_logits
from mmkd_tf.export.trials import run_batches, run_both_ways, sizes_to_try, without
from mmkd_tf.tasks import headline

MAX_LOGIT_DIFFERENCE = 1e-4
MIN_TOP1_AGREEMENT = 0.95
MAX_RELATIVE_ERROR = 0.1


@dataclass(frozen=True)
class Export:
    """An exported file, and how it did beside Keras.

    Attributes:
        file: Path of the file or folder.
        bytes: Its size.
        latency_ms: Median time of a call for one example, one thread, in milliseconds.
        max_abs_logit_difference: Largest difference of a log-probability from Keras, in nats; of
            regression, of a value in standard deviations of the targets.
        top1_agreement: Share of the examples with the same first class as in Keras, 0 to 1;
            classes that Keras holds equal to 1e-6 nats count as the same. Of other tasks, see
            `mmkd_tf.export.heads.same_answers`.
        num_examples: Number of examples compared.
        accuracy: Share of the examples for which the file gives the label, 0 to 1, or what else
            is the task's headline figure, see `mmkd_tf.tasks`; None where no labels were given.
        keras_accuracy: The same of Keras.
        quantize: How the weights are stored; see `mmkd_tf.export.quantize`.
        batch_size: Number of examples that the file takes at a time, None for any.
        text_input: What the file takes as text, "ids" or "bytes"; None if it takes no text.
        ladder: Where all levels of quantisation were tried, what was seen of each; see
            `mmkd_tf.export.ladder.Rung` for the keys.
        task: What the file was made for, see `mmkd_tf.tasks`.
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
    task: str = "single_label"


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
        max_abs_logit_difference: As in `Export`.
        relative_error: Root mean square of the differences, divided by that of Keras' outputs
            about their mean, see `mmkd_tf.export.heads.spread_of`.
        top1_agreement: As in `Export`.
        scale: How large the logits or values are, at least 1: float32 rounding grows with it.
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


def difference(
    *,
    logits: np.ndarray,
    probabilities: np.ndarray,
    task: str = "single_label",
    labels: np.ndarray | None = None,
) -> Difference:
    """Measures how far a file is from Keras.

    Args:
        logits: What Keras gives, float `[n, num_outputs]`.
        probabilities: What the file gives, of the same shape; values for regression.
        task: The task.
        labels: Of regression the targets, whose standard deviations are the unit.
    """
    expected, found, scale = comparable(logits, probabilities, task=task, labels=labels)
    error = np.sqrt(np.mean(np.square(found - expected)))
    return Difference(
        max_abs_logit_difference=float(np.abs(found - expected).max()),
        relative_error=float(error / max(spread_of(expected, task=task), 1e-6)),
        top1_agreement=same_answers(expected, found, task=task),
        scale=float(scale),
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
    task: str = "single_label",
) -> Parity:
    """Runs a file on examples, twice in other order, and with each modality absent.

    A file for any batch size is run with several: one, one that does not divide the number of
    examples, and a large one.

    Args:
        model: The model that the file was made from.
        run: Runs the file on `[n, ...]` tensors by name, gives probabilities or values
            `[n, num_classes]`; for any n up to `batch_size`.
        inputs: Examples in tensor form.
        exact: Whether the file should equal Keras up to rounding, or is quantised.
        file_inputs: The same examples as the file takes them, where that is something else, such
            as the bytes of texts.
        labels: Of the examples, as `Examples.labels`, for the accuracy.
        batch_size: Number of examples that the file takes at a time, None for any.
        logits: What `keras_logits` gives for `inputs`, where the caller has it already.
        task: What the file was made for.

    Returns:
        How far the file is from Keras on `inputs` as they are.

    Raises:
        ValueError: If the model is unfit: it gives values that are not finite, or probabilities.
        RuntimeError: If the file breaks the bound (see `Difference.exceeds`) or keeps a state.
    """
    file_inputs = inputs if file_inputs is None else file_inputs
    num_examples = len(next(iter(inputs.values())))
    logits = keras_logits(model, inputs) if logits is None else logits
    check_logits(logits, case="the examples", task=task)
    sizes = sizes_to_try(batch_size, num_examples=num_examples)
    cases, goal = {}, {"task": task, "labels": labels}
    for size in sizes:
        probabilities = run_both_ways(run, file_inputs, size)
        case = "the examples" if len(sizes) == 1 else f"the examples in batches of {size}"
        cases[case] = difference(logits=logits, probabilities=probabilities, **goal)
    complete = list(cases.values())
    for name in inputs:
        case = f"examples without {name}"
        expected = keras_logits(model, without(inputs, name))
        check_logits(expected, case=case, task=task)
        answers = run_batches(run, without(file_inputs, name), sizes[0])
        cases[case] = difference(logits=expected, probabilities=answers, **goal)
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
        accuracy=score(task, probabilities, labels),
        keras_accuracy=score(task, logits, labels),
        num_examples=num_examples,
        batch_sizes=sizes,
    )


def score(task: str, outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Gives the task's headline figure of outputs or logits, None without labels."""
    return None if labels is None else headline(task, labels=labels, outputs=outputs)
