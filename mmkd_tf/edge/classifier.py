"""Classifies pictures and texts with an exported .tflite file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.edge.examples import ExampleReader
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import ModelFile, read_model_file
from mmkd_tf.edge.tokenizer import Tokenizer

_SHOWN = 3
_MAX_THREADS = 64  # each one is started: a thousand would take the machine's memory
_FORMS = {"image": (4, ("uint8", "float32")), "text": (2, ("int32", "int64", "uint8"))}


@dataclass(frozen=True, repr=False)
class Prediction:
    """The answer for one example.

    Attributes:
        label: Name of the most probable class.
        probability: Its probability, 0 to 1.
        probabilities: Probability by class name, the most probable first.
    """

    label: str
    probability: float
    probabilities: dict[str, float]

    def __repr__(self) -> str:
        shown = list(self.probabilities.items())[:_SHOWN]
        parts = [f"{name} {100 * probability:.1f} %" for name, probability in shown]
        more = len(self.probabilities) - len(shown)
        return f"Prediction({', '.join(parts)}{f', {more} more' if more else ''})"


class Classifier:
    """A classifier read from a .tflite file, which brings its labels and its vocabulary.

    It needs neither TensorFlow nor Keras. One object serves one thread. An example needs one
    modality: what is absent may be left out, and a text without a letter or digit counts as
    absent. Words that the model does not know are no error: each is an unknown word to it.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote.
        num_threads: Number of threads that the interpreter may use, 1 to 64.

    Attributes:
        class_names: In the order of the model's outputs.
        inputs: Names of the modalities that the model takes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model that this class can run.
        ImportError: If the interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        if type(num_threads) is not int or not 1 <= num_threads <= _MAX_THREADS:
            raise ValueError(
                f"`num_threads`: an int from 1 to {_MAX_THREADS}. "
                f"Received: num_threads={num_threads!r}. Start with 1 and measure."
            )
        file = read_model_file(path)
        try:
            self._runner = TensorRunner(file.content, num_threads=num_threads)
        except ValueError as error:
            raise ValueError(str(error).replace("`content`", f"`path`, '{path}'", 1)) from error
        self.class_names = list(file.class_names)
        self.inputs = list(self._runner.inputs)
        problems = _problems(file, self._runner)
        if problems:
            raise ValueError(
                "`path`: a model of image and text with a label for each output. "
                f"Received: '{os.fspath(path)}', with {'; '.join(problems)}. "
                "Export it again, or run it with mmkd_tf.edge.interpreter.TensorRunner."
            )
        self._read = ExampleReader(self._runner.inputs, vocabulary=file.vocabulary)

    def __repr__(self) -> str:
        return f"Classifier({' + '.join(self.inputs)} -> {len(self.class_names)} classes)"

    def predict(self, *, image=None, text: str | None = None) -> Prediction:
        """Classifies one example.

        Args:
            image: A path, the bytes of a picture file, a Pillow image, or an array
                `[height, width, 3]` of any size with values 0 to 255; None if there is none. An
                array of zeros counts as none, as in a dataset.
            text: As people write it; None or empty if there is none.

        Returns:
            The classes with their probabilities.

        Raises:
            ValueError: If neither a picture nor a word is given, a picture can't be read, or the
                model does not take what is given. Lists all problems.
            TypeError: If a value of another type is all that is wrong.
        """
        tensors = self._read([{"image": image, "text": text}], numbered=False)
        return self._predictions(tensors)[0]

    def predict_batch(self, examples: Sequence[Mapping[str, object]]) -> list[Prediction]:
        """Classifies several examples; quicker than one by one if the file takes batches.

        Args:
            examples: Dicts of `image` and `text`, or of one of them, with values as `predict`
                takes them. They are all held in memory.

        Returns:
            One prediction for each example, in the same order.

        Raises:
            ValueError: As in `predict`; lists the problems of all examples.
            TypeError: If values of another type are all that is wrong.
        """
        if not isinstance(examples, Sequence) or isinstance(examples, (str, bytes)):
            raise TypeError(
                "`examples`: a list of dicts, one for each example, such as "
                f"[{{'text': 'red cup'}}]. Received: {type(examples).__name__}."
            )
        return self._predictions(self._read(examples)) if examples else []

    def _predictions(self, tensors: Mapping[str, np.ndarray]) -> list[Prediction]:
        predictions = []
        for probabilities in self._runner(tensors).tolist():
            pairs = zip(self.class_names, probabilities, strict=True)
            ranked = sorted(pairs, key=lambda pair: -pair[1])
            predictions.append(Prediction(*ranked[0], dict(ranked)))
        return predictions


def _problems(file: ModelFile, runner: TensorRunner) -> list[str]:
    """Says why a file that the interpreter accepts is none for a Classifier."""
    problems = []
    for name, (shape, dtype) in runner.inputs.items():
        rank, types = _FORMS.get(name, (0, ()))
        fits = len(shape) == rank and min(shape[1:]) > 0 and dtype.name in types
        if not fits or (name == "image" and shape[3] != 3):
            problems.append(f"an input '{name}' of {dtype.name} {list(shape)}")
    num_labels = len(set(file.class_names))
    if not num_labels == len(file.class_names) == runner.num_classes:
        problems.append(
            f"{len(file.class_names)} labels, {num_labels} of them distinct, for "
            f"{runner.num_classes} outputs"
        )
    return problems or _trial_problems(file, runner)


def _trial_problems(file: ModelFile, runner: TensorRunner) -> list[str]:
    """Runs an example without a picture and with the vocabulary's last word."""
    tensors = {
        name: np.zeros((1, *shape[1:]), dtype) for name, (shape, dtype) in runner.inputs.items()
    }
    if file.vocabulary is not None and "text" in tensors and tensors["text"].dtype != np.uint8:
        try:
            Tokenizer(file.vocabulary, length=1)
        except ValueError as error:
            return [str(error)]
        tensors["text"][:] = len(file.vocabulary) - 1
    try:
        runner(tensors)
    except RuntimeError as error:
        return [f"a model that fails when it is tried ({error})"]
    return []
