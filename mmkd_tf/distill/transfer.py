"""Transfer rows: examples without labels that a teacher answers, for the student to learn from.

On the labelled rows the student learns little from its teacher that the labels do not say. What
adds is rows that have no label: those that people have, see `mmkd_tf.data.unlabelled`, and those
that can be made of the labelled ones, see `mmkd_tf.distill.generated_rows`.

Where a row has one class the student learns it from soft targets alone: the likeliest class of a
teacher that is unsure is no label. Of several labels and of numbers the teacher's answers are the
labels.

References:
    Fakoor, Mueller, Erickson, Chaudhari, Smola: Fast, Accurate, and Simple Models for Tabular Data
    via Augmented Distillation, 2020 (FAST-DAD).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.batches import LABEL_WEIGHT, first_view_seed, output_key
from mmkd_tf.data.dataset import TRANSFER, UNLABELLED, Dataset, Examples
from mmkd_tf.data.kept import gatherer
from mmkd_tf.distill.teachers import LOGITS
from mmkd_tf.modalities.modality import (
    Modality,
    is_absent,
    select,
    student_inputs,
    teacher_inputs,
)
from mmkd_tf.models.cross_fitted import FOLD, fold_weights
from mmkd_tf.tasks.task import Task

SURE = 0.8  # probability of a teacher that is sure
SINGLE_WORDS = "word_rows"  # the source of rows that are one word each
_ANSWERS = ("logits", "labels")


@dataclass(frozen=True)
class TransferRows:
    """Rows without labels, and what a teacher says of them.

    Values are held once, however many rows have them.

    Attributes:
        values: By name of an input, different values as the student reads them, `[m, ...]`.
        index: By the same names, int32 `[n]`: which of them a row has, -1 where the input is
            absent. Inputs that are not named are absent in all rows.
        logits: The teacher's, float32 `[n, num_outputs]`.
        labels: Its answers as labels: int32 `[n]`, or float32 `[n, num_outputs]` where there is no
            one class.
        sources: Number of rows by where they come from, in their order.
        views: By name of an input whose values are augmented already, how many views of all of
            them stand one after the other in `values`.
    """

    values: Mapping[str, np.ndarray]
    index: Mapping[str, np.ndarray]
    logits: np.ndarray
    labels: np.ndarray
    sources: Mapping[str, int]
    views: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def confidence(self) -> np.ndarray | None:
        """The probabilities of the likeliest classes, float32 `[n]`; None if there are no such."""
        return tf.nn.softmax(self.logits).numpy().max(1) if self.labels.ndim == 1 else None

    @property
    def changing(self) -> np.ndarray:
        """Which rows are augmented, bool `[n]`: of a single word nothing would be left."""
        flags = [name != SINGLE_WORDS for name in self.sources]
        return np.repeat(flags, list(self.sources.values()))

    def read_by(self, names: Collection[str]) -> "TransferRows":
        """The inputs of these names alone, and the rows that have one of them."""
        index = {name: rows for name, rows in self.index.items() if name in names}
        none = np.zeros(len(self), bool)
        kept = np.any([none, *(rows >= 0 for rows in index.values())], axis=0)
        ends = np.cumsum([0, *self.sources.values()])
        counts = [int(kept[a:b].sum()) for a, b in zip(ends, ends[1:], strict=False)]
        return replace(
            self,
            values={name: self.values[name] for name in index},
            index={name: rows[kept] for name, rows in index.items()},
            logits=self.logits[kept],
            labels=self.labels[kept],
            sources=dict(zip(self.sources, counts, strict=True)),
        )

    def describe(self) -> dict:
        """Numbers of rows: `rows`, by source; `sure`, where the teacher is at least `SURE`."""
        sure = None if self.confidence is None else int((self.confidence >= SURE).sum())
        return {"rows": dict(self.sources), "sure": sure}

    def beside(
        self,
        batches: tf.data.Dataset,
        draws: "Draws",
        *,
        first_step: int = 0,
        forms: Mapping[str, Modality] | None = None,
    ) -> tf.data.Dataset:
        """Adds rows to training batches, drawn by the square of the teacher's confidence.

        Args:
            batches: Those of `training_batches` with cached soft targets of one teacher.
            draws: How many rows, and by which seed.
            first_step: Number of the first of these batches, from 0.
            forms: By name, the inputs that are augmented, anew in each step; None for none.

        Returns:
            Batches with more examples; inputs that the rows lack are zeros.
        """
        weights = np.ones(len(self)) if self.confidence is None else self.confidence.astype(float)
        drawn = draws.rows(weights**2)[first_step:]
        values = {name: gatherer(held) for name, held in self.values.items()}
        index = {name: tf.constant(rows, tf.int32) for name, rows in self.index.items()}
        logits, labels = tf.constant(self.logits), tf.constant(self.labels)
        changing = tf.constant(self.changing)

        def read(name: str, rows, step):
            which, number = tf.gather(index[name], rows), len(self.values[name])
            if name in self.views:
                views = self.views[name]
                at = step % views * (number // views) + tf.maximum(which, 0)
                found = values[name](at)
            else:
                found = values[name](tf.maximum(which, 0))
                if forms is not None:
                    seeds = tf.stack([which, tf.fill(tf.shape(which), draws.view_seed(step))], 1)
                    changed = forms[name].augment(found, seeds)
                    found = _where(tf.gather(changing, rows), changed, found)
            return _where(which >= 0, found, tf.zeros_like(found))

        def add(batch, drawn):
            (x, y), (step, rows) = batch, drawn
            rows = rows[: draws.number(tf.shape(y)[0])]
            longer = {}
            for name, there in x.items():
                if name == output_key("teacher", LOGITS):
                    more = tf.gather(logits, rows)
                elif name in values:
                    more = tf.cast(read(name, rows, step), there.dtype)
                else:
                    more = tf.zeros([tf.shape(rows)[0], *there.shape[1:]], there.dtype)
                longer[name] = tf.concat([there, more], 0)
            if self.labels.ndim == 1:  # the loss on labels is then the mean over those given
                given, all_rows = tf.shape(y)[0], tf.shape(y)[0] + tf.shape(rows)[0]
                weight = tf.cast(all_rows / given, tf.float32)
                own = tf.fill([given], weight)
                longer[LABEL_WEIGHT] = tf.concat([own, tf.zeros([tf.shape(rows)[0]])], 0)
            return longer, tf.concat([y, tf.cast(tf.gather(labels, rows), y.dtype)], 0)

        steps = np.arange(first_step, first_step + len(drawn), dtype=np.int32)
        rows = tf.data.Dataset.from_tensor_slices((steps, drawn))
        return tf.data.Dataset.zip(batches, rows).map(add, num_parallel_calls=2).prefetch(2)


@dataclass(frozen=True)
class Draws:
    """How many transfer rows the batches of a training get, and which.

    Attributes:
        share: Of a batch's size, above 0.
        batch_size: Examples of a batch.
        steps: Number of all batches of the training.
        seed: Seed of the draw and of the augmentation.
    """

    share: float
    batch_size: int
    steps: int
    seed: int

    def rows(self, weights: np.ndarray) -> np.ndarray:
        """Draws for each step as many as the largest batch gets: int32 `[steps, number]`."""
        generator = np.random.default_rng([self.seed, 1])
        number = max(1, round(self.share * self.batch_size))
        drawn = generator.choice(len(weights), [self.steps, number], p=weights / weights.sum())
        return drawn.astype(np.int32)

    def number(self, size):
        """How many a batch of `size` gets."""
        return tf.maximum(1, tf.cast(tf.round(self.share * tf.cast(size, tf.float32)), tf.int32))

    def view_seed(self, step):
        """The second of an example's two seeds of augmentation, see `training_batches`."""
        return first_view_seed(self.seed) + step


