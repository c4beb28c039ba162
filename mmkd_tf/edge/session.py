"""Session: an exported file, ready to be asked about examples as people have them."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.edge.examples import ExampleReader
from mmkd_tf.edge.interpreter import OUTPUTS, TensorRunner
from mmkd_tf.edge.model_file import ModelFile, read_model_file
from mmkd_tf.edge.tokenizer import Tokenizer

_MAX_THREADS = 64  # each one is started: a thousand would take the machine's memory
_FORMS = {"image": (4, ("uint8", "float32")), "text": (2, ("int32", "int64", "uint8"))}
_READERS = {
    "single_label": "mmkd_tf.edge.Classifier",
    "multi_label": "mmkd_tf.edge.Classifier",
    "regression": "mmkd_tf.edge.Regressor",
    "retrieval": "mmkd_tf.edge.Encoder",
}


class Session:
    """A file that is read, checked and tried; what all kinds of models have in common.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote.
        num_threads: Number of threads that the interpreter may use, 1 to 64.
        tasks: The tasks that the caller can answer for.

    Attributes:
        task: What the outputs say.
        names: Of classes, labels or targets, in the order of the outputs.
        inputs: Names of the modalities that the model takes.
        num_outputs: Number of outputs.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model that can be run, or is for another task.
        ImportError: If the interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int, tasks: Sequence[str]):
        if type(num_threads) is not int or not 1 <= num_threads <= _MAX_THREADS:
            raise ValueError(
                f"`num_threads`: an int from 1 to {_MAX_THREADS}. "
                f"Received: num_threads={num_threads!r}. Start with 1 and measure."
            )
        file = read_model_file(path)
        if file.task not in tasks:
            raise ValueError(
                f"`path`: a model of {' or '.join(tasks)}. Received: '{os.fspath(path)}', of "
                f"{file.task}. Open it with {_READERS[file.task]}."
            )
        try:
            self._runner = TensorRunner(file.content, num_threads=num_threads)
        except ValueError as error:
            raise ValueError(str(error).replace("`content`", f"`path`, '{path}'", 1)) from error
        self.task = file.task
        self.names = list(file.class_names)
        self.inputs = list(self._runner.inputs)
        self.num_outputs = self._runner.num_classes
        problems = _problems(file, self._runner)
        if problems:
            raise ValueError(
                "`path`: a model of image and text with a label for each output. "
                f"Received: '{os.fspath(path)}', with {'; '.join(problems)}. "
                "Export it again, or run it with mmkd_tf.edge.interpreter.TensorRunner."
            )
        self._read = ExampleReader(self._runner.inputs, vocabulary=file.vocabulary)

    def one(self, *, image, text) -> list[float]:
        """Gives the outputs for one example; its values are as in `Classifier.predict`."""
        return self._runner(self._read([{"image": image, "text": text}], numbered=False)).tolist()[
            0
        ]

    def batch(self, examples: Sequence[Mapping[str, object]]) -> list[list[float]]:
        """Gives the outputs for each example; they are as in `Classifier.predict_batch`."""
        if not isinstance(examples, Sequence) or isinstance(examples, (str, bytes)):
            raise TypeError(
                "`examples`: a list of dicts, one for each example, such as "
                f"[{{'text': 'red cup'}}]. Received: {type(examples).__name__}."
            )
        return self._runner(self._read(examples)).tolist() if examples else []


def _problems(file: ModelFile, runner: TensorRunner) -> list[str]:
    """Says why a file that the interpreter accepts can't be asked about examples."""
    problems = []
    for name, (shape, dtype) in runner.inputs.items():
        rank, types = _FORMS.get(name, (0, ()))
        fits = len(shape) == rank and min(shape[1:]) > 0 and dtype.name in types
        if not fits or (name == "image" and shape[3] != 3):
            problems.append(f"an input '{name}' of {dtype.name} {list(shape)}")
    num_labels = len(set(file.class_names))
    if file.task == "retrieval":
        if len(runner.inputs) != 1 or num_labels:
            problems.append(f"the inputs {list(runner.inputs)} and {num_labels} labels")
    elif not num_labels == len(file.class_names) == runner.num_classes:
        problems.append(
            f"{len(file.class_names)} labels, {num_labels} of them distinct, for "
            f"{runner.num_classes} outputs"
        )
    if runner.output != OUTPUTS[file.task]:
        problems.append(f"an output '{runner.output}', not the '{OUTPUTS[file.task]}' of its task")
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
