"""Dataset: the training, validation and test examples of one task, ready for models."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mmkd_tf.modalities.forms import student_forms, teacher_form, teacher_forms
from mmkd_tf.modalities.modality import Modality, is_absent

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Examples:
    """The examples of one split in memory.

    Attributes:
        inputs: By modality, the tensor form with the examples along the first axis: `image`
            uint8 `[n, height, width, 3]`, `text` int32 `[n, length]`. Where teachers read another
            form than the student, theirs is `teacher/image` and so on; see `for_student`.
        labels: int32 `[n]`, the index of the class.
        texts: The texts as they were, str `[n]`, for reports and for exports that tokenise.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)


class Dataset:
    """Training, validation and test examples with their class names.

    `train`, `validation` and `test` are `tf.data` datasets of single examples
    `({"image": uint8 [height, width, 3], "text": int32 [length]}, int32 label)` in a fixed order:
    `model.fit(dataset.train.shuffle(1000, seed=0).batch(32))` works as it stands.
    `mmkd_tf.data.batches.training_batches` adds what training wants besides.

    Args:
        name: What people call this data.
        splits: `Examples` for each of `train`, `validation` and `test`.
        class_names: Name of each class, in the order of the labels.
        modalities: By name, the modality that each input is; see `mmkd_tf.modalities`.
        notes: What people should know about the data, such as rows that were left out.
    """

    def __init__(
        self,
        *,
        name: str,
        splits: Mapping[str, Examples],
        class_names: Sequence[str],
        modalities: Mapping[str, Modality],
        notes: Sequence[str] = (),
    ):
        if sorted(splits) != sorted(SPLITS):
            raise ValueError(
                f"`splits`: one entry for each of {', '.join(SPLITS)}. "
                f"Received: {', '.join(splits)}."
            )
        self.name = name
        self.splits = dict(splits)
        self.class_names = list(class_names)
        self.modalities = dict(modalities)
        self.notes = list(notes)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples by split."""
        return {split: len(self.splits[split]) for split in SPLITS}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of examples by split and class name."""
        counts = {}
        for split in SPLITS:
            bins = np.bincount(self.splits[split].labels, minlength=self.num_classes)
            counts[split] = dict(zip(self.class_names, map(int, bins), strict=True))
        return counts

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
        splits = {
            split: Examples(forms(examples.inputs), examples.labels, examples.texts)
            for split, examples in self.splits.items()
        }
        return self.replaced(splits=splits, modalities=forms(self.modalities))

    def only(self, names: Sequence[str]) -> "Dataset":
        """The same examples with some of the inputs alone.

        Keras' own `fit` wants exactly the inputs of its model: of a dict with more it may bind
        the wrong one. A `Distiller` picks what each model reads.

        Args:
            names: Keys of `modalities`.

        Raises:
            ValueError: If there are none of these names.
        """
        unknown = [name for name in names if name not in self.modalities]
        if isinstance(names, str) or unknown or not names:
            raise ValueError(
                f"`names`: a list of one or more of {list(self.modalities)}. Received: {names!r}."
            )
        splits = {
            split: Examples(
                {name: x for name, x in examples.inputs.items() if name in names},
                examples.labels,
                examples.texts,
            )
            for split, examples in self.splits.items()
        }
        kept = {name: m for name, m in self.modalities.items() if name in names}
        return self.replaced(splits=splits, modalities=kept)

    def without(self, modality: str) -> "Dataset":
        """The same examples as if they all lacked a modality."""
        names = (modality, teacher_form(modality))
        splits = {
            split: Examples(
                {n: np.zeros_like(x) if n in names else x for n, x in examples.inputs.items()},
                examples.labels,
                [""] * len(examples.texts) if modality == "text" else examples.texts,
            )
            for split, examples in self.splits.items()
        }
        return self.replaced(splits=splits, modalities=self.modalities)

    def replaced(self, *, splits, modalities) -> "Dataset":
        """A Dataset of the same name, classes and notes with other inputs."""
        return Dataset(
            name=self.name,
            splits=splits,
            class_names=self.class_names,
            modalities=modalities,
            notes=self.notes,
        )

    def fingerprint(self) -> str:
        """A checksum of all examples in their order, their split, and the class names.

        Returns:
            64 hexadecimal digits; the same for the same data on any machine.
        """
        digest = hashlib.sha256("\n".join(self.class_names).encode())
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
        sizes = ", ".join(f"{size:,} {split}" for split, size in self.sizes.items())
        lines = [f"Dataset {self.name}: {sizes}, {self.num_classes} classes"]
        for name, modality in self.modalities.items():
            absent = sum(int(is_absent(part.inputs[name]).sum()) for part in self.splits.values())
            note = f"; absent in {absent:,}" if absent else ""
            lines.append(f"  {name}: {modality.describe()}{note}")
        counts = self.class_counts
        width = max(map(len, self.class_names), default=0)
        for label in self.class_names:
            row = " ".join(f"{counts[split][label]:>7,}" for split in SPLITS)
            lines.append(f"  {label:<{width}} {row}")
        lines += [f"  Note: {note}" for note in self.notes]
        return "\n".join(lines)
