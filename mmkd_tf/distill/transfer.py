"""Transfer rows: examples without labels that a teacher answers, for the student to learn from.

On the labelled rows the student learns little from its teacher that the labels do not say. What
adds is rows that have no label. Single words are such rows, and need no data: the backbone of a
text knows tens of thousands, and the teacher says of each what it makes it think of.

References:
    Fakoor, Mueller, Erickson, Chaudhari, Smola: Fast, Accurate, and Simple Models for Tabular Data
    via Augmented Distillation, 2020 (FAST-DAD).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.data.batches import output_key
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.teachers import LOGITS
from mmkd_tf.models.cross_fitted import FOLD, fold_weights
from mmkd_tf.models.inheritance import word_features

TRANSFER = "transfer"


@dataclass(frozen=True)
class TransferRows:
    """Rows without labels, and what a teacher says of them.

    Attributes:
        inputs: By name, what the student reads, `[n, ...]`; other inputs are absent.
        logits: The teacher's, float32 `[n, num_classes]`.
    """

    inputs: Mapping[str, np.ndarray]
    logits: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The classes that the teacher thinks most likely, int32 `[n]`."""
        return self.logits.argmax(1).astype(np.int32)

    @property
    def confidence(self) -> np.ndarray:
        """The probabilities of these classes, float32 `[n]`."""
        return tf.nn.softmax(self.logits).numpy().max(1)

    def beside(
        self, batches: tf.data.Dataset, *, per_batch: int, first_step: int, steps: int, seed: int
    ) -> tf.data.Dataset:
        """Adds rows to training batches, drawn by the square of the teacher's confidence.

        Args:
            batches: Those of `training_batches` with cached soft targets of one teacher.
            per_batch: Rows that each batch gets.
            first_step: Number of the first of these batches, from 0.
            steps: Number of all batches of the training.
            seed: Seed of the draw.

        Returns:
            Batches with `per_batch` examples more; inputs that the rows lack are zeros.
        """
        weights = self.confidence.astype(float) ** 2
        generator = np.random.default_rng([seed, 1])
        drawn = generator.choice(
            len(weights), [steps, per_batch], p=weights / weights.sum()
        ).astype(np.int32)
        known = {**self.inputs, output_key("teacher", LOGITS): self.logits}
        known = {name: tf.constant(values) for name, values in known.items()}
        labels = tf.constant(self.labels)

        def add(batch, index):
            x, y = batch
            longer = {}
            for name, values in x.items():
                if name in known:
                    more = tf.cast(tf.gather(known[name], index), values.dtype)
                else:
                    more = tf.zeros([per_batch, *values.shape[1:]], values.dtype)
                longer[name] = tf.concat([values, more], 0)
            return longer, tf.concat([y, tf.cast(tf.gather(labels, index), y.dtype)], 0)

        rows = tf.data.Dataset.from_tensor_slices(drawn[first_step:])
        return tf.data.Dataset.zip(batches, rows).map(add, num_parallel_calls=2).prefetch(2)


def word_rows(
    teacher: keras.Model, dataset: Dataset, encoders: Mapping[str, Encoder]
) -> TransferRows | None:
    """Asks a cross-fitted teacher about each word that a student knows, alone.

    Args:
        teacher: Trained, of `cross_fitted_teacher`.
        dataset: The data that it was trained for.
        encoders: By name of a text, the one encoder whose features the teacher reads of it.

    Returns:
        A row for each word of each text, where this text is all there is; None without any text.
    """
    texts = {name: dataset.modalities[name] for name in encoders}
    found = []
    for name, encoder in encoders.items():
        words = texts[name].vocabulary[2:]
        given = {
            n: np.zeros([len(words), *t.shape[1:]], "float32") for n, t in teacher.input.items()
        }
        given[name] = word_features(encoder, tuple(words))
        given[FOLD] = fold_weights(np.full(len(words), -1), given[FOLD].shape[1])
        ids = {of: np.zeros([len(words), text.length], np.int32) for of, text in texts.items()}
        ids[name][:, 0] = np.arange(2, 2 + len(words))
        found.append((ids, teacher.predict(given, batch_size=512, verbose=0)))
    if not found:
        return None
    inputs = {name: np.concatenate([ids[name] for ids, _ in found]) for name in texts}
    return TransferRows(inputs, np.concatenate([logits for _, logits in found]))