def _where(rows, ours, others):
    """`tf.where` by example: `rows` are bool `[batch]`."""
    return tf.where(tf.reshape(rows, [-1, *[1] * (len(ours.shape) - 1)]), ours, others)


def ask(teacher: keras.Model, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a teacher says of rows that no head has seen.

    Args:
        teacher: Trained; all heads of a cross-fitted one answer together.
        given: What it reads, by input, `[n, ...]`; what is not named is absent.

    Returns:
        float32 `[n, num_outputs]`.
    """
    number = len(next(iter(given.values())))
    read = {
        name: given.get(name, np.zeros([number, *tensor.shape[1:]], tensor.dtype))
        for name, tensor in teacher.input.items()
    }
    if FOLD in read:
        read[FOLD] = fold_weights(np.full(number, -1), read[FOLD].shape[1])
    return teacher.predict(read, batch_size=512, verbose=0).astype(np.float32)


def answers(logits: np.ndarray, task: Task) -> np.ndarray:
    """A teacher's outputs as labels: the likeliest class, or what an exported file would say.

    An embedding says of no identity that it is the one: -1 is none.
    """
    if task.has_one_class:
        return logits.argmax(1).astype(np.int32)
    if task.gives_embeddings:
        return np.full(len(logits), -1, np.int32)
    return task.activate(logits).numpy()


def unlabelled_rows(
    teacher: keras.Model,
    dataset: Dataset,
    *,
    known: np.ndarray | None = None,
    read: Callable[[Examples], Mapping] = lambda examples: teacher_inputs(examples.inputs),
) -> TransferRows | None:
    """Asks a teacher about the rows without labels of a Dataset; None if it has none.

    Args:
        teacher: Trained.
        dataset: The data.
        known: What the teacher has said of them before, float32 `[n, num_outputs]`, NaN of the
            rows that it is to be asked about; None for all.
        read: Gives by input what teachers read of some rows; by default it is there.
    """
    examples = dataset.splits.get(TRANSFER)
    if examples is None:
        return None

    def said_of(some: Examples) -> np.ndarray:
        theirs = read(some)
        return ask(teacher, {name: theirs[name] for name in teacher.input})

    if known is None:
        logits = said_of(examples)
    else:
        logits, asked = known.copy(), np.flatnonzero(np.isnan(known).any(axis=1))
        if len(asked):
            logits[asked] = said_of(examples.select(asked))
    values, index = dict[str, Any](), {}
    for name, held in student_inputs(examples.inputs).items():
        there = ~is_absent(held)
        if there.any():
            values[name] = held if there.all() else select(held, np.flatnonzero(there))
            index[name] = np.where(there, np.cumsum(there) - 1, -1).astype(np.int32)
    sources = {name: dataset.transfer_counts.get(name, 0) for name in UNLABELLED}
    return TransferRows(
        values,
        index,
        logits,
        answers(logits, dataset.task),
        {name: number for name, number in sources.items() if number},
    )


def joined(given: Sequence[TransferRows | None]) -> TransferRows | None:
    """Puts rows of several sources one after the other; None if there are none."""
    parts = [part for part in given if part is not None and len(part)]
    if len(parts) < 2:
        return parts[0] if parts else None
    values, index = {}, {}
    for name in dict.fromkeys(name for part in parts for name in part.values):
        starts, held, number = {}, [], 0
        for part in parts:
            array = part.values.get(name)
            if array is not None and id(array) not in starts:  # several have those of training
                starts[id(array)], number = number, number + len(array)
                held.append(array)
        values[name] = np.concatenate(held) if len(held) > 1 else held[0]
        index[name] = np.concatenate(
            [
                np.where(part.index[name] < 0, -1, part.index[name] + starts[id(part.values[name])])
                if name in part.values
                else np.full(len(part), -1)
                for part in parts
            ]
        ).astype(np.int32)
    sources: dict[str, int] = {}
    for part in parts:
        for name, number in part.sources.items():
            sources[name] = sources.get(name, 0) + number
    logits, labels = (np.concatenate([getattr(part, of) for part in parts]) for of in _ANSWERS)
    return TransferRows(values, index, logits, labels, sources)
