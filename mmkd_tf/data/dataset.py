"""Dataset: the training, validation and test examples of one task, ready for models."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from mmkd_tf.data.kept import KeptRows, gatherer
from mmkd_tf.modalities.modality import (
    Modality,
    RawValues,
    chosen,
    in_tensor_form,
    is_absent,
    select,
    student_inputs,
    teacher_form,
    teacher_inputs,
)
from mmkd_tf.tasks import DEFAULT_TASK, find_task
from mmkd_tf.tasks.task import Task
from mmkd_tf.terminal import plain

SPLITS = ("train", "validation", "test")
TRANSFER = "transfer"  # a further split, of rows without labels
_AT_ONCE = 256
UNLABELLED = ("unlabelled", "unlabelled_rows")  # where these come from, as settings call it


@dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        inputs: By name of an input, the tensor form with the examples along the first axis, in
            memory or, of many pictures, as rows on disk: of a picture uint8
            `[n, height, width, 3]`, of a text int32 `[n, length]`. Where teachers read another form
            than the student, theirs is `teacher/<name>`; see `for_student`.
        labels: As `Task.label_array` makes them. Of single_label, int32 `[n]`, the index of the
            class. Of multi_label, float32 `[n, num_classes]`, 1 for the labels that an example
            has and 0 for the others. Of regression, float32 `[n, num_classes]`, the targets in
            their own units. Of retrieval, int32 `[n]`, the number of the item: inputs of one item
            belong together.
        raw: By name, the values as they were, of those inputs whose tensors lose of them, such as
            texts, str `[n]`, for reports and for exports that tokenise.
        numbers: Of test examples of a table, and of rows without labels, `[n]`, the numbers of
            their rows as the list of problems counts them; None where they are not known.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    raw: Mapping[str, RawValues] = field(default_factory=dict)
    numbers: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: np.ndarray) -> "Examples":
        """Some of the examples."""
        inputs: dict[str, Any] = {n: select(values, indices) for n, values in self.inputs.items()}
        raw = {name: select(values, indices) for name, values in self.raw.items()}
        numbers = None if self.numbers is None else [self.numbers[index] for index in indices]
        return Examples(inputs, self.labels[indices], raw, numbers)


class Dataset:
    """Training, validation and test examples with the names of their classes or targets.

    `train`, `validation` and `test` are `tf.data` datasets of single examples, such as
    `({"image": uint8 [height, width, 3], "text": int32 [length]}, label)`, in a fixed order:
    `model.fit(dataset.train.shuffle(1000, seed=0).batch(32))` works as it stands.
    `mmkd_tf.data.batches.training_batches` adds what training wants besides.

    Args:
        name: What people call this data.
        splits: `Examples` for each of `train`, `validation` and `test`; there may be `transfer`,
            rows without labels for a teacher to answer.
        class_names: Name of each class, label or target, in the order of the model's outputs.
        modalities: By name, what each input is; see `mmkd_tf.modalities`.
        notes: What people should know about the data, such as rows that were left out.
        task: What is to be learned: a `Task`, or its name in `mmkd_tf.tasks.TASKS`; by default
            one of several classes.
        transfer_counts: Of the rows without labels, see `mmkd_tf.data.unlabelled`.
    """

    def __init__(
        self,
        *,
        name: str,
        splits: Mapping[str, Examples],
        class_names: Sequence[str],
        modalities: Mapping[str, Modality],
        notes: Sequence[str] = (),
        task: str | Task = DEFAULT_TASK,
        transfer_counts: Mapping[str, int] | None = None,
    ):
        if sorted(set(splits) - {TRANSFER}) != sorted(SPLITS):
            raise ValueError(
                f"`splits`: one entry for each of {', '.join(SPLITS)}. "
                f"Received: {', '.join(splits)}."
            )
        self.task = find_task(task)
        self.name = name
        self.splits = dict(splits)
        self.class_names = list(class_names)
        self.modalities = dict(modalities)
        self.notes = list(notes)
        self.transfer_counts = dict(transfer_counts or {})

    @property
    def labelled(self) -> "Dataset":
        """The same data without the rows that have no labels."""
        if TRANSFER not in self.splits:
            return self
        kept = {split: self.splits[split] for split in SPLITS}
        return self._of(kept, self.modalities)

    @property
    def num_classes(self) -> int:
        """Number of the model's outputs, which are classes, labels or targets."""
        return len(self.class_names)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples by split."""
        return {split: len(self.splits[split]) for split in SPLITS}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of examples by split and class name; targets have none."""
        return {
            split: self.task.output_counts(self.splits[split].labels, self.class_names)
            for split in SPLITS
        }

    @property
    def target_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation of each training target, float64; None if no numbers."""
        return self.task.target_statistics(self.splits["train"].labels)

    @property
    def train(self) -> tf.data.Dataset:
        """The training examples, one by one."""
        return self._examples("train")

    @property
    def validation(self) -> tf.data.Dataset:
        """The validation examples, one by one."""
        return self._examples("validation")

    @property
    def test(self) -> tf.data.Dataset:
        """The test examples, one by one."""
        return self._examples("test")

    def seen_by(self, *, teacher: bool) -> "Dataset":
        """The same examples with the inputs alone that the teacher, or the student, reads."""
        seen = teacher_inputs if teacher else student_inputs
        return self.with_inputs(lambda examples: seen(examples.inputs), seen(self.modalities))

    def only(self, names: Sequence[str]) -> "Dataset":
        """The same examples with some of the inputs alone.

        Keras' own `fit` wants exactly the inputs of its model: of a dict with more it may bind
        the wrong one. A `Distiller` picks what each model reads. An unknown name is a ValueError.
        """
        kept = chosen(self.modalities, names, argument="names")
        return self.with_inputs(
            lambda examples: {name: examples.inputs[name] for name in kept}, kept
        )

    def without(self, name: str) -> "Dataset":
        """The same examples as if they all lacked an input; a ValueError if there is none."""
        (modality,) = chosen(self.modalities, [name], argument="name").values()
        kind = type(modality)
        both = (name, teacher_form(name))

        def blank(examples: Examples) -> dict:
            return {
                n: np.zeros(x.shape, x.dtype) if n in both else x
                for n, x in examples.inputs.items()
            }

        def nothing(examples: Examples) -> Sequence:
            return kind.read([None] * len(examples), kind.Options(kind=kind.kind))[0]

        return self.with_inputs(blank, raw={name: nothing} if kind.keeps_raw else {})

    def with_inputs(
        self,
        inputs: Callable[[Examples], dict],
        modalities: Mapping[str, Modality] | None = None,
        raw: Mapping[str, Callable[[Examples], Sequence]] | None = None,
    ) -> "Dataset":
        """A Dataset of the same labels and notes with other inputs, and raw values by name."""
        splits = {
            split: Examples(
                inputs(examples),
                examples.labels,
                {**examples.raw, **{name: make(examples) for name, make in (raw or {}).items()}},
                examples.numbers,
            )
            for split, examples in self.splits.items()
        }
        return self._of(splits, self.modalities if modalities is None else modalities)

    def _of(self, splits: Mapping[str, Examples], modalities: Mapping[str, Modality]) -> "Dataset":
        return Dataset(
            name=self.name,
            splits=splits,
            class_names=self.class_names,
            modalities=modalities,
            notes=self.notes,
            task=self.task,
            transfer_counts=self.transfer_counts,
        )

    def fingerprint(self) -> str:
        """A checksum, 64 hexadecimal digits, of all examples in order and the class names."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        digest.update(self.task.fingerprint())
        for split in (*SPLITS, *([TRANSFER] if TRANSFER in self.splits else [])):
            examples = self.splits[split]
            for values in (*(examples.inputs[n] for n in sorted(examples.inputs)), examples.labels):
                digest.update(str((values.dtype, values.shape)).encode())
                for start in range(0, len(values), _AT_ONCE):
                    digest.update(np.ascontiguousarray(values[start : start + _AT_ONCE]).data)
        for modality in self.modalities.values():
            digest.update(modality.fingerprint())
            if (strength := getattr(modality, "strength", 1.0)) != 1.0:  # another view of it
                digest.update(f"strength {strength}".encode())
        return digest.hexdigest()

    def _examples(self, split: str) -> tf.data.Dataset:
        examples = self.splits[split]
        whole = {n: v for n, v in examples.inputs.items() if not isinstance(v, KeptRows)}
        if len(whole) == len(examples.inputs):
            return tf.data.Dataset.from_tensor_slices((whole, examples.labels))
        readers = {name: gatherer(values) for name, values in examples.inputs.items()}
        labels = tf.constant(examples.labels)

        @tf.autograph.experimental.do_not_convert  # which takes a second
        def read(index):
            return {name: rows(index) for name, rows in readers.items()}, tf.gather(labels, index)

        some = tf.data.Dataset.range(len(examples)).batch(_AT_ONCE).map(read).unbatch()
        return some.apply(tf.data.experimental.assert_cardinality(len(examples)))

    def __repr__(self) -> str:
        parts = self.splits.values()
        labels = {split: self.splits[split].labels for split in SPLITS}
        outputs, *lines = self.task.describe(labels, self.class_names)
        sizes = ", ".join(f"{size:,} {split}" for split, size in self.sizes.items())
        if TRANSFER in self.splits:
            sizes += f", {len(self.splits[TRANSFER]):,} without labels"
        inputs = []
        for name, modality in self.modalities.items():
            arrays = [part.inputs[name] for part in parts if name in part.inputs]
            absent = sum(int(is_absent(array).sum()) for array in arrays)
            note = f"; absent in {absent:,}" if absent else ""
            inputs.append(f"{name}: {modality.describe()}{note}")
        notes = (f"Note: {note}" for note in self.notes)
        first = f"Dataset {self.name}: {sizes}, {outputs}"
        return plain("\n  ".join([first, *inputs, *lines, *notes]))


