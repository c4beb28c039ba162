"""Compares an exported file with the Keras model that it was made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.convert import portable
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

MAX_LOGIT_DIFFERENCE = 1e-4
MIN_TOP1_AGREEMENT = 0.95
MAX_RELATIVE_ERROR = 0.1

_KERAS_BATCH = 250  # an eager step of an LSTM costs about the same for many
_LARGE_BATCH = 32
_NUM_FEW = 50
_LARGEST_DEVIATION = 1e-5

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
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
            `mmkd_tf.tasks.task.Task.same_answers`.
        num_examples: Number of examples compared.
        accuracy: Share of the examples for which the file gives the label, 0 to 1, or what else
            is the task's headline figure; None where no labels were given.
        keras_accuracy: The same of Keras.
        quantize: How the weights are stored; see `mmkd_tf.export.quantization`.
        batch_size: Number of examples that the file takes at a time, None for any.
        text_input: What the file takes as text, "ids" or "bytes"; None if it takes no text.
        ladder: Where all levels of quantisation were tried, what was seen of each; see
            `mmkd_tf.export.quantization.LevelResult` for the keys.
        task: Name of what the file was made for.
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
    task: str = DEFAULT_TASK


@dataclass(frozen=True)
class Parity:
    """How a file did beside Keras, over all batch sizes; for the other attributes see `Export`.

    Attributes:
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
            about their mean, see `mmkd_tf.tasks.task.Task.spread`.
        top1_agreement: As in `Export`.
        good_agreement: The same, but what Keras holds nearly as likely as its own answer counts
            too, see `mmkd_tf.tasks.task.Task.good_answers`.
        scale: How large the logits or values are, at least 1: float32 rounding grows with it.
    """

    max_abs_logit_difference: float
    relative_error: float
    top1_agreement: float
    good_agreement: float
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
    task: Task | str = DEFAULT_TASK,
    labels: np.ndarray | None = None,
) -> Difference:
    """Measures how far what a file gives is from Keras' logits, both `[n, num_outputs]`.

    Of regression, `labels` are the targets, whose standard deviations are the unit.
    """
    task = find_task(task)
    expected, found, scale = task.comparable(logits, probabilities, labels)
    error = np.sqrt(np.mean(np.square(found - expected)))
    return Difference(
        max_abs_logit_difference=float(np.abs(found - expected).max()),
        relative_error=float(error / max(task.spread(expected), 1e-6)),
        top1_agreement=task.same_answers(expected, found),
        good_agreement=task.good_answers(expected, found),
        scale=float(scale),
    )


def compare(
    *,
    model: keras.Model,
    run: Run,
    inputs: Mapping[str, np.ndarray],
    exact: bool,
    file_inputs: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    batch_size: int | None = None,
    logits: np.ndarray | None = None,
    task: Task | str = DEFAULT_TASK,
) -> Parity:
    """Runs a file on examples, twice in other order, and with each input absent.

    A file for any batch size is run with several: one, one that does not divide the number of
    examples, and a large one.

    Args:
        model: The model that the file was made from.
        run: Runs the file on up to `batch_size` examples by name, gives `[n, num_outputs]`.
        inputs: Examples in tensor form.
        exact: Whether the file should equal Keras up to rounding, or is quantised.
        file_inputs: The same as the file takes them, where that differs, such as texts' bytes.
        labels: Of the examples, as `Examples.labels`, for the accuracy.
        batch_size: Number of examples that the file takes at a time, None for any.
        logits: What `keras_logits` gives for `inputs`, where the caller has it already.
        task: What the file was made for, or its name.

    Raises:
        ValueError: If the model gives values that are not finite, or probabilities.
        RuntimeError: If the file breaks the bound (see `Difference.exceeds`) or keeps a state.
    """
    task = find_task(task)
    file_inputs = inputs if file_inputs is None else file_inputs
    num_examples = len(next(iter(inputs.values())))
    logits = keras_logits(model, inputs) if logits is None else logits
    check_logits(logits, case="the examples", task=task)
    sizes = sizes_to_try(batch_size, num_examples=num_examples)
    cases, goal = {}, dict[str, Any](task=task, labels=labels)
    for size in reversed(sizes):  # what depends on the size alone shows on a few examples
        few = slice(None if size == sizes[0] else _NUM_FEW)
        answers = run_both_ways(run, {name: x[few] for name, x in file_inputs.items()}, size)
        case = "the examples" if len(sizes) == 1 else f"the examples in batches of {size}"
        of_these = None if labels is None else labels[few]
        cases[case] = difference(
            logits=logits[few], probabilities=answers, task=task, labels=of_these
        )
    complete = list(cases.values())
    for name in inputs:
        case = f"examples without {name}"
        expected = keras_logits(model, without(inputs, name))
        check_logits(expected, case=case, task=task)
        found = run_batches(run, without(file_inputs, name), sizes[0])
        cases[case] = difference(logits=expected, probabilities=found, **goal)
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
        accuracy=task.file_score(labels=labels, answers=answers) if labels is not None else None,
        keras_accuracy=task.score(labels=labels, outputs=logits) if labels is not None else None,
        num_examples=num_examples,
        batch_sizes=sizes,
    )


def keras_logits(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Computes what Keras gives, float32 `[n, num_outputs]`, of examples in tensor form.

    On the CPU, because GPUs round the factors of float32 products.
    """
    num_examples = len(next(iter(inputs.values())))
    with tf.device("CPU:0"), portable(model):
        batches = [
            call_by_name(
                model, {k: tf.constant(v[i : i + _KERAS_BATCH]) for k, v in inputs.items()}
            )
            for i in range(0, num_examples, _KERAS_BATCH)
        ]
    return np.concatenate([np.asarray(batch, np.float32) for batch in batches])


