"""Tries the levels of quantisation and takes the smallest file that keeps the accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.interleaved import interleaved_latency_ms
from mmkd_tf.export.parity import difference, score
from mmkd_tf.export.quantize import LEVELS, quantize
from mmkd_tf.tasks import HEADLINES


@dataclass(frozen=True)
class Rung:
    """What was seen of one level.

    Attributes:
        level: One of `mmkd_tf.export.quantize.LEVELS`.
        bytes: Size of the file without metadata. None, as all that follows, where the file
            can't be made.
        accuracy: As in `mmkd_tf.export.parity.Export`; None without labels.
        top1_agreement: As there.
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
    max_abs_logit_difference: float | None = None
    latency_ms: float | None = None
    accepted: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Ladder:
    """All levels, and the one that was taken.

    Attributes:
        rungs: One for each level, in order.
        level: The level that was taken.
        content: Its file.
        keras_accuracy: Accuracy of Keras in float32 on the same examples; None without labels.
        max_accuracy_loss: What a level may lose, as a share.
    """

    rungs: tuple[Rung, ...]
    level: str
    content: bytes
    keras_accuracy: float | None
    max_accuracy_loss: float


def climb(
    content: bytes,
    *,
    calibration: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    logits: np.ndarray,
    labels: np.ndarray | None = None,
    max_accuracy_loss: float = 0.005,
    min_top1_agreement: float = 0.99,
    task: str = "single_label",
) -> Ladder:
    """Quantises a model in every way, measures each, and takes the smallest file that is accepted.

    A level is accepted if its accuracy, or what is the task's headline figure, is at most
    `max_accuracy_loss` below Keras' and its first class is Keras' in `min_top1_agreement` of the
    examples: on a few hundred examples gains and losses of an inaccurate file can cancel out by
    luck. One example alone does not decide, unless a bound allows nothing. Without labels, all
    disagreement counts as lost accuracy. A level that can't be made is listed with the reason.
    float32 is always there.

    Args:
        content: A float32 TFLite model, as `convert` makes it.
        calibration: By input name, examples to quantise with, see `quantize`; of the training
            split, so that `inputs` stay unseen.
        inputs: By input name, examples to measure with, of the validation split, in the form that
            the file takes.
        logits: What Keras gives for `inputs`, float32 `[n, num_classes]`.
        labels: As `Examples.labels`.
        max_accuracy_loss: 0 to 1; 0.005 is half a point.
        min_top1_agreement: 0 to 1; 0 leaves the choice to the accuracy.
        task: What the file was made for.

    Returns:
        All levels, and the file.

    Raises:
        ValueError: If an argument does not fit; the message lists all that is wrong.
    """
    logits = np.asarray(logits)
    _check(inputs, logits, labels, max_accuracy_loss, min_top1_agreement, task)
    contents, rungs = {}, {}
    for level in LEVELS:
        try:
            contents[level] = quantize(content, level=level, examples=calibration, task=task)
            rungs[level] = _measure(level, contents[level], inputs, logits, labels, task)
        except Exception as error:  # whatever one level meets, the others can still be made
            if level == "float32":
                raise
            contents.pop(level, None)
            rungs[level] = Rung(level, reason=f"{type(error).__name__}: {error}")
    keras_accuracy = score(task, logits, labels)
    latencies = interleaved_latency_ms(contents, inputs)
    for level, rung in rungs.items():
        if level in contents:
            # Of numbers a single example never decides as it does of right or wrong.
            fewest = np.inf if task == "regression" else len(logits)
            lost = _allowed(max_accuracy_loss, fewest)
            changed = _allowed(1 - min_top1_agreement, len(logits))
            figure = HEADLINES[task].replace("_", " ")
            reason = _shortfall(rung, keras_accuracy, figure, lost=lost, changed=changed)
            accepted = reason is None or level == "float32"
            rungs[level] = replace(
                rung,
                latency_ms=latencies[level],
                accepted=accepted,
                reason=None if accepted else reason,
            )
    accepted = [rung for rung in rungs.values() if rung.accepted]
    level = min(accepted, key=lambda rung: rung.bytes).level
    return Ladder(tuple(rungs.values()), level, contents[level], keras_accuracy, max_accuracy_loss)


def _check(inputs, logits, labels, max_accuracy_loss, min_top1_agreement, task):
    problems = [
        f"`{name}`: a share from 0 to 1. Received: {name}={value!r}."
        for name, value in (
            ("max_accuracy_loss", max_accuracy_loss),
            ("min_top1_agreement", min_top1_agreement),
        )
        if not 0 <= value <= 1
    ]
    sizes = {name: len(values) for name, values in inputs.items()}
    if logits.ndim != 2 or {len(logits)} != set(sizes.values()) or not len(logits):
        problems.append(
            "`logits`: [n, num_classes] for the n examples in `inputs`, at least one. "
            f"Received: {list(logits.shape)} for {sizes}."
        )
    wanted = logits.shape[:1] if task == "single_label" else logits.shape
    if labels is not None and np.shape(labels) != wanted:
        problems.append(
            f"`labels`: {'[n]' if task == 'single_label' else 'as many'} for {list(logits.shape)} "
            f"logits. Received: {list(np.shape(labels))}."
        )
    if problems:
        raise ValueError("\n".join(problems))


def _measure(level, content, inputs, logits, labels, task):
    probabilities = TensorRunner(content)(inputs)
    found = difference(logits=logits, probabilities=probabilities, task=task, labels=labels)
    return Rung(
        level,
        bytes=len(content),
        accuracy=score(task, probabilities, labels),
        top1_agreement=found.top1_agreement,
        max_abs_logit_difference=found.max_abs_logit_difference,
    )


def _allowed(share, num_examples):
    """On few examples a single one is more than the share, yet it may fall either way by luck."""
    return max(share, 1 / num_examples) + 1e-9 if share > 0 else 0.0


def _shortfall(rung, keras_accuracy, figure, *, lost, changed):
    """Says why a level is not accepted, or gives None."""
    disagreement = 1 - rung.top1_agreement
    loss = disagreement if keras_accuracy is None else keras_accuracy - rung.accuracy
    reasons = []
    if loss > lost:
        reasons.append(f"loses {loss:.4f} of {figure}, more than {lost:.4f}")
    if disagreement > changed:
        reasons.append(f"differs from Keras in {disagreement:.4f}, more than {changed:.4f}")
    return "; ".join(reasons) or None
