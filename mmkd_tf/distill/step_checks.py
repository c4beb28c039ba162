"""Checks of a batch in the graph of a step, and what they have found in words."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import keras
import tensorflow as tf

from mmkd_tf.tasks import task_of_loss

_NOT_FINITE = "A teacher gives values that are not finite"
# What an assertion of ours says, in brackets or lines: its kind, of what, least and greatest value.
_FOUND = re.compile(r"mmkd_tf (\w+) ([^\]\n]*)[\]\s\[]+([^\]\s]+)[\]\s\[]+([^\]\s]+)")
_WORDS = {
    "classes": "`y`: whole numbers from 0 to {name}, the numbers of the student's outputs. "
    "Received: labels from {least} to {greatest}. Number the classes from 0 on, or build the "
    "student with an output for each class.",
    "shares": "`y`: 0 or 1 for each output, or a share between them, for {name}. Received: values "
    "from {least} to {greatest}. Give the labels so, or compile with another loss.",
    "numbers": "`y`: finite numbers, 1e18 at most, for {name}. Received: NaN, or {least} to "
    "{greatest}. Leave these rows out, or give them in another unit.",
    "probabilities": "`{name}`: logits, the values before a softmax. Received: a model whose "
    "outputs of the first batch are probabilities, or such times a number ({least} to {greatest}, "
    "of one sum in each row). Make a model that ends before the softmax; a cast, a rescaling or a "
    "Lambda behind it does not give logits.",
}
_OVER_CLASSES = keras.losses.CategoricalCrossentropy
_OVER_LABELS = keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy
_NUMBERS = (
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.Huber,
    keras.losses.LogCosh,
)
# A tiny model may by chance give a few values that all look like probabilities.
_MANY = 64
_ROUNDING = 4e-3  # of sums of probabilities in half precision


def finite(values, name: str):
    """Gives float values of a teacher's layer back, or an InvalidArgumentError; not under XLA."""
    return tf.debugging.check_numerics(values, f"{_NOT_FINITE}: '{name}'")


def check_label_values(y, logits, loss: keras.losses.Loss):
    """Gives labels back; refuses such as are none of the student's outputs; not under XLA."""
    values, name, labels = tf.cast(y, tf.float64), type(loss).__name__, tf.convert_to_tensor(y)
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        classes = logits.shape[-1]
        fits = (values >= 0) & (values < classes) & (values == tf.floor(values))
        if (ignored := getattr(loss, "ignore_class", None)) is not None:
            fits |= values == float(ignored)
        found = _assert(tf.reduce_all(fits), "classes", str(classes - 1), values)
    elif isinstance(loss, (*_OVER_LABELS, _OVER_CLASSES)):
        found = _assert(tf.reduce_all((values >= 0) & (values <= 1)), "shares", name, values)
    elif isinstance(loss, _NUMBERS):
        fits = tf.abs(values) <= 1e18  # float32 holds squares of such
        found = _assert(tf.reduce_all(fits), "numbers", name, values)
    else:
        return y
    with tf.control_dependencies([found]):  # nothing is learned from them
        return tf.identity(labels)


def check_no_probabilities(logits: Mapping, loss: keras.losses.Loss, step) -> None:
    """Looks at the first batch of all: logits by model, float `[batch, num_classes]`.

    Rows without a negative value that all have the same sum are probabilities behind a cast, a
    rescaling or whatever else hides the softmax.
    """
    for name, values in logits.items():
        values = tf.cast(values, tf.float32)
        if task_of_loss(loss).has_one_class:
            found = _sum_up(values)
        elif isinstance(loss, _OVER_LABELS):
            found = tf.reduce_all((values >= 0) & (values <= 1)) & (tf.size(values) >= _MANY)
        else:
            continue
        _assert(
            tf.logical_not(found & (tf.cast(step, tf.int64) == 0)), "probabilities", name, values
        )


def _sum_up(values: tf.Tensor) -> tf.Tensor:
    sums = tf.reduce_sum(values, axis=1)
    mean = tf.math.divide_no_nan(tf.reduce_sum(sums), tf.cast(tf.size(sums), tf.float32))
    even = (mean > 0) & tf.reduce_all(tf.abs(sums - mean) <= _ROUNDING * mean)
    # All rows alike, as those of a model that was never trained, say nothing; nor do zeros, which
    # logits made of labels have and a softmax hardly.
    scaled = tf.reduce_all(values > 0) & tf.reduce_any(tf.abs(values - values[:1]) > 1e-4 * mean)
    plain = tf.reduce_all(values >= 0) & (tf.abs(mean - 1) <= _ROUNDING)
    return even & (scaled | plain)


def _assert(condition, kind: str, name: str, values):
    least, greatest = tf.reduce_min(values), tf.reduce_max(values)
    return tf.debugging.Assert(condition, [f"mmkd_tf {kind} {name}", least, greatest])


@contextmanager
def in_words() -> Iterator[None]:
    """Says in words of ours what the graph found in a batch."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if found := _FOUND.search(str(error)):
            kind, name, *ends = found.groups()
            least, greatest = (f"{float(number):g}" for number in ends)
            words = _WORDS[kind].format(name=name.strip("'"), least=least, greatest=greatest)
            raise ValueError(words) from None
        found = re.search(f"{_NOT_FINITE}: ('.*?')", str(error))
        if not found:
            raise
        raise ValueError(
            "`teacher`: finite values for every example. Received: NaN or infinity in a batch of "
            f"{found[1]} (teacher/layer). Look for NaN in the data and in what the teacher "
            "predicts."
        ) from None
