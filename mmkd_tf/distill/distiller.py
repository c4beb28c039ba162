"""Distiller: trains a student on hard labels and on what a teacher says of the same batch."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from mmkd_tf.distill.checks import check_loss, check_pair, check_terms
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.models.outputs import check_gives_logits
from mmkd_tf.models.routing import route


@keras.saving.register_keras_serializable("mmkd_tf")
class Distiller(keras.Model):
    """A Keras model whose `fit` trains a student by knowledge distillation.

    In each step the teacher reads the batch (in inference mode, outside the gradient), then the
    student, and the student's weights follow the gradient of

    `hard_label_weight * loss(labels, student_logits) + sum(term.weight * term) + regularisers`.

    The teacher is never changed, is not among the Distiller's weights, and is not part of
    `distiller.student`, which is what you save, export and ship. `predict` and `evaluate` are
    the student's alone and do not run the teacher; `val_loss` is the student's plain loss on
    the labels, comparable with that of a student trained without a teacher.

    Each model is given the inputs that it names: a student may lack an input of the teacher.

    Args:
        student: Functional model that gives logits `[batch, num_classes]`.
        teacher: Functional model that gives logits of the same classes, trained.

    Raises:
        TypeError: If a model has no symbolic inputs.
        ValueError: If a model ends in a softmax or the numbers of classes differ.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> def classifier(units):
        ...     inputs = {"image": keras.Input([4], name="image")}
        ...     hidden = keras.layers.Dense(units, activation="relu")(inputs["image"])
        ...     return keras.Model(inputs, keras.layers.Dense(3)(hidden))
        >>> distiller = Distiller(student=classifier(2), teacher=classifier(16))
        >>> distiller.compile("adam")
        >>> x, y = {"image": np.zeros([8, 4], "float32")}, np.zeros(8, "int32")
        >>> history = distiller.fit(x, y, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'hard_label_loss', 'loss', 'soft_target_loss']
    """

    def __init__(self, *, student: keras.Model, teacher: keras.Model, **kwargs):
        super().__init__(**kwargs)
        check_gives_logits(teacher, argument="teacher")
        check_gives_logits(student, argument="student")
        check_pair(student=student, teacher=teacher)
        self.student = student
        # Held out of Keras' sight: a tracked teacher would be among the weights to train, to
        # regularise and to place under `distiller.trainable = True`.
        self._held = _Held(teacher)
        self.loss_tracker = keras.metrics.Mean("loss")
        self.built = True

    @property
    def teacher(self) -> keras.Model:
        """The teacher, as it was given."""
        return self._held.model

    def compile(
        self,
        optimizer="adam",
        loss: keras.losses.Loss | None = None,
        metrics: Sequence | None = ("accuracy",),
        *,
        terms: Sequence | None = None,
        hard_label_weight: float = 0.1,
        jit_compile: bool = False,
        **kwargs,
    ):
        """Configures training; the defaults are correct distillation of a classifier.

        Args:
            optimizer: As in Keras.
            loss: A Keras loss of labels and logits; by default sparse categorical
                cross-entropy `from_logits=True`, for integer labels.
            metrics: As in Keras, for the student's logits.
            terms: What the student learns from the teacher; `[SoftTargets()]` by default.
            hard_label_weight: Factor of `loss`, 0 or more.
            jit_compile: Whether XLA compiles the step. Off by default, also where Keras would
                choose it: on CPUs its depthwise convolutions are several times slower.
            **kwargs: Passed to `keras.Model.compile`: `steps_per_execution`, `run_eagerly`,
                `weighted_metrics`, `auto_scale_loss`.

        Raises:
            ValueError: If the loss takes probabilities, a weight is negative, or nothing has
                a weight.
        """
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        terms = [SoftTargets()] if terms is None else list(terms)
        check_loss(loss)
        check_terms(terms, hard_label_weight)
        super().compile(
            optimizer=optimizer,
            metrics=None if metrics is None else list(metrics),
            jit_compile=jit_compile,
            **kwargs,
        )
        self._arguments = {
            **kwargs,
            "optimizer": self.optimizer,
            "loss": loss,
            "metrics": None if metrics is None else list(metrics),
            "terms": terms,
            "hard_label_weight": hard_label_weight,
            "jit_compile": jit_compile,
        }
        self.hard_label_loss = loss
        self.hard_label_weight = hard_label_weight
        self.terms = terms
        names = ["hard_label", *(term.name for term in terms)]
        self.part_trackers = [keras.metrics.Mean(f"{name}_loss") for name in names]

    def call(self, inputs, training=None):
        """Gives the student's logits."""
        return self.student(route(self.student, inputs), training=training)

    def train_step(self, data):
        """Makes one step of distillation on `(x, y)` or `(x, y, sample_weight)`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        teacher_logits = self.teacher(route(self.teacher, x), training=False)
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            parts = [self.hard_label_loss(y, logits, sample_weight)]
            for term in self.terms:
                values = term(teacher_logits=teacher_logits, student_logits=logits)
                parts.append(_mean(values, sample_weight))
            weights = [self.hard_label_weight, *(term.weight for term in self.terms)]
            loss = sum(weight * part for weight, part in zip(weights, parts, strict=True))
            loss += self._regularisation()
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))

        self._track([self.loss_tracker, *self.part_trackers], [loss, *parts], logits)
        return self.compute_metrics(x, y, logits, sample_weight)

    def test_step(self, data):
        """Measures the student alone: its loss on the labels and its metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        logits = self(x, training=False)
        loss = self.hard_label_loss(y, logits, sample_weight) + self._regularisation()
        self._track([self.loss_tracker], [loss], logits)
        results = self.compute_metrics(x, y, logits, sample_weight)
        parts = {tracker.name for tracker in self.part_trackers}
        return {name: value for name, value in results.items() if name not in parts}

    def _num_replicas(self) -> int:
        return self.distribute_strategy.num_replicas_in_sync

    def _regularisation(self):
        # Gradients are summed over replicas, and each replica has the same weights to regularise.
        return ops.sum(self.losses) / self._num_replicas() if self.losses else 0.0

    def _track(self, trackers, values, logits):
        """Adds to the running means, undoing the division by the number of replicas."""
        for tracker, value in zip(trackers, values, strict=True):
            tracker.update_state(value * self._num_replicas(), sample_weight=ops.shape(logits)[0])

    def get_config(self):
        """Both models, so that a saved Distiller can go on training."""
        serialize = keras.saving.serialize_keras_object
        models = {"student": serialize(self.student), "teacher": serialize(self.teacher)}
        return {**super().get_config(), **models}

    @classmethod
    def from_config(cls, config):
        """Rebuilds both models; their weights are loaded by Keras."""
        deserialize = keras.saving.deserialize_keras_object
        models = {name: deserialize(config.pop(name)) for name in ("student", "teacher")}
        return cls(**models, **config)

    def get_compile_config(self):
        """The arguments of `compile`, so that a loaded Distiller can go on training."""
        return keras.saving.serialize_keras_object(self._arguments) if self.compiled else {}

    def compile_from_config(self, config):
        """Compiles as before saving."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


class _Held:
    """Holds a model where Keras does not look for layers."""

    def __init__(self, model: keras.Model):
        self.model = model


class _Mean(keras.losses.Loss):
    """Reduces a term's values as Keras reduces its own losses, distribution included."""

    def call(self, y_true, y_pred):
        return y_pred


_mean_loss = _Mean(name="term")


def _mean(values, sample_weight):
    """Weighted sum over the batch divided by its size, for values of shape `[batch]`."""
    return _mean_loss(values, values, sample_weight)