def for_student(dataset: Dataset, **inputs: Mapping | None) -> Dataset:
    """Makes a Dataset in which the student reads other forms of the inputs than its teachers.

    `photo` is then the student's, and `teacher/photo` holds what teachers read, where that is
    something else. `build_student` and `build_teacher` build for these, `Distiller` and soft
    targets find them, and an augmented picture is the same view in both.

    Args:
        dataset: The data as teachers read them.
        **inputs: By name of an input, the options of its kind that are different for the student,
            such as `image={"size": 48}, text={"length": 8}`.

    Returns:
        A new Dataset of the same examples; what is not named, or as it was, stays as it is.

    Raises:
        ValueError: If something does not fit the data; all problems are listed.

    Examples:
        >>> import pandas as pd
        >>> from mmkd_tf import from_table
        >>> rows = [(f"{a} {b} {a}", a) for a in ("cup", "lamp") for b in range(10)]
        >>> data = from_table(pd.DataFrame(rows, columns=["text", "label"]), image=None)
        >>> both = for_student(data, text={"length": 1})
        >>> {name: modality.describe() for name, modality in both.modalities.items()}
        {'text': '1 token ids out of 12 words', 'teacher/text': '3 token ids out of 12 words'}
    """
    own: dict[str, Modality] = {}
    problems = []
    if student_inputs(dataset.modalities) != dataset.modalities:
        problems.append(
            "`dataset`: the data as teachers read them. Received: one that has forms for a "
            f"student already, {sorted(dataset.modalities)}. Take the one it was made of."
        )
    for name, changes in inputs.items():
        if name not in dataset.modalities:
            problems.append(
                f"`{name}`: one of the data's inputs, {list(dataset.modalities)}. "
                f"Received: {name}={changes!r}."
            )
        elif changes:
            modality = dataset.modalities[name]
            try:
                made = modality.for_student(_values(dataset.splits["train"], name), **changes)
            except ValueError as error:
                problems.append(str(error))
            else:
                own |= {} if made is None else {name: made}
    if problems:
        raise ValueError("\n".join(problems))

    return with_student_forms(dataset, own)


def with_student_forms(dataset: Dataset, forms: Mapping[str, Modality]) -> Dataset:
    """Gives the student other forms of inputs than its teacher reads.

    Args:
        dataset: The data.
        forms: By name, the inputs as the student is to read them.

    Returns:
        A Dataset in which `<input>` is the student's form, and `teacher/<input>` what teachers
        read before.
    """
    theirs = {n: teacher_form(n) for n in forms if teacher_form(n) not in dataset.modalities}

    def replaced(examples: Examples) -> dict:
        own = {n: _in_form(form, _values(examples, n)) for n, form in forms.items()}
        kept = {key: examples.inputs[name] for name, key in theirs.items()}
        return {**examples.inputs, **kept, **own}

    kept = {key: dataset.modalities[name] for name, key in theirs.items()}
    return dataset.with_inputs(replaced, {**dataset.modalities, **kept, **forms})


def _in_form(form: Modality, values: RawValues) -> Any:
    return values.in_form(form) if isinstance(values, KeptRows) else in_tensor_form(form, values)


def _values(examples: Examples, name: str) -> RawValues:
    """The raw values of an input, its tensors where none are kept."""
    return examples.raw.get(name, examples.inputs[name])
