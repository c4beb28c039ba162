"""Heads: what an exported file makes of a model's outputs for each task, and how it is compared."""

import numpy as np
import tensorflow as tf

from mmkd_tf.tasks import THRESHOLD

# Outputs closer than this are equal up to float32 rounding.
_TIE = 1e-6
# Probabilities below this are lost in float32, so logits are compared no further down.
_SMALLEST = 1e-30
# A value counts as Keras' if it is nearer than this many standard deviations.
_NEAR = 0.1
# Embeddings with at least this cosine are as good as the same.
_COSINE = 0.99
# The share of a value by which float32 may round it, beside 1e-4 of a standard deviation.
_ROUNDING = 1e-2


def activate(logits: tf.Tensor, *, task: str, name: str | None = None) -> tf.Tensor:
    """Gives a file's output: probabilities of one class or of each label; others as they are."""
    logits = tf.cast(logits, tf.float32)
    if task in ("regression", "retrieval"):
        return tf.identity(logits, name=name)
    return tf.nn.softmax(logits, name=name) if task == "single_label" else tf.sigmoid(logits, name)


def as_logits(outputs: np.ndarray, *, task: str) -> np.ndarray:
    """Undoes `activate` up to rounding, and up to a constant in each row of one class."""
    if task in ("regression", "retrieval"):
        return outputs
    log_probs = np.log(np.maximum(outputs, _SMALLEST))
    if task == "single_label":
        return log_probs
    return log_probs - np.log(np.maximum(1 - outputs, _SMALLEST))


def comparable(
    logits: np.ndarray, outputs: np.ndarray, *, task: str, labels: np.ndarray | None = None
) -> tuple:
    """Makes Keras' outputs and a file's comparable.

    Args:
        logits: What Keras gives, float `[n, num_outputs]`.
        outputs: What the file gives, float `[n, num_outputs]`.
        task: The task.
        labels: Of regression the targets, whose standard deviations are the unit; without, those
            of Keras' outputs are.

    Returns:
        Both in float64: logarithms of probabilities, in nats, values in standard deviations, or
        embeddings as they are; and the scale with which float32 rounding grows, at least 1.
    """
    logits, outputs = logits.astype(np.float64), outputs.astype(np.float64)
    if task == "retrieval":
        return logits, outputs, 1.0
    if task == "regression":
        size = np.abs(logits).max(axis=0)
        spread = (logits if labels is None else np.asarray(labels, np.float64)).std(axis=0)
        unit = np.where(spread > _TIE * size, spread, np.maximum(1.0, size))
        far = np.abs(logits - logits.mean(axis=0)) / unit
        return logits / unit, outputs / unit, max(1.0, far.max(), (_ROUNDING * size / unit).max())
    if task == "single_label":
        shifted = logits - logits.max(axis=1, keepdims=True)
        expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        scale = np.abs(logits - logits.mean(axis=1, keepdims=True)).max()
    else:
        expected, scale = -np.logaddexp(0, -logits), np.abs(logits).max()
    found = np.log(np.maximum(outputs, _SMALLEST))
    return np.maximum(expected, np.log(_SMALLEST)), found, max(1.0, scale)


def spread_of(expected: np.ndarray, *, task: str) -> float:
    """Root mean square of outputs about their mean: of an example's classes, else of an output."""
    axis = 1 if task == "single_label" else 0
    return float(np.sqrt(np.mean(np.square(expected - expected.mean(axis=axis, keepdims=True)))))


def same_answers(expected: np.ndarray, found: np.ndarray, *, task: str) -> float:
    """Share of a file's answers that are Keras', 0 to 1, of what `comparable` gives.

    Of one class, the share of the examples with the same first class; of several labels, F1 of
    the labels given; of values, the share that is nearer than a tenth of a standard deviation; of
    embeddings, the share whose cosine with Keras' is 0.99 or more.
    What Keras itself holds undecided up to 1e-6 counts as the same.
    """
    if task == "single_label":
        first = np.take_along_axis(expected, found.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
        return float(np.mean(first >= expected.max(axis=1) - _TIE))
    if task == "regression":
        return float(np.mean(np.abs(expected - found) <= _NEAR))
    if task == "retrieval":
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        both_zero = ~(expected.any(axis=1) | found.any(axis=1))
        cosines = (expected * found).sum(axis=1) / np.maximum(lengths, _TIE)
        return float(np.mean((cosines >= _COSINE) | both_zero))
    bound = np.log(THRESHOLD)
    given = found > bound
    keras = np.where(np.abs(expected - bound) <= _TIE, given, expected > bound)
    total = keras.sum() + given.sum()
    return float(2 * (keras & given).sum() / total) if total else 1.0
