"""What a two-tower model is trained for: a picture and a text that belong together find each other.

Labels are numbers of items, see `Examples.labels`; outputs are pairs, see `mmkd_tf.losses.pairs`.
"""

import keras
from keras import ops

from mmkd_tf.losses.pairs import matching_loss


@keras.saving.register_keras_serializable("mmkd_tf")
class MatchingLoss(keras.losses.Loss):
    """`mmkd_tf.losses.pairs.matching_loss` as a Keras loss.

    What a pair is told from is the batch, under a distribution strategy that of one replica.

    Args:
        reduction: As in Keras.
        name: As in Keras.
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "matching"):
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true, y_pred):
        """Gives float32 `[batch]`."""
        return matching_loss(pairs=y_pred, items=ops.reshape(y_true, [-1]))


class BatchRecall(keras.metrics.Metric):
    """Share of the pictures whose text is among the best ten of the batch.

    A smaller batch makes it easier: it tells how a training goes, and is not comparable with the
    recall on a whole split of `mmkd_tf.evaluate.retrieval`.

    Args:
        name: As in Keras.
    """

    def __init__(self, name: str = "batch_recall_at_10"):
        super().__init__(name=name)
        self.found = self.add_weight(name="found", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the pictures of a batch, whatever they weigh."""
        first, second = ops.split(ops.cast(y_pred, "float32"), 2, axis=1)
        scores = ops.matmul(first, ops.transpose(second))
        items = ops.reshape(y_true, [-1])
        wrong = items[:, None] != items[None, :]
        own = ops.diagonal(scores)[:, None]
        # Equals count as better: a model that tells nothing apart finds nothing.
        better = ops.sum(ops.cast(ops.logical_and(wrong, scores >= own), "float32"), axis=1)
        self.found.assign_add(ops.sum(ops.cast(better < 10, "float32")))
        self.count.assign_add(ops.cast(ops.shape(items)[0], "float32"))

    def result(self):
        """The share, 0 to 1."""
        return self.found / ops.maximum(self.count, 1.0)
