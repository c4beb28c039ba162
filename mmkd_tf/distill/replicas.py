"""Training over several devices by `tf.distribute`: each example counts as on one device.

They are of one process, or of several, see `mmkd_tf.distill.workers`.

Every device has a replica of the weights and reads a part of each batch; gradients are summed. A
last batch may divide unevenly, and may leave a replica without any example: Keras then has replicas
count alike and not examples, and clips the gradients of each replica before they are summed. What
is here undoes both.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from mmkd_tf.distill.workers import (
    between_workers,
    take_chiefs_weights,
    together,
    workers_strategy,
)
from mmkd_tf.models.inputs import route
from mmkd_tf.models.seeding import take_over_weights


@functools.cache  # collectives of two strategies in one process get in each other's way
def strategy_by_name(name: str) -> tf.distribute.Strategy | None:
    """Makes the strategy that `training.strategy` names; None where one device trains.

    That of several processes is to be made before TensorFlow computes anything, and waits for all.

    Raises:
        ValueError: If there are no two devices, or processes in TF_CONFIG.
    """
    if together(name):
        return workers_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return None
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if len(devices) < 2:
        raise ValueError(
            "`training.strategy`: mirrored where TensorFlow sees two GPUs or more. Received: "
            f"mirrored, {len(gpus)} of them. Take auto, which uses what there is, or none; "
            "`nvidia-smi` and CUDA_VISIBLE_DEVICES tell why a GPU is not seen."
        )
    # Between GPUs TensorFlow's own choice; between parts of a processor the plain sum.
    how = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=how)


@contextmanager
def over_devices(model: keras.Model, strategy: str) -> Iterator[keras.Model]:
    """Gives what is trained in place of a model, whose weights it has and gives back at the end.

    On one device that is the model itself. Else it is a copy with its weights on all devices, whose
    batch normalisation takes its statistics over all of a batch; what comes before and after
    training is then no concern of the devices.

    Args:
        model: Functional; its layers can be made from their configs where they have variables.
        strategy: As `training.strategy`.
    """
    found = strategy_by_name(strategy)
    if found is None:
        yield model
        return
    with found.scope():
        copy = keras.models.clone_model(model, clone_function=_copied)
        pairs = [(layer, copy.get_layer(layer.name)) for layer in model.layers]
        for layer, copied in pairs:
            take_over_weights(layer, copied)
        if between_workers(found):
            take_chiefs_weights(copy, found)
        yield copy
    for layer, copied in pairs:
        layer.set_weights(copied.get_weights())


def _copied(layer):
    """A layer's copy; one without variables serves both models, as operations do."""
    if not getattr(layer, "variables", ()):
        return layer
    made = type(layer).from_config(layer.get_config())
    for part in made._flatten_layers():
        if isinstance(part, layers.BatchNormalization):
            part.synchronized = True
    return made


class Counts:
    """How the losses of a replica are reduced so that over all replicas each example counts alike.

    Made within a step, of a tensor `[batch, ...]` of the replica.
    """

    def __init__(self, values):
        self.replicas = tf.distribute.get_strategy().num_replicas_in_sync
        own = tf.shape(values)[0]
        self._share: Any = 1.0
        self._examples: Any = own  # of a replica, on average
        if self.replicas > 1:
            every = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.cast(own, tf.float32)
            )
            self._examples = every / self.replicas
            self._share = tf.cast(own, tf.float32) / self._examples

    def part(self, mean):
        """Of a mean over a replica's examples, as Keras' losses give it, the part in the loss.

        Keras has divided it by the number of replicas. The parts of all replicas add up to the mean
        over all of the batch.
        """
        # Of no examples Keras may give no mean, `[0]`.
        return mean if self.replicas == 1 else tf.reduce_sum(mean) * self._share

    def track(self, metric: keras.metrics.Mean, part) -> None:
        """Adds what the parts of all replicas add up to to a running mean over examples."""
        metric.update_state(part * self.replicas, sample_weight=self._examples)


def regularisation(model: keras.Model):
    """A replica's part of what a model's layers cost beside its answers, a float32 scalar.

    Gradients are summed over replicas, and each replica has the same weights to regularise.
    """
    # Those of activities may be in half precision beside weights in full.
    costs = [ops.cast(loss, "float32") for loss in model.losses]
    return sum(costs) / model.distribute_strategy.num_replicas_in_sync


class ClippingAdamW(keras.optimizers.AdamW):
    """AdamW that clips what the gradients of all replicas add up to, variable by variable.

    Keras clips those of each replica, whose sum may then point elsewhere.

    Args:
        limit: Greatest norm of a variable's gradient, above 0.
        **kwargs: Those of AdamW but for its own clipping.
    """

    def __init__(self, *, limit: float, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def apply(self, grads, trainable_variables=None):
        sparse = [isinstance(gradient, tf.IndexedSlices) for gradient in grads]
        # Of the rows of an embedding Keras takes the norm before equal ones are added up.
        parts = [
            tf.reduce_sum(tf.square(gradient.values)) if rows else gradient
            for gradient, rows in zip(grads, sparse, strict=True)
        ]
        there = [part for part in parts if part is not None]
        context = tf.distribute.get_replica_context()
        totals = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, there))
        clipped = []
        for gradient, rows in zip(grads, sparse, strict=True):
            if gradient is not None:
                total = next(totals)
                norm = tf.sqrt(total) if rows else tf.norm(total)
                gradient = ops.multiply(gradient, self.limit / tf.maximum(norm, self.limit))
            clipped.append(gradient)
        super().apply(clipped, trainable_variables)


def first_part(model: keras.Model, iterator):
    """The first replica's part of the first batch, by which Keras makes a model's variables.

    Keras itself takes the mean of the parts, which is refused where they are not of one size, and
    between workers where batches are by name.
    """
    parts = model.distribute_strategy.experimental_local_results
    _, _, batches = next(iter(iterator))
    return keras.tree.map_structure(lambda value: parts(value)[0], next(batches))


def figures(results):
    """A step's figures by name, so that Keras can take their mean over replicas.

    Between workers it takes that of scalars along an axis, which they do not have.
    """
    if not between_workers(tf.distribute.get_strategy()):
        return results
    return {name: ops.reshape(value, [1]) for name, value in results.items()}


class OnLabels(keras.Model):
    """A model that learns from labels over several replicas; its layers are the model's.

    Args:
        model: Functional, made in the scope of a strategy.
        loss: A Keras loss of each example.
    """

    def __init__(self, model: keras.Model, loss: keras.losses.Loss):
        super().__init__(dtype=model.dtype_policy, autocast=False)
        self.model, self.label_loss = model, loss
        self.loss_tracker = keras.metrics.Mean("loss")
        self.built = True

    def call(self, inputs, training=None):
        return self.model(route(self.model, inputs), training=training)

    def train_step(self, data):
        """As Keras' own, but that each example of a batch counts alike."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            counts = Counts(outputs)
            loss = counts.part(self.label_loss(y, outputs, sample_weight))
            loss += regularisation(self)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        counts.track(self.loss_tracker, loss)
        return self.compute_metrics(x, y, outputs, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(x, training=False)
        counts = Counts(outputs)
        loss = counts.part(self.label_loss(y, outputs, sample_weight))
        counts.track(self.loss_tracker, loss + regularisation(self))
        return self.compute_metrics(x, y, outputs, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return figures(super().compute_metrics(x, y, y_pred, sample_weight))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None:
            data_batch = first_part(self, iterator)
        super()._maybe_symbolic_build(data_batch=data_batch)
