"""Dataset: the training, validation and test examples of one task, ready for models."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mmkd_tf.data.description import describe
from mmkd_tf.modalities.forms import student_forms, teacher_form, teacher_forms
from mmkd_tf.modalities.modality import Modality, chosen
from mmkd_tf.tasks import TASKS

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Examples:
    """The examples of one split in memory.

    Attributes:
        inputs: By modality, the tensor form with the examples along the first axis: `image`
            uint8 `[n, height, width, 3]`, `text` int32 `[n, length]`. Where teachers read another
            form than the student, theirs is `teacher/image` and so on; see `for_student`.
        labels: Of single_label, int32 `[n]`, the index of the class. Of multi_label, float32
            `[n, num_classes]`, 1 for the labels that an example has and 0 for the others. Of
            regression, float32 `[n, num_classes]`, the targets in their own units. Of retrieval,
            int32 `[n]`, the number of the item; a picture and a text of one item belong together.
        texts: The texts as they were, str `[n]`, for reports and for exports that tokenise.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)


class Dataset:
    """Training, validation and test examples with the names of their classes or targets.

    `train`, `validation` and `test` are `tf.data` datasets of single examples
    `({"image": uint8 [height, width, 3], "text": int32 [length]}, label)` in a fixed order:
    `model.fit(dataset.train.shuffle(1000, seed=0).batch(32))` works as it stands.
    `mmkd_tf.data.batches.training_batches` adds what training wants besides.

    Args:
        name: What people call this data.
        splits: `Examples` for each of `train`, `validation` and `test`.
        class_names: Name of each class, label or target, in the order of the model's outputs.
        modalities: By name, the modality that each input is; see `mmkd_tf.modalities`.
        notes: What people should know about the data, such as rows that were left out.
        task: What is to be learned, one of `mmkd_tf.tasks.TASKS`: one of several classes, any
            number of labels, numbers, or which picture and text belong together.
    """

    def __init__(
        self,
        *,
        name: str,
        splits: Mapping[str, Examples],
        class_names: Sequence[str],
        modalities: Mapping[str, Modality],
        notes: Sequence[str] = (),
        task: str = "single_label",
    ):
        if sorted(splits) != sorted(SPLITS):
            raise ValueError(
                f"`splits`: one entry for each of {', '.join(SPLITS)}. "
                f"Received: {', '.join(splits)}."
            )
        if task not in TASKS:
            raise ValueError(f"`task`: one of {', '.join(TASKS)}. Received: task={task!r}.")
        self.task = task
        self.name = name
        self.splits = dict(splits)
        self.class_names = list(class_names)
        self.modalities = dict(modalities)
        self.notes = list(notes)

    @property
    def num_classes(self) -> int:
        """Number of classes, labels or targets: of the model's outputs."""
        return len(self.class_names)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples by split."""
        return {split: len(self.splits[split]) for split in SPLITS}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of examples by split and class name; targets have none."""
        if self.task not in ("single_label", "multi_label"):
            return {split: {} for split in SPLITS}
        counts = {}
        for split in SPLITS:
            labels = self.splits[split].labels
            if self.task == "multi_label":
                bins = labels.sum(axis=0)
            else:
                bins = np.bincount(labels, minlength=self.num_classes)
            counts[split] = dict(zip(self.class_names, map(int, bins), strict=True))
        return counts

    @property
    def target_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation of each training target, float64; None if not regression."""
        if self.task != "regression":
            return None
        targets = self.splits["train"].labels.astype(np.float64)
        return targets.mean(axis=0), targets.std(axis=0)

    @property
    def train(self) -> tf.data.Dataset:
        """Single training examples in a fixed order."""
        return self._examples("train")

    @property
    def validation(self) -> tf.data.Dataset:
        """Single validation examples in a fixed order."""
        return self._examples("validation")

    @property
    def test(self) -> tf.data.Dataset:
        """Single test examples in a fixed order."""
        return self._examples("test")

    def seen_by(self, *, teacher: bool) -> "Dataset":
        """The same examples as one side reads them, each input under its modality's name.

        Args:
            teacher: Whether as teachers read them, or as the student does; the same unless
                `for_student` made this Dataset.
        """
        forms = teacher_forms if teacher else student_forms
        return self._with_inputs(forms, modalities=forms(self.modalities))

    def only(self, names: Sequence[str]) -> "Dataset":
        """The same examples with some of the inputs alone.

        Keras' own `fit` wants exactly the inputs of its model: of a dict with more it may bind
        the wrong one. A `Distiller` picks what each model reads.

        Args:
            names: Keys of `modalities`.

        Raises:
            ValueError: If there are none of these names.
        """
        kept = chosen(self.modalities, names, argument="names")
        return self._with_inputs(
            lambda inputs: {name: x for name, x in inputs.items() if name in kept},
            modalities=kept,
        )

    def without(self, modality: str) -> "Dataset":
        """The same examples as if they all lacked a modality."""
        names = (modality, teacher_form(modality))

        def blank(inputs):
            return {n: np.zeros_like(x) if n in names else x for n, x in inputs.items()}

        if modality == "text":
            return self._with_inputs(blank, texts=lambda texts: [""] * len(texts))
        return self._with_inputs(blank)

    def replaced(self, *, splits, modalities) -> "Dataset":
        """A Dataset of the same name, task, classes and notes with other inputs."""
        return Dataset(
            name=self.name,
            splits=splits,
            class_names=self.class_names,
            modalities=modalities,
            notes=self.notes,
            task=self.task,
        )

    def _with_inputs(self, change, *, modalities=None, texts=lambda texts: texts) -> "Dataset":
        splits = {
            split: Examples(change(examples.inputs), examples.labels, texts(examples.texts))
            for split, examples in self.splits.items()
        }
        return self.replaced(splits=splits, modalities=modalities or self.modalities)

    def fingerprint(self) -> str:
        """A checksum of all examples in their order, their split, and the class names.

        Returns:
            64 hexadecimal digits; the same for the same data on any machine.
        """
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        if self.task != "single_label":  # which has been without since there were others
            digest.update(self.task.encode())
        for split in SPLITS:
            examples = self.splits[split]
            for values in (*map(examples.inputs.get, sorted(examples.inputs)), examples.labels):
                digest.update(str((values.dtype, values.shape)).encode())
                digest.update(np.ascontiguousarray(values))
        for modality in self.modalities.values():
            digest.update("\n".join(getattr(modality, "vocabulary", ())).encode())
        return digest.hexdigest()

    def _examples(self, split: str) -> tf.data.Dataset:
        examples = self.splits[split]
        return tf.data.Dataset.from_tensor_slices((dict(examples.inputs), examples.labels))

    def __repr__(self) -> str:
        return describe(self)