def check_logits(logits: np.ndarray, *, case: str, task: Task | str = DEFAULT_TASK) -> None:
    """Refuses values that are not finite, and probabilities where logits should be."""
    if not np.isfinite(logits).all():
        raise ValueError(
            f"`model`: finite logits. Received: NaN or infinity in Keras itself on {case}. "
            "Train it anew, or let it cope with inputs of zeros, which stand for absent ones."
        )
    if problem := find_task(task).output_problems(logits):
        raise ValueError(problem)


def sizes_to_try(batch_size: int | None, *, num_examples: int) -> tuple[int, ...]:
    """Gives the batch sizes to run a file with: the one that it has, or of any size three.

    These are a large one, one that leaves a rest, and 1: the interpreter first allocates for many
    examples, then for few.
    """
    if batch_size is not None:
        return (batch_size,)
    leaves_rest = next(size for size in range(3, num_examples + 4) if num_examples % size)
    return tuple(dict.fromkeys([min(num_examples, _LARGE_BATCH), leaves_rest, 1]))


def run_both_ways(run: Run, inputs: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Runs a file on examples in both orders; a RuntimeError if the answers depend on it."""
    answers = run_batches(run, inputs, size)
    backwards = {name: values[::-1] for name, values in inputs.items()}
    again = run_batches(run, backwards, size)[::-1]
    if not np.allclose(answers, again, atol=_LARGEST_DEVIATION):
        raise RuntimeError(
            "The exported file answers otherwise when examples come in another order, in batches "
            f"of {size}, so it keeps a state between calls or mixes examples. Report the model's "
            "layers as a defect of mmkd_tf."
        )
    return answers


def run_batches(run: Run, inputs: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Runs a file on examples, `size` of them at a time: `[n, num_outputs]`."""
    num_examples = len(next(iter(inputs.values())))
    batches = [
        run({name: np.ascontiguousarray(values[i : i + size]) for name, values in inputs.items()})
        for i in range(0, num_examples, size)
    ]
    return np.concatenate(batches)


def without(inputs: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Gives the first 50 examples, with one input absent."""
    return {
        key: np.zeros_like(values[:_NUM_FEW]) if key == name else values[:_NUM_FEW]
        for key, values in inputs.items()
    }
