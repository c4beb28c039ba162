"""Pretrained features: what frozen encoders say of the inputs, computed once and kept on disk."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.backbones.feature_files import kept_features
from mmkd_tf.data.beside import InputAndFeatures, packed
from mmkd_tf.data.dataset import SPLITS, TRANSFER, Dataset, Examples
from mmkd_tf.data.kept import KeptRows
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import (
    Modality,
    RawValues,
    chosen,
    select,
    student_inputs,
    teacher_form,
    teacher_inputs,
)

# Of unit length, features are too small for the usual learning rates.
_SCALE = 16.0


class FeatureVector:
    """A form of an input that teachers alone read: numbers `[dim]`, all zeros where it is absent.

    It has of the contract of `Modality` what a teacher's form needs: no cells are read as it and
    no file is exported with it.

    Args:
        name: Name of the input.
        dim: How many numbers.
        words: What they are, for people.
    """

    keeps_raw = False

    def __init__(self, name: str, dim: int, words: str):
        self.name, self.dim, self.words = name, dim, words

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Gives the batch: features are those of the example as it stands in every view."""
        return batch

    def fingerprint(self) -> bytes:
        return self.words.encode()

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.dim], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The features themselves, scaled: `[batch, dim]`."""
        return layers.Rescaling(_SCALE, name=f"{self.name}_features")(inputs)

    def describe(self) -> str:
        return self.words


def with_pretrained(
    dataset: Dataset,
    encoders: Mapping[str, Sequence[Encoder]],
    *,
    folder: Path | None = None,
    beside: bool = False,
    deferred: bool = False,
) -> Dataset:
    """Gives the teacher the features of frozen encoders in place of the inputs, or beside them.

    They are of the examples as they stand, without augmentation, one pass over each; those of
    several encoders stand side by side.

    Args:
        dataset: The data.
        encoders: By name of an input, loaded backbones of its kind, one or more; an input that is
            not named stays as it is.
        folder: Where features are kept from run to run, by what the examples hold; None keeps
            none.
        beside: Whether the teacher reads the inputs too, for encoders trained from scratch.
        deferred: Whether rows without labels stay as they are, for `read_by_teacher` of those that
            the teacher is asked about.

    Returns:
        A Dataset in which `teacher/<input>` is float32 `[n, dim]`, zeros where the input is absent;
        with `beside` what `mmkd_tf.data.beside` makes of these and the input. The student reads
        what it did before.

    Raises:
        ValueError: If there is no such input, or an encoder is of another kind; lists all.
    """
    kinds = {name: one.kind for name, one in student_inputs(dataset.modalities).items()}
    problems = [
        f"`encoders['{name}']`: a backbone of kind {kinds.get(name, 'of an input that is there')}. "
        f"Received: {encoder.backbone.name}, of kind {encoder.backbone.kind}; inputs are {kinds}."
        for name, of_input in encoders.items()
        for encoder in of_input
        if kinds.get(name) != encoder.backbone.kind
    ]
    if problems:
        raise ValueError("\n".join(problems))
    chosen(kinds, list(encoders), argument="encoders")
    left, asked = dataset.splits.get(TRANSFER), dataset.labelled if deferred else dataset
    of_example = {
        teacher_form(name): _lookup(asked, name, of_input, folder)
        for name, of_input in encoders.items()
    }

    def replaced(examples: Examples) -> dict:
        if deferred and examples is left:
            return dict(examples.inputs)
        found = {form: find(examples) for form, find in of_example.items()}
        if beside:
            own = {teacher_form(n): x for n, x in teacher_inputs(examples.inputs).items()}
            found = {form: packed(own[form], features) for form, features in found.items()}
        return {**examples.inputs, **found}

    forms: dict[str, Any] = {
        teacher_form(name): FeatureVector(
            name,
            sum(encoder.backbone.dim for encoder in of_input),
            "features of " + " and ".join(encoder.backbone.name for encoder in of_input),
        )
        for name, of_input in encoders.items()
    }
    if beside:
        read = teacher_inputs(dataset.modalities)
        shapes = {n: x.shape[1:] for n, x in teacher_inputs(dataset.splits["train"].inputs).items()}
        forms = {
            form: InputAndFeatures(read[frozen.name], shapes[frozen.name], frozen)
            for form, frozen in forms.items()
        }
    return dataset.with_inputs(replaced, {**dataset.modalities, **forms})


def read_by_teacher(
    examples: Examples,
    encoders: Mapping[str, Sequence[Encoder]],
    *,
    folder: Path | None = None,
    beside: bool = False,
) -> dict[str, np.ndarray]:
    """What a teacher of `with_pretrained` reads of examples that stand as they did before.

    Args:
        examples: Inputs in tensor form; of texts whose features alone are read, raw ones suffice.
        encoders: As for `with_pretrained`, and so are the others.
        folder: Where features are kept.
        beside: Whether the teacher reads the inputs too.

    Returns:
        By input, `[n, ...]`.
    """
    read = teacher_inputs(examples.inputs)
    for name, of_input in encoders.items():
        values = examples.raw[name] if name in examples.raw else read[name]
        kind = KINDS[of_input[0].backbone.kind]
        features = features_of(kind, values, of_input, folder=folder)
        read[name] = packed(read[name], features) if beside else features
    return read


def form_of_teacher(dataset: Dataset, name: str) -> str:
    """The key of the form of an input that teachers read, whether or not students share it."""
    return teacher_form(name) if teacher_form(name) in dataset.modalities else name


def _lookup(
    dataset: Dataset, name: str, encoders: Sequence[Encoder], folder: Path | None
) -> Callable[[Examples], np.ndarray]:
    """Computes features of all examples; gives a function from some of these to `[n, dim]`."""
    form = form_of_teacher(dataset, name)
    kind = type(dataset.modalities[form])

    def values_of(examples: Examples) -> RawValues:
        return examples.raw.get(name, examples.inputs[form])

    # Rows without labels apart, so that those with labels have one file with them and without.
    found: dict[bytes, np.ndarray] = {}
    for splits in (SPLITS, (TRANSFER,)):
        parts = [values_of(dataset.splits[split]) for split in splits if split in dataset.splits]
        on_disk = any(isinstance(part, KeptRows) for part in parts)
        values = _Chained(parts) if on_disk else list(chain(*parts))
        keys = list(kind.content_keys(values))
        new = [row for row, key in enumerate(keys) if key not in found]
        made = _side_by_side(encoders, select(values, new), [keys[row] for row in new], folder)
        found |= zip([keys[row] for row in new], made, strict=True)
    return lambda examples: np.stack([found[key] for key in kind.content_keys(values_of(examples))])


class _Chained(Sequence):
    """Values of several splits, read from disk when they are asked for; `rows` of them."""

    def __init__(self, parts: Sequence, rows: Sequence[int] | None = None):
        self.parts, self.ends = parts, np.cumsum([len(part) for part in parts])
        self.rows = range(sum(map(len, parts))) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        part = int(np.searchsorted(self.ends, row, side="right"))
        return self.parts[part][row - self.ends[part]]

    def select(self, indices: Sequence[int]) -> "_Chained":
        return _Chained(self.parts, [self.rows[index] for index in indices])


def features_of(
    kind: type[Modality],
    values: RawValues,
    encoders: Sequence[Encoder],
    *,
    folder: Path | None = None,
) -> np.ndarray:
    """Features of raw values as `with_pretrained` has them, float32 `[n, dim]`."""
    return _side_by_side(encoders, values, list(kind.content_keys(values)), folder)


def _side_by_side(encoders, values, keys, folder) -> np.ndarray:
    if len(values) and np.ndim(values[0]) == 4:  # sets of pictures
        return _of_sets(encoders, np.stack(values), folder)
    made = [kept_features(encoder, values, keys, folder) for encoder in encoders]
    return np.concatenate(made, axis=1)


def _of_sets(encoders: Sequence[Encoder], values: np.ndarray, folder) -> np.ndarray:
    """Of sets of pictures `[n, views, height, width, 3]`, the mean of those that are there.

    Each picture's features are kept as if it stood alone; the mean is of unit length again.
    """
    pictures = values.reshape(-1, *values.shape[2:])
    keys = Image.content_keys(pictures)
    made = []
    for encoder in encoders:
        features = kept_features(encoder, list(pictures), keys, folder)  # zeros where one is absent
        total = features.reshape(*values.shape[:2], -1).sum(axis=1)
        made.append(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
    return np.concatenate(made, axis=1)
