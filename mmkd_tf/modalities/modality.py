"""Modality: a kind of input, from the cell of a table to features and to an exported file."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import keras
import numpy as np
import tensorflow as tf
from pydantic import Field, ValidationError, model_validator

from mmkd_tf.settings.values import Settings

Value = TypeVar("Value")
# Raw values of a kind: a list, or an array with examples along the first axis.
RawValues = Sequence | np.ndarray
Raw = TypeVar("Raw", bound=RawValues)

TEACHER_PREFIX = "teacher/"
_AT_ONCE = 512


class StudentOptions(Settings):
    """What may be different for the students: nothing, where a kind does not say otherwise."""


class InputOptions(Settings):
    """What settings say of one input; each kind adds its own fields, each with a default.

    `student` holds those of the kind's fields that are different for the students, such as a
    smaller size; a kind that has such fields types it as a model of theirs, None being unset.
    """

    kind: str = Field(description="Kind of the input, such as image or text.")
    column: str | None = Field(
        None, description="Column of a table, or feature of a dataset; the input's name if not set."
    )
    student: StudentOptions | None = None
    no_larger: ClassVar[Sequence[str]] = ()  # fields that are at most as large for the students

    @model_validator(mode="after")
    def _student_fits(self):
        for name in self.no_larger:
            own, most = getattr(self.student, name), getattr(self, name)
            if own is not None and most is not None and own > most:
                raise ValueError(
                    f"`student.{name}`: at most `{name}`, {most:g}. Received: {own:g}. "
                    f"Set `{name}` to the larger one."
                )
        return self

    def columns_of(self, name: str) -> list[str]:
        """The columns that the input of a name is read from.

        More than one where the kind has the option `columns`, of whose cells `Modality.read` gets
        tuples.
        """
        several = getattr(self, "columns", None)
        return list(several) if several else [self.column or name]

    @property
    def student_changes(self) -> dict[str, Any]:
        """What is set under `student`."""
        return {} if self.student is None else self.student.model_dump(exclude_none=True)


@dataclass(frozen=True)
class Damage:
    """A way in which values of a kind go bad, for measuring robustness.

    Attributes:
        change: Gives the damaged value of `(value, amount, rng)`, of a raw value where the kind
            keeps them and of a tensor otherwise. An absent value is never given to it.
        amounts: From weak to strong.
        measure: What an amount says, for people.
        form: How an amount is written.
        clean: How no damage is written.
    """

    change: Callable
    amounts: tuple[float, ...]
    measure: str
    form: str = "{:.0%}"
    clean: str = "0%"

    @property
    def levels(self) -> list[str]:
        """All amounts in words, from none on."""
        return [self.clean, *map(self.form.format, self.amounts)]


Chosen = TypeVar("Chosen", bound=InputOptions)


class Modality(ABC, Generic[Raw, Chosen]):
    """The contract of a kind of input. Abstract; the final classes lie beside it, one a file.

    A class is a kind, an object of it is one input with a name, fitted to the training values. Raw
    values of a kind are a sequence: a list, or an array with examples along the first axis. Types
    may name both: `Image(Modality[np.ndarray, ImageOptions])`.

    **Absence**: in the tensor form an absent value is all zeros, and a present one never is, after
    reading, augmentation and damage too.

    Layers and encoders are named `<name>_...`; the encoder's last layer `<name>_features`.

    Attributes:
        kind: Name of the kind in settings and files.
        Options: What settings may say of it.
        noun: What one value is called, "picture"; problems that `read` finds begin with it.
        form: Shape of a batch of its tensors, for messages.
        keeps_raw: Whether raw values are kept beside the tensors, since tensors lose of them.
        takes_utf8: Whether raw values are strings and an exported file can take their UTF-8 in
            place of the tensor; such a kind has `vocabulary`, `length`, `tokenizer`, `with_words`,
            `embedding` and `read_words` as `Text`.
        in_heads: Whether a teacher's encoder of it is small enough to be trained with each head of
            a cross-fitted teacher, on values as they stand.
        damages: By name, ways in which values go bad.
        string_shape: Of how many strings a SavedModel takes one value; of one where it is empty.
        name: Name of the input.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[InputOptions]]
    noun: ClassVar[str]
    form: ClassVar[str] = ""
    keeps_raw: ClassVar[bool] = False
    takes_utf8: ClassVar[bool] = False
    in_heads: ClassVar[bool] = False
    damages: Mapping[str, Damage] = {}
    string_shape: tuple[int, ...] = ()
    name: str
    # Of kinds that take UTF-8 alone.
    vocabulary: Any  # list of words, or None where it is not known
    length: int
    tokenizer: Any
    with_words: Callable[..., Any]
    embedding: Callable[..., Any]
    read_words: Callable[..., Any]

    # Reading raw values.

    @classmethod
    @abstractmethod
    def read(
        cls,
        cells: Sequence,
        options: Chosen,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[Raw, dict[int, str]]:
        """Reads cells of a table.

        Args:
            cells: One for each row; may be a generator, and some of the rows alone. Of a table
                str, or what a DataFrame or Parquet file holds (numbers, lists, bytes, dicts); of
                a TensorFlow dataset str, or what `feature_decoder` leaves; None, NaN or empty for
                an absent value. Where the options have `columns`, tuples of such cells.
            options: What settings say of the input.
            folder: Folder that paths in cells are relative to.
            allow_outside: Whether paths may lead out of the folder.

        Returns:
            Raw values, one for each row, and by index of a row, what is wrong with its cell.
        """

    @classmethod
    def decoded_shape(cls, options: Chosen) -> tuple[int, ...] | None:
        """Shape of one raw value, where all are one uint8 array in tensor form from the start.

        If it is large, it is kept on disk, see `mmkd_tf.data.kept`. None of other kinds.
        """
        return None

    @classmethod
    def absent(cls, values: Raw) -> np.ndarray:
        """Which raw values say nothing, bool `[n]`; of arrays those that hold only zeros."""
        return np.array([not np.any(value) for value in values], bool)

    @classmethod
    def content_keys(cls, values: Raw) -> list[bytes]:
        """For each raw value, where not said otherwise an array, a key that equal ones share."""
        contents = (str(one.shape).encode() + np.ascontiguousarray(one).data for one in values)
        return [hashlib.sha256(content).digest() for content in contents]

    @classmethod
    def pair_keys(cls, values: Raw) -> list[bytes]:
        """The same, by which values belong to one item of a pairwise task."""
        return cls.content_keys(values)

    @classmethod
    def copy_keys(cls, values: Raw) -> np.ndarray:
        """For each raw value int64 numbers, `[n, k]`, by which `are_copies` knows near copies.

        Where a kind does not say otherwise, only equal values are copies.
        """
        digests = [hashlib.sha256(key).digest()[:8] for key in cls.content_keys(values)]
        return np.frombuffer(b"".join(digests), np.int64).reshape(-1, 1)

    @classmethod
    def are_copies(cls, keys: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which of some values are about the same as which of others, bool `[n, m]`."""
        return np.all(keys[:, None] == others[None], axis=2)

    @classmethod
    @abstractmethod
    def fit(cls, name: str, values: Raw, options: Chosen) -> "Modality":
        """Makes the input of the training values."""

    @abstractmethod
    def for_student(self, values: Raw, **changes: Any) -> "Modality | None":
        """Makes the student's form of the input, of the same name.

        Args:
            values: Raw training values (tensors where raw ones are not kept).
            **changes: The options that differ.

        Returns:
            None where nothing differs.

        Raises:
            ValueError: If an option does not fit; lists all problems.
        """

    @classmethod
    def fits_feature(cls, connector) -> bool:
        """Whether a feature of a TensorFlow dataset can be this input."""
        return False

    @classmethod
    def feature_decoder(cls, connector):
        """What TensorFlow Datasets decodes such a feature with; None for its own way."""
        return None

    # Tensors.

    @abstractmethod
    def to_tensor(self, raw) -> tf.Tensor:
        """Turns a batch of raw values into the tensor that models take; runs in a graph."""

    strength: float = 1.0  # of augmentation; see the setting `training.augment_strength`

    @abstractmethod
    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes each example at random, as its row of `seeds` (int32 `[batch, 2]`) says."""

    def corrupt(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Damages some examples at random, as a poor sensor would; none by default.

        What blocks that do not learn make of damaged examples, those above them must have seen.
        """
        return batch

    def unknown_share(self, tensors: np.ndarray) -> float | None:
        """How much of some tensors the model can't tell apart, 0 to 1; None where that is no word.

        Of a text, the share of words that its vocabulary lacks.
        """
        return None

    @abstractmethod
    def fingerprint(self) -> bytes:
        """What tells this fitted input from another of the same tensors, such as a vocabulary."""

    # Models.

    @abstractmethod
    def input(self) -> keras.KerasTensor:
        """Makes the model's input, named as the input."""

    @abstractmethod
    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Encodes inputs to features `[batch, teacher_dim]`."""

    @abstractmethod
    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Encodes inputs to features `[batch, student_dim]`, at a small fraction of the cost."""

    # Kinds with parts that a fusion may attend to also have `teacher_tokens(inputs, presence)` and
    # `student_tokens(inputs, presence)`; see `mmkd_tf.modalities.image.Image`.

    # Exported files.

    @classmethod
    def of_tensor(cls, tensor: keras.KerasTensor) -> "Modality | None":
        """The input that a Keras model's input of this shape and dtype is, where nobody says.

        None unless it can be of no other kind.
        """
        return None

    @abstractmethod
    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Turns strings, as a SavedModel takes them, into the tensor form; runs in a graph.

        `content` is string `[batch, *string_shape]`: bytes of files, or texts; empty for an absent
        value.
        """

    @abstractmethod
    def encode(self, tensors: np.ndarray) -> list[bytes] | list[str] | list[list[bytes]]:
        """Undoes `decode` for some tensors, to try out an exported file.

        What `decode` gave is given back: `decode(encode(x))` is x, bit by bit. Of other tensors it
        may lose something, as a text does of unknown words.
        """

    @abstractmethod
    def file_description(self, dtype: str) -> dict:
        """What `mmkd.json` says of the input beside shape and dtype, as the file takes it."""

    def files(self) -> dict[str, str]:
        """By a short name such as `vocab.txt`, text files that a reader of the input needs."""
        return {}

    # Words.

    @abstractmethod
    def describe(self) -> str:
        """Says in a few words what the tensor holds."""

    def shown(self, value) -> dict[str, str]:
        """How a report shows one present value, a raw one where the kind keeps these.

        Returns:
            `form`, which names a macro of `mmkd_tf/report/templates/examples.html`, and what that
            shows: of a `picture` or a `sound` its `data`, a data URI of some KiB; of a `text` the
            `words`.
        """
        return {"form": "text", "words": f"a {self.noun}"}

    limits: ClassVar[str] = ""  # one sentence on what is lost, for the model card
    example: ClassVar[str] = ""  # Python code of a value, for the model card

    @classmethod
    def missing(cls) -> str:
        """What a row without it lacks."""
        return f"a {cls.noun}"


def is_absent(tensors: np.ndarray) -> np.ndarray:
    """Which of `[batch, ...]` in the tensor form are absent, that is all zeros; bool `[batch]`."""
    found = np.zeros(len(tensors), bool)
    for start in range(0, len(tensors), _AT_ONCE):
        part = tensors[start : start + _AT_ONCE]
        found[start : start + _AT_ONCE] = ~np.any(part.reshape(len(part), -1), axis=1)
    return found


def select(values: RawValues, indices: Sequence[int] | np.ndarray) -> RawValues:
    """Gives some of the raw values."""
    if hasattr(values, "select"):  # rows on disk
        return values.select(indices)
    return values[indices] if isinstance(values, np.ndarray) else [values[i] for i in indices]


def in_tensor_form(modality: Modality, values: RawValues, *, at_once: int = _AT_ONCE) -> np.ndarray:
    """Turns raw values, one or more, into the tensor form, `at_once` a time: memory stays small."""
    starts = range(0, len(values), at_once)
    parts = [modality.to_tensor(values[start : start + at_once]).numpy() for start in starts]
    return np.concatenate(parts)


def chosen(
    there: Mapping[str, Value], names: Collection[str], *, argument: str
) -> dict[str, Value]:
    """Gives the named ones in the order of `there`; `argument` is what the caller calls `names`."""
    if isinstance(names, str) or not names or not set(names) <= set(there):
        raise ValueError(
            f"`{argument}`: a list of one or more of {list(there)}, which the dataset has. "
            f"Received: {argument}={names!r}."
        )
    return {name: value for name, value in there.items() if name in names}


def checked_changes(name: str, options: type[InputOptions], **settings: Any) -> dict[str, Any]:
    """Gives what is set under `student` in `settings`, checked as options of an input are.

    Raises:
        ValueError: If an option does not fit; lists all problems.
    """
    try:
        return options(**settings).student_changes
    except ValidationError as error:
        problems = []
        for one in error.errors():
            message = one["msg"].removeprefix("Value error, ")
            place = ".".join(map(str, one["loc"]))
            problems.append(
                f"`{name}.{message[1:]}"
                if message.startswith("`")
                else f"`{name}.{place}`: {message}. Received: {one['input']!r}."
            )
        raise ValueError("\n".join(problems)) from None


# A batch may hold an input twice: as the student reads it under its name, and as teachers read it
# under `teacher/<name>`, which is left out where both are one.


def teacher_form(name: str) -> str:
    """The key of the form of an input that teachers read: `teacher/photo` for `photo`."""
    return TEACHER_PREFIX + name


def student_inputs(values: Mapping[str, Value]) -> dict[str, Value]:
    """What the student reads, by input, of values in both forms."""
    return {name: value for name, value in values.items() if "/" not in name}


def teacher_inputs(values: Mapping[str, Value]) -> dict[str, Value]:
    """What teachers read, by input, of values in both forms."""
    own = {
        name.removeprefix(TEACHER_PREFIX): value
        for name, value in values.items()
        if name.startswith(TEACHER_PREFIX)
    }
    return {**student_inputs(values), **own}
