"""Identities of training: each has a direction, learnt beside a model for its loss alone."""

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.losses.embeddings import (
    MARGIN,
    SCALE,
    angular_margin_loss,
    margin_problems,
    same_identity_loss,
)
from mmkd_tf.losses.features import directions


@keras.saving.register_keras_serializable("mmkd_tf")
class AngularMargin(keras.losses.Loss):
    """Cross-entropy of identities by angle with a margin, as a Keras loss of embeddings.

    An identity that has a direction in `identities` is told from all the others there, by
    `angular_margin_loss`. One that has none, such as those of validation, and all of them where
    there are no `identities`, is told from the others of the batch, by `same_identity_loss`.

    Args:
        margin: Radians, 0 up to pi.
        scale: Of cosines to logits, above 0.
        identities: The layer that `with_identities` puts behind a model; it is not saved with the
            loss.
        reduction: As in Keras.
        name: As in Keras.
    """

    def __init__(
        self,
        margin: float = MARGIN,
        scale: float = SCALE,
        *,
        identities: "Identities | None" = None,
        reduction: str = "sum_over_batch_size",
        name: str = "angular_margin",
    ):
        super().__init__(reduction=reduction, name=name)
        if problems := margin_problems(margin, scale):
            raise ValueError("\n".join(problems))
        self.margin, self.scale, self.identities = margin, scale, identities

    @property
    def between_examples(self) -> bool:
        """Whether a batch's examples are told from each other, see `Distiller.compile`."""
        return self.identities is None

    def call(self, y_true, y_pred):
        """float32 `[batch]` in nats, of int `[batch]` and float `[batch, width]`."""
        numbers = ops.cast(ops.reshape(y_true, [-1]), "int32")
        how = {"margin": self.margin, "scale": self.scale}
        in_batch = same_identity_loss(embeddings=y_pred, identities=numbers, **how)
        if self.identities is None:
            return in_batch
        cosines, places = self.identities.cosines(y_pred, numbers)
        labels = ops.maximum(places, 0)
        learnt = angular_margin_loss(cosines=cosines, labels=labels, **how)
        return ops.where(places >= 0, learnt, in_batch)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}


class Identities(layers.Layer):
    """Gives embeddings `[batch, width]` back; has a direction to learn for each training identity.

    It is no part of a finished model. Its weight `directions` is float32 `[num_identities, width]`.

    Args:
        numbers: The identities' numbers in labels, int `[num_identities]`, each once.
        seed: Seed of the first directions.
    """

    def __init__(self, numbers: np.ndarray, *, seed: int, **kwargs):
        super().__init__(**kwargs)
        self.seed, self.num_identities = seed, len(numbers)
        # One more for a number that is in none of the places.
        self.places = np.full(int(np.max(numbers)) + 2, -1, np.int32)
        self.places[numbers] = np.arange(len(numbers))

    def build(self, embeddings_shape):
        self.directions = self.add_weight(
            name="directions",
            shape=[self.num_identities, embeddings_shape[-1]],
            initializer=keras.initializers.GlorotNormal(self.seed),
        )

    def call(self, embeddings):
        return embeddings

    def compute_output_shape(self, embeddings_shape):
        return embeddings_shape

    def cosines(self, embeddings, numbers):
        """Cosines with all directions, float32 `[batch, num_identities]`, and each one's own place.

        Places are int32 `[batch]`, -1 of a number that has none.
        """
        unknown = len(self.places) - 1
        held = ops.where(numbers < 0, unknown, ops.minimum(numbers, unknown))
        towards = directions(ops.cast(self.directions, "float32"))
        cosines = ops.matmul(ops.cast(embeddings, "float32"), ops.transpose(towards))
        return cosines, ops.take(ops.convert_to_tensor(self.places), held)


def with_identities(
    model: keras.Model, labels: np.ndarray, *, seed: int = 0, **arguments
) -> tuple[keras.Model, AngularMargin]:
    """Makes of a model of embeddings what is trained, and the loss to train it by.

    Args:
        model: Functional, gives embeddings `[batch, width]`; trained, it has learnt what the other
            has, as they share all layers but one.
        labels: Of the training examples, int `[n]`.
        seed: Seed of the identities' first directions.
        **arguments: `margin` and `scale` of `AngularMargin`.

    Returns:
        A model of the same inputs and outputs with a layer `identities`, and a loss that knows it.

    References:
        Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
        2019.
    """
    layer = Identities(np.unique(labels), seed=seed, name="identities")
    outputs = layer(keras.tree.flatten(model.outputs)[0])
    trained = keras.Model(model.input, outputs, name=model.name)
    return trained, AngularMargin(identities=layer, **arguments)


@keras.saving.register_keras_serializable("mmkd_tf")
class BatchRankOne(keras.metrics.Metric):
    """Share of the examples whose nearest in the batch is of their identity; others don't count.

    Examples that are alone with their identity in the batch are left out, which are most of a
    training batch. It tells how a training goes, and is not comparable with the rank-1 rate on a
    whole split of `Embedding.measure`.
    """

    def __init__(self, name: str = "batch_rank_1"):
        super().__init__(name=name)
        self.found = self.add_weight(name="found", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        embeddings, numbers = ops.cast(y_pred, "float32"), ops.reshape(y_true, [-1])
        scores = ops.matmul(embeddings, ops.transpose(embeddings))
        alike = numbers[:, None] == numbers[None, :]
        mates = ops.logical_and(alike, ops.logical_not(ops.eye(ops.shape(numbers)[0], dtype=bool)))
        best = ops.max(ops.where(mates, scores, -2.0), axis=1)
        # Equals count as better: a model that tells nothing apart finds nothing.
        found = ops.logical_and(best > ops.max(ops.where(alike, -2.0, scores), axis=1), best > -2.0)
        self.found.assign_add(ops.sum(ops.cast(found, "float32")))
        self.count.assign_add(ops.sum(ops.cast(ops.any(mates, axis=1), "float32")))

    def result(self):
        return self.found / ops.maximum(self.count, 1.0)
