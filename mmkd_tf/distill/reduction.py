"""Reduction: one value an example to one number a batch, in one place."""

import keras


class _Mean(keras.losses.Loss):
    """Reduces a term's values as Keras reduces its own losses, distribution included."""

    def call(self, y_true, y_pred):
        return y_pred


_mean = _Mean(name="term")


def mean_over_batch(values, sample_weight=None):
    """Weighted sum over the batch divided by its size.

    Under a distribution strategy it is divided by the number of replicas as well, because
    gradients are summed over them.

    Args:
        values: float `[batch]`.
        sample_weight: float `[batch]` or None.

    Returns:
        A scalar.
    """
    return _mean(values, values, sample_weight)
