"""Tries the levels of quantisation and takes the smallest file that keeps the accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.latency import interleaved_latency_ms
from mmkd_tf.export.parity import difference
from mmkd_tf.export.quantization.quantizer import LEVELS, quantize
from mmkd_tf.progress import each
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

# On a few hundred examples gains and losses of an inaccurate file can cancel out by luck.
_MIN_GOOD_AGREEMENT = 0.99
# For so small a share of the bytes, no file is taken that is further from Keras.
_WORTH = 0.01
# What the quantizer and the interpreter raise where a model is not for them.
_REFUSALS = (ImportError, ValueError, RuntimeError)


@dataclass(frozen=True)
class LevelResult:
    """What was seen of one level.

    Attributes:
        level: One of `LEVELS`.
        bytes: Size of the file without metadata. None, as all that follows, where the file
            can't be made.
        accuracy: As in `mmkd_tf.export.parity.Export`; None without labels.
        top1_agreement: As there.
        good_agreement: The same, near ties counted as the same, see
            `mmkd_tf.tasks.task.Task.good_answers`.
        max_abs_logit_difference: As there.
        latency_ms: Median time of a call, one thread, in milliseconds; all levels in one
            interleaved run.
        accepted: Whether the file is good enough.
        reason: Why it is not; None if it is.
    """

    level: str
    bytes: int | None = None
    accuracy: float | None = None
    top1_agreement: float | None = None
    good_agreement: float | None = None
    max_abs_logit_difference: float | None = None
    latency_ms: float | None = None
    accepted: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Selection:
    """All levels, and the one that was taken.

    Attributes:
        results: One for each level, in order.
        level: The level that was taken.
        content: Its file.
        keras_accuracy: Accuracy of Keras in float32 on the same examples; None without labels.
    """

    results: tuple[LevelResult, ...]
    level: str
    content: bytes
    keras_accuracy: float | None


def select_level(
    content: bytes,
    *,
    calibration: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    logits: np.ndarray,
    labels: np.ndarray | None = None,
    max_accuracy_loss: float = 0.005,
    task: Task | str = DEFAULT_TASK,
) -> Selection:
    """Quantises a model in every way, measures each, and takes the smallest file that is accepted.

    A level is accepted if its accuracy, or what is the task's headline figure, is at most
    `max_accuracy_loss` below Keras' and its first class is Keras' in 99 % of the examples. A class
    that Keras holds likely up to 0.05 of probability less than its own counts as Keras': such near
    ties are a percent or two of any split, rounding decides them by chance, and to change one costs
    hardly more than nothing. One example alone does not decide, unless nothing may be lost. Without
    labels, all such disagreement counts as lost accuracy. A level that can't be made is listed with
    the reason. float32 is always there. Of files that are hardly larger than the smallest, up to
    1 %, the one is taken that is nearest to Keras.

    Args:
        content: A float32 TFLite model, as `convert` makes it.
        calibration: By input name, examples to quantise with, see `quantize`; of the training
            split, so that `inputs` stay unseen.
        inputs: By input name, examples to measure with, of the validation split, in the form that
            the file takes.
        logits: What Keras gives for `inputs`, float32 `[n, num_outputs]`.
        labels: As `Examples.labels`.
        max_accuracy_loss: 0 to 1; 0.005 is half a point.
        task: What the file was made for, or its name.

    Returns:
        All levels, and the file.

    Raises:
        ValueError: If an argument does not fit; the message lists all that is wrong.
    """
    task, logits = find_task(task), np.asarray(logits)
    labels = None if labels is None else np.asarray(labels)
    _check(inputs, logits, labels, max_accuracy_loss, task)
    contents, results = {}, {}
    for level in each(LEVELS, "levels of quantisation", len(LEVELS)):
        try:
            made = quantize(content, level=level, examples=calibration, task=task)
            results[level] = _measure(level, made, inputs, logits, labels, task)
        except _REFUSALS as error:
            if level == "float32":
                raise
            results[level] = LevelResult(level, reason=f"{type(error).__name__}: {error}")
        else:
            contents[level] = made
    keras_accuracy = None if labels is None else task.score(labels=labels, outputs=logits)
    latencies = interleaved_latency_ms(contents, inputs)
    # Of numbers a single example never decides as it does of right or wrong.
    lost = _allowed(max_accuracy_loss, np.inf if task.takes_numbers else len(logits))
    figure = task.headline.replace("_", " ")
    for level in contents:
        reason = _shortfall(results[level], keras_accuracy, figure, lost=lost, total=len(logits))
        accepted = reason is None or level == "float32"
        results[level] = replace(
            results[level],
            latency_ms=latencies[level],
            accepted=accepted,
            reason=None if accepted else reason,
        )
    accepted = [result for result in results.values() if result.accepted]
    level = _best(accepted)
    return Selection(tuple(results.values()), level, contents[level], keras_accuracy)


def _best(accepted: list[LevelResult]) -> str:
    """The level of the smallest file, or of one hardly larger that is nearer to Keras."""
    sizes = [result.bytes or 0 for result in accepted]
    largest = (1 + _WORTH) * min(sizes)
    found = [r for r, size in zip(accepted, sizes, strict=True) if size <= largest]
    return min(found, key=lambda result: (result.max_abs_logit_difference, result.bytes)).level


def _check(inputs, logits, labels, max_accuracy_loss, task: Task) -> None:
    """Raises an error that lists all that is wrong with the arguments."""
    problems = []
    if not 0 <= max_accuracy_loss <= 1:
        problems.append(
            "`max_accuracy_loss`: a share from 0 to 1. "
            f"Received: max_accuracy_loss={max_accuracy_loss!r}."
        )
    sizes = {name: len(values) for name, values in inputs.items()}
    if logits.ndim != 2 or {len(logits)} != set(sizes.values()) or not len(logits):
        problems.append(
            "`logits`: [n, num_outputs] for the n examples in `inputs`, at least one. "
            f"Received: {list(logits.shape)} for {sizes}."
        )
    if labels is not None and logits.ndim == 2:
        problems += task.label_problems(labels, logits.shape[1])
        if labels.shape[:1] != logits.shape[:1]:
            problems.append(
                f"`labels`: one for each example, {len(logits)}. Received: {list(labels.shape)}."
            )
    if problems:
        raise ValueError("\n".join(problems))


def _measure(level: str, content: bytes, inputs, logits, labels, task: Task) -> LevelResult:
    answers = TensorRunner(content)(inputs)
    found = difference(logits=logits, probabilities=answers, task=task, labels=labels)
    return LevelResult(
        level,
        bytes=len(content),
        accuracy=None if labels is None else task.file_score(labels=labels, answers=answers),
        top1_agreement=found.top1_agreement,
        good_agreement=found.good_agreement,
        max_abs_logit_difference=found.max_abs_logit_difference,
    )


def _allowed(share: float, num_examples: float) -> float:
    """On few examples a single one is more than the share, yet it may fall either way by luck."""
    return max(share, 1 / num_examples) + 1e-9 if share > 0 else 0.0


def _shortfall(
    result: LevelResult, keras_accuracy: float | None, figure: str, *, lost: float, total: int
) -> str | None:
    """Says why a level is not accepted, or gives None."""
    disagreement = 1 - (result.good_agreement or 0.0)
    changed = _allowed(1 - _MIN_GOOD_AGREEMENT, total)
    loss = disagreement if keras_accuracy is None else keras_accuracy - (result.accuracy or 0.0)
    reasons = []
    if loss > lost:
        reasons.append(f"loses {loss:.4f} of {figure}, more than {lost:.4f}")
    if disagreement > changed:
        reasons.append(f"differs from Keras in {disagreement:.4f}, more than {changed:.4f}")
    return "; ".join(reasons) or None
