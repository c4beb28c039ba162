"""Asks a file about examples as people have them: readers by kind of input, and `Session`."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from mmkd_tf.edge.audio import SoundReader
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import ModelFile, file_prefix, read_model_file
from mmkd_tf.edge.picture import PictureReader
from mmkd_tf.edge.points import PointsReader
from mmkd_tf.edge.remarks import cut_words, unknown_words
from mmkd_tf.edge.series import SeriesReader
from mmkd_tf.edge.tabular import TabularReader
from mmkd_tf.edge.tokenizer import TextReader

_LISTED_PROBLEMS = 20
_MAX_THREADS = 64  # each one is started: a thousand would take the machine's memory
_CLASSES = {"probabilities": "Classifier", "values": "Regressor", "embedding": "Encoder"}


class Reader(Protocol):
    """Turns values of one kind, as people have them, into what one input of a model takes.

    `Reader(name, shape, dtype, description, files)` raises a ValueError if the input is none of
    its kind: `shape` is that of one value, `description` what `mmkd.json` says of the input, and
    `files` the texts that belong to it, such as a vocabulary, by their short names.
    """

    items: str  # how several are listed, "paths of pictures"
    absent: str  # a sentence on what counts as absent
    trial: np.ndarray  # a value in the model's form that asks the most of the model

    def __call__(self, value) -> np.ndarray | Sequence:
        """Gives the value in the model's form, all zeros if it is absent.

        `mmkd-tf predict` gives the text of its flag, so a reader may take a str besides; of a table
        the cell, a list of cells where the input is read from several columns. A class attribute
        `reads_files` says that texts are paths.

        A ValueError says that it can't be read, a TypeError that it is of another type; both name
        the input.
        """


READERS: dict[str, Callable[..., Reader]] = {
    "image": PictureReader,
    "tabular": TabularReader,
    "text": TextReader,
    "points": PointsReader,
    "series": SeriesReader,
    "audio": SoundReader,
}


def register_reader(kind: str, reader: Callable[..., Reader]) -> None:
    """Lets files with inputs of another kind, as `mmkd.json` names it, be read.

    Raises:
        ValueError: If the kind has a reader already.
    """
    if kind in READERS:
        raise ValueError(f"`kind`: one that has no reader yet. Received: kind={kind!r}.")
    READERS[kind] = reader


class ExampleReader:
    """Reads examples in the form that one model takes, with a reader for each input.

    `inputs` are shape, batch first, and dtype by name, `descriptions` what `mmkd.json` says of
    them, `files` texts such as vocabularies. A ValueError lists all inputs that can't be read.
    """

    def __init__(
        self,
        inputs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
        *,
        descriptions: Mapping[str, Mapping] | None = None,
        files: Mapping[str, str] | None = None,
    ):
        self.readers: dict[str, Reader] = {}
        problems = []
        for name, (shape, dtype) in inputs.items():
            try:
                description = (descriptions or {}).get(name, {})
                self.readers[name] = _reader(name, shape[1:], dtype, description, files or {})
            except ValueError as error:
                problems.append(f"an input '{name}' of {dtype.name} {list(shape)} ({error})")
        if problems:
            raise ValueError("; ".join(problems))

    def __call__(
        self, examples: Sequence[Mapping[str, object]], *, numbered: bool = True
    ) -> dict[str, np.ndarray]:
        """Reads examples, dicts by input name, to `[len(examples), ...]`; what one lacks is zeros.

        A ValueError, or a TypeError if only types are wrong, lists the problems of all examples,
        with their numbers if `numbered`.
        """
        tensors = {
            name: np.zeros((len(examples), *reader.trial.shape), reader.trial.dtype)
            for name, reader in self.readers.items()
        }
        problems = []
        for index, example in enumerate(examples):
            row = {name: tensor[index] for name, tensor in tensors.items()}
            place = f"`examples[{index}]`: " if numbered else ""
            problems += [(place, error) for error in self._fill(row, example)]
        if problems:
            raise _joined(problems)
        return tensors

    def _fill(self, row: Mapping[str, np.ndarray], example) -> list[Exception]:
        """Writes one example into its row of the tensors; gives the errors met."""
        names = " and ".join(self.readers)
        if not isinstance(example, Mapping):
            return [TypeError(f"a dict of {names}. Received: {type(example).__name__}.")]
        errors: list[Exception] = []
        for name, value in example.items():
            if value is not None and name not in self.readers:
                errors.append(
                    ValueError(
                        f"`{name}`: nothing, since this model takes {names} only. "
                        f"Received: {name}={str(value)[:40]!r}. Leave it out."
                    )
                )
            elif value is not None:
                try:
                    row[name][...] = self.readers[name](value)
                except (ValueError, TypeError) as error:
                    errors.append(error)
        if not errors and not any(values.any() for values in row.values()):
            errors.append(ValueError(self._nothing()))
        return errors

    def _nothing(self) -> str:
        """Says that an example has nothing of what the model takes."""
        readers = self.readers.values()
        what = "what this model reads" if len(readers) == 1 else "at least one of them"
        return (
            f"`{'`, `'.join(self.readers)}`: {what}. Received: nothing. Give what there is; what "
            "is absent may be left out. "
            + " ".join(dict.fromkeys(reader.absent for reader in readers))
        )


def _reader(name: str, shape: tuple, dtype: np.dtype, description: Mapping, files: Mapping):
    """Makes the reader of one input."""
    kind = description.get("kind", name)
    if kind not in READERS:
        raise ValueError(f"of kind '{kind}', of which there is no reader; register_reader adds one")
    if min(shape, default=1) < 1:
        raise ValueError("its sizes but the first must be known")
    prefix = file_prefix(name, kind)
    own = {file.removeprefix(prefix): files[file] for file in files if file.startswith(prefix)}
    return READERS[kind](name, shape, dtype, description, own)


def _joined(problems: Sequence[tuple[str, Exception]]) -> Exception:
    """Makes one error of several."""
    lines = [f"{place}{error}" for place, error in problems[:_LISTED_PROBLEMS]]
    if len(problems) > _LISTED_PROBLEMS:
        lines.append(f"and {len(problems) - _LISTED_PROBLEMS:,} more.")
    wrong_types = all(isinstance(error, TypeError) for _, error in problems)
    return (TypeError if wrong_types else ValueError)("\n".join(lines))


class Session:
    """A file that is read, checked and tried; what all kinds of models have in common.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote.
        num_threads: Number of threads that the interpreter may use, 1 to 64.
        output: Name of the output that the caller can answer for.

    Attributes:
        task: Name of what the model is for.
        names: Of classes, labels or targets, in the order of the outputs.
        inputs: Names of the model's inputs.
        items: By input name, how several values of it are listed, "texts".
        num_outputs: Number of outputs.
        threshold: Probability above which an output is given, where any number of them may be; of
            embeddings the cosine above which two are of one identity.
        temperature: What the model divides its logits by to be as sure as it is right, or None.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int, output: str):
        if type(num_threads) is not int or not 1 <= num_threads <= _MAX_THREADS:
            raise ValueError(
                f"`num_threads`: an int from 1 to {_MAX_THREADS}. "
                f"Received: num_threads={num_threads!r}. Start with 1 and measure."
            )
        file = read_model_file(path)
        if file.output in _CLASSES and file.output != output:
            raise ValueError(
                f"`path`: a model that gives {output}. Received: '{os.fspath(path)}', of "
                f"{file.task}, which gives {file.output}. "
                f"Open it with mmkd_tf.edge.{_CLASSES[file.output]}."
            )
        try:
            self._runner = TensorRunner(file.content, num_threads=num_threads)
        except ValueError as error:
            raise ValueError(str(error).replace("`content`", f"`path`, '{path}'", 1)) from error
        self.task, self.threshold, self.temperature = file.task, file.threshold, file.temperature
        self.names = list(file.class_names)
        self.inputs = list(self._runner.inputs)
        self.num_outputs = self._runner.num_classes
        problems = _output_problems(file, self._runner)
        try:
            self._read = ExampleReader(
                self._runner.inputs, descriptions=file.inputs, files=file.files
            )
        except ValueError as error:
            problems.insert(0, str(error))
        problems = problems or self._trial_problems()
        if problems:
            raise ValueError(
                "`path`: a model whose inputs can be read, with a name for each output. "
                f"Received: '{os.fspath(path)}', with {'; '.join(problems)}. "
                "Export it again, or run it with mmkd_tf.edge.interpreter.TensorRunner."
            )
        self.items = {name: reader.items for name, reader in self._read.readers.items()}

    def one(self, **inputs) -> list[float]:
        """Gives the outputs for one example; its values are as in `Classifier.predict`."""
        return self._answers(self._read([inputs], numbered=False), numbered=False)[0]

    def batch(self, examples: Sequence[Mapping[str, object]]) -> list[list[float]]:
        """Gives the outputs for each example; they are as in `Classifier.predict_batch`."""
        if not isinstance(examples, Sequence) or isinstance(examples, (str, bytes)):
            raise TypeError(
                "`examples`: a list of dicts, one for each example, such as "
                f"[{{'{self.inputs[-1]}': ...}}]. Received: {type(examples).__name__}."
            )
        return self._answers(self._read(examples)) if examples else []

    def _answers(self, tensors, *, numbered: bool = True) -> list[list[float]]:
        """Runs the model; a ValueError where it gives NaN or infinity, which is no answer."""
        answers = self._runner(tensors)
        wrong = np.flatnonzero(~np.isfinite(answers).all(axis=1))
        if len(wrong):
            places = ", ".join(f"`examples[{index}]`" for index in wrong[:_LISTED_PROBLEMS])
            what = f"for {places} ({len(wrong):,} of {len(answers):,})" if numbered else "for it"
            raise ValueError(
                "`path`: a model that answers each example with numbers. Received: NaN or infinity "
                f"{what}. Look at the example's values; if they are ordinary, export the model "
                "again, or train it anew."
            )
        return answers.tolist()

    def words(self, inputs: Mapping[str, object]) -> dict[str, list[tuple[str, bool]]]:
        """Gives by text the words that are read of one example, each with whether it is known.

        Inputs that are no texts, or of whose words the file knows nothing, are left out.
        """
        found = {}
        for name, reader in self._read.readers.items():
            if hasattr(reader, "words") and inputs.get(name) is not None:
                found[name] = reader.words(inputs[name])
        return {name: words for name, words in found.items() if words}

    def unknown_words(self, inputs: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
        """As `Classifier.unknown_words`."""
        return {
            name: tuple(dict.fromkeys(word for word, known in words if not known))
            for name, words in self.words(inputs).items()
        }

    def remarks(self, inputs: Mapping[str, object]) -> list[str]:
        """Says in sentences which words of one example are not known, or not read."""
        cut = {}
        for name, reader in self._read.readers.items():
            if hasattr(reader, "cut_words") and inputs.get(name) is not None:
                cut[name] = reader.cut_words(inputs[name])
        return [*unknown_words(self.words(inputs)), *cut_words(cut)]

    def _trial_problems(self) -> list[str]:
        """Runs what asks the most of the model, such as the vocabulary's last word."""
        try:
            self._runner({name: r.trial[np.newaxis] for name, r in self._read.readers.items()})
        except RuntimeError as error:
            return [f"a model that fails when it is tried ({error})"]
        return []


def _output_problems(file: ModelFile, runner: TensorRunner) -> list[str]:
    """Says what of the outputs is not as the file describes it."""
    problems = []
    num_names = len(set(file.class_names))
    if file.output == "embedding":
        if num_names or (len(runner.inputs) != 1 and file.task == "retrieval"):
            problems.append(f"the inputs {list(runner.inputs)} and {num_names} labels")
    elif not num_names == len(file.class_names) == runner.num_classes:
        problems.append(
            f"{len(file.class_names)} labels, {num_names} of them distinct, for "
            f"{runner.num_classes} outputs"
        )
    if runner.output != file.output:
        problems.append(f"an output '{runner.output}', described as '{file.output}'")
    return problems
