"""Distiller: trains a student on hard labels and on what teachers say of the same batch."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import keras
import tensorflow as tf
from keras import ops

from mmkd_tf.data.batches import LABEL_WEIGHT, named_teachers
from mmkd_tf.distill.checks import (
    check_class_weight,
    check_keras_arguments,
    check_labels,
    check_loss,
    check_models,
    check_replicas,
    check_sample_weight,
    check_soft_targets,
    check_teacher_options,
    check_terms,
    check_trainable,
    check_unlabelled,
)
from mmkd_tf.distill.epochs import StopDiverging, check_finite
from mmkd_tf.distill.replicas import Counts, figures, first_part, regularisation
from mmkd_tf.distill.schedules import value_at
from mmkd_tf.distill.step_checks import check_label_values, check_no_probabilities, in_words
from mmkd_tf.distill.teacher_signals import TeacherSignals, projection_name, teachers_of
from mmkd_tf.distill.teachers import (
    LOGITS,
    Teachers,
    multi_output,
    output_shapes,
)
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.workers import check_steps
from mmkd_tf.models.inputs import route
from mmkd_tf.tasks import task_of_loss

TASK_METRICS = "auto"
_FIT = inspect.signature(keras.Model.fit)


@keras.saving.register_keras_serializable("mmkd_tf")
class Distiller(keras.Model):
    """A Keras model whose `fit` trains a student by knowledge distillation.

    In each step every teacher reads the batch once (in inference mode, outside the gradient),
    then the student once, and the student's weights follow the gradient of

    `hard_label_weight * loss(labels, student_logits) + sum(term.weight * term) + regularisers`.

    Teachers are never changed, are not among the Distiller's weights, and are not part of
    `distiller.student`, which is what you save, export and ship. Neither are the projections
    that hints may need, which are trained with the student. `predict` and `evaluate` are the
    student's alone and run no teacher; `val_loss` is the student's plain loss on the labels,
    comparable with that of a student trained without a teacher.

    Each model is given the inputs that it names: a student may lack an input of the teacher, and
    a teacher may read one modality only.

    Args:
        student: Functional model that gives logits `[batch, num_classes]`.
        teacher: Functional model that gives logits of the same classes, trained; or what
            `cache_soft_targets` kept of one; or several of these in a dict by name or a list.

    Raises:
        TypeError: If a model has no symbolic inputs.
        ValueError: If a model ends in a softmax, the numbers of classes differ, weights are
            shared, or a teacher's weights are not finite.

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

    def __init__(self, *, student: keras.Model, teacher, **kwargs):
        # Held where Keras does not look for layers.
        held = SimpleNamespace(given=teacher, named=named_teachers(teacher), evaluating=False)
        check_models(student=student, teachers=held.named)
        # Keras scales the loss by the policy of the model that is compiled; inputs are the
        # student's to cast.
        super().__init__(**{"dtype": student.dtype_policy, "autocast": False, **kwargs})
        self.student = student
        self._held = held
        self.projections: dict[str, keras.layers.Layer] = {}
        self.part_trackers: list[keras.metrics.Mean] = []
        self.loss_tracker = keras.metrics.Mean("loss")
        self.built = True

    @property
    def teacher(self):
        """The teacher or teachers, as they were given."""
        return self._held.given

    def compile(
        self,
        optimizer="adam",
        loss: keras.losses.Loss | None = None,
        metrics: Sequence | str | None = TASK_METRICS,
        *,
        terms: Sequence | None = None,
        hard_label_weight=None,
        teacher_weights: Mapping[str, float] | str | None = None,
        on_wrong_teacher: str = "keep",
        **kwargs,
    ):
        """Configures training; the defaults are correct distillation for the loss on the labels.

        They are those of `mmkd-tf run`, see `mmkd_tf.tasks.task.SoftTargetDefaults`.

        Args:
            optimizer: As in Keras.
            loss: A Keras loss of labels and logits; by default sparse categorical
                cross-entropy `from_logits=True`, for integer labels.
            metrics: As in Keras, for the student's logits; by default those of the task that the
                loss is for, such as accuracy.
            terms: What the student learns from the teachers; by default soft targets as that task
                has them.
            hard_label_weight: Factor of `loss`, 0 or more: a number or a schedule; by default that
                of the task.
            teacher_weights: How several teachers share a term: equally (None), by a weight for
                each name, or for each example by their `"confidence"` or their `"label_loss"`.
            on_wrong_teacher: What becomes of an example whose label is not a teacher's first
                class: `"keep"` it as it is, `"skip"` this teacher there, or `"correct"` its
                logits by exchanging those of the label and of its first class.
            **kwargs: Passed to `keras.Model.compile`: `steps_per_execution`, `run_eagerly`,
                `weighted_metrics`, `auto_scale_loss`, `jit_compile`. The last is off by default,
                also where Keras would choose it: on CPUs XLA's depthwise convolutions are
                several times slower.

        Raises:
            TypeError: If the loss is not a Keras loss or the terms are no list of terms.
            ValueError: If the loss takes probabilities, a weight is negative, nothing has a
                weight, an argument would have no effect, or a term names a teacher or a layer
                that is not there. The Distiller then stays as it was compiled before.
        """
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        check_keras_arguments(kwargs)
        check_loss(loss)
        task = task_of_loss(loss)
        if metrics is TASK_METRICS:
            metrics = task.metrics()
        elif metrics is not None:
            metrics = [metrics] if isinstance(metrics, str | keras.Metric) else list(metrics)
        defaults = task.soft_targets(loss)
        if terms is None:
            given = defaults.temperature, defaults.weight, defaults.loss
            terms = [SoftTargets(*given, loss_options=defaults.options)]
        if hard_label_weight is None:
            hard_label_weight = defaults.hard_label_weight
        check_terms(terms, hard_label_weight)
        check_soft_targets(terms, loss)
        check_teacher_options(teacher_weights, on_wrong_teacher, self._held.named, terms, loss)
        check_replicas(terms, loss, self._num_replicas())
        check_steps(self.distribute_strategy, kwargs.get("steps_per_execution", 1))
        terms = list(terms)
        kwargs = {"jit_compile": False, **kwargs}
        # Variables belong to all replicas also where `compile` is called outside their scope.
        with self.distribute_strategy.scope():
            teachers, outputs, projections = self._prepared(terms)
            names = ["hard_label", *(term.name for term in terms)]
            trackers = [keras.metrics.Mean(f"{name}_loss") for name in names]
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        # Only now, so that a refused call leaves all as it was compiled before.
        self._held.teachers, self._held.student_outputs = teachers, outputs
        self.projections.clear()  # in place: Keras goes on tracking what is merely replaced
        self.projections.update(projections)
        self.part_trackers.clear()
        self.part_trackers.extend(trackers)
        self.teacher_signals = TeacherSignals(
            terms, self.projections, teacher_weights, on_wrong_teacher
        )
        self._held.arguments = {
            **kwargs,
            "optimizer": self.optimizer,
            "loss": loss,
            "metrics": metrics,
            "terms": terms,
            "hard_label_weight": hard_label_weight,
            "teacher_weights": teacher_weights,
            "on_wrong_teacher": on_wrong_teacher,
        }
        self.hard_label_loss = loss
        self.hard_label_weight = hard_label_weight
        self.terms = terms

    def _prepared(self, terms) -> tuple:
        """Makes one forward pass of each model for what the terms read, and their projections."""
        layers = [layer for term in terms for layer in term.student_layers]
        outputs = multi_output(self.student, layers, argument="student")
        teachers = Teachers(self._held.named, terms)
        projections = {}
        for term in terms:
            for name in teachers_of(term, teachers.teachers):
                projection = term.projection(
                    teacher_shapes=teachers.shapes(name), student_shapes=output_shapes(outputs)
                )
                if projection is not None:
                    projections[projection_name(term, name)] = projection
        return teachers, outputs, projections

    def call(self, inputs, training=None):
        return self.student(route(self.student, inputs), training=training)

    def train_step(self, data):
        """Makes one step of distillation on `(x, y)`, `(x, y, sample_weight)` or `x` alone."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        check_sample_weight(sample_weight)
        teacher_outputs = self._held.teachers(x)
        step = self.optimizer.iterations
        student = self._held.student_outputs
        with tf.GradientTape() as tape:
            outputs = student(route(student, x), training=True)
            logits = {name: found[LOGITS] for name, found in teacher_outputs.items()}
            logits["student"] = outputs[LOGITS]
            check_no_probabilities(logits, self.hard_label_loss, step)
            if y is None:
                check_unlabelled(self._held.arguments)
                parts = [ops.zeros(())]
            else:
                check_labels(y, outputs[LOGITS], self.hard_label_loss)
                y = check_label_values(y, outputs[LOGITS], self.hard_label_loss)
                of_labels = x.get(LABEL_WEIGHT) if isinstance(x, Mapping) else None
                label_weight = _product(sample_weight, of_labels)
                parts = [self.hard_label_loss(y, outputs[LOGITS], label_weight)]
            terms = self.teacher_signals(
                teachers=teacher_outputs, student=outputs, labels=y, step=step
            )
            parts += [mean_over_batch(values, sample_weight) for values in terms]
            counts = Counts(outputs[LOGITS])
            parts = [counts.part(part) for part in parts]
            weights = [self.hard_label_weight, *(term.weight for term in self.terms)]
            loss = sum(
                value_at(weight, step) * part for weight, part in zip(weights, parts, strict=True)
            )
            loss += regularisation(self)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))

        for tracker, value in zip(
            [self.loss_tracker, *self.part_trackers], [loss, *parts], strict=True
        ):
            counts.track(tracker, value)
        return self.compute_metrics(x, y, outputs[LOGITS], sample_weight)

    def fit(self, *args, **kwargs):
        """Trains the student, as `keras.Model.fit`.

        Batches may be inputs alone, without labels: the student then learns what the teachers say
        of them, and neither the loss on labels nor metrics are logged. Where some rows of a batch
        have labels, `x["labels/weight"]`, float `[batch]`, says how much the label of each counts:
        0 for those without, whose label may then be any that is possible.

        Raises:
            ValueError: If batches have no labels and something asks for them: a weight of the loss
                on labels, a term's loss, `on_wrong_teacher` or `teacher_weights`.
            ValueError: If a teacher gives NaN or infinity for an example, labels are none of the
                student's outputs, or the first batch shows that a model gives probabilities.
                Under `jit_compile=True` these are not seen, because XLA leaves checks out.
            ValueError: If `class_weight` names what is no class of the student's, or the loss is
                of several labels or numbers.
            DivergedError: A ValueError: as soon as the loss is no number, or in the end a weight.
        """
        check_trainable(self.student)
        given = _FIT.bind(self, *args, **kwargs).arguments
        given.pop("self")
        num_outputs = self.student.outputs[0].shape[-1]
        loss = getattr(self, "hard_label_loss", None)  # None before `compile`, which Keras refuses
        check_class_weight(given.get("class_weight"), num_outputs, loss)
        stop, callbacks = StopDiverging(), given.get("callbacks")
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(stop)
        else:
            given["callbacks"] = [stop, *keras.tree.flatten(callbacks or [])]
        with self._traced_whole(), in_words():
            history = super().fit(**given)
        # No loss tells what the last step of all made of them.
        check_finite((w.numpy() for w in self.student.weights), "the student's weights")
        return history

    def train_on_batch(self, *args, **kwargs):
        """Makes one step, as `keras.Model.train_on_batch`; raises as `fit`."""
        check_trainable(self.student)
        with self._traced_whole(), in_words():
            return super().train_on_batch(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """Measures the student, as `keras.Model.evaluate`; raises as `fit` of labels."""
        self._held.evaluating = True
        try:
            with self._traced_whole(), in_words():
                return super().evaluate(*args, **kwargs)
        finally:
            self._held.evaluating = False

    @contextmanager
    def _traced_whole(self) -> Iterator[None]:
        """Forgets a step that was refused: TensorFlow does not trace on one that made variables."""
        try:
            yield
        except Exception:
            self.train_function = self.test_function = None
            raise

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None:
            raise ValueError("`y`: labels, on which a student is evaluated. Received: none.")
        check_sample_weight(sample_weight)
        logits = self(x, training=False)
        check_labels(y, logits, self.hard_label_loss)
        y = check_label_values(y, logits, self.hard_label_loss)
        counts = Counts(logits)
        loss = counts.part(self.hard_label_loss(y, logits, sample_weight))
        counts.track(self.loss_tracker, loss + regularisation(self))
        return self._without_parts(self.compute_metrics(x, y, logits, sample_weight))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As in Keras; of a batch without labels the terms alone, since metrics ask for labels."""
        if y is None:
            return figures(self._costs_of_terms())
        return figures(super().compute_metrics(x, y, y_pred, sample_weight))

    def get_metrics_result(self):
        """As in Keras, also while metrics have seen no labels."""
        if not all(getattr(metric, "built", True) for metric in self.metrics):
            return self._costs_of_terms()
        results = super().get_metrics_result()
        # Of other names than a step gives, Keras takes the mean over replicas of the last step.
        return self._without_parts(results) if self._held.evaluating else results

    def _without_parts(self, results: Mapping) -> dict:
        parts = {tracker.name for tracker in self.part_trackers}
        return {name: value for name, value in results.items() if name not in parts}

    def _costs_of_terms(self) -> dict:
        trackers = [self.loss_tracker, *self.part_trackers[1:]]
        return {tracker.name: tracker.result() for tracker in trackers}

    def _num_replicas(self) -> int:
        return self.distribute_strategy.num_replicas_in_sync

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None and self._num_replicas() > 1:
            data_batch, iterator = first_part(self, iterator), None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        models = {"student": serialize(self.student), "teacher": serialize(self.teacher)}
        return {**super().get_config(), **models}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        models = {name: deserialize(config.pop(name)) for name in ("student", "teacher")}
        return cls(**models, **config)

    def get_compile_config(self):
        return keras.saving.serialize_keras_object(self._held.arguments) if self.compiled else {}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


class _Mean(keras.losses.Loss):
    """Reduces a term's values as Keras reduces its own losses.

    So under a distribution strategy it is divided by the number of replicas as well, because
    gradients are summed over them.
    """

    def call(self, y_true, y_pred):
        return y_pred


_mean = _Mean(name="term")


def _product(*weights):
    """Of the weights that there are; None of none."""
    product = None
    for weight in weights:
        if weight is not None:
            product = weight if product is None else product * ops.cast(weight, product.dtype)
    return product


def mean_over_batch(values, sample_weight=None):
    """Weighted sum of float `[batch]` divided by the size of the batch, a scalar."""
    return _mean(values, values, sample_weight)
