"""Classifies examples with an exported .tflite file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmkd_tf.edge.examples import Session
from mmkd_tf.edge.remarks import certainty

_SHOWN = 3


@dataclass(frozen=True, repr=False)
class Prediction:
    """The answer for one example.

    Attributes:
        label: Name of the most probable class.
        probability: Its probability, 0 to 1.
        probabilities: Probability by class name, the most probable first.
        labels: The classes that are given: `label` alone, or of a file that gives any number of
            labels, those whose probability is above its threshold, 0.5, the most probable first;
            maybe none.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = list(self.probabilities.items())[:_SHOWN]
        parts = [f"{name} {100 * probability:.1f} %" for name, probability in shown]
        more = len(self.probabilities) - len(shown)
        return f"Prediction({', '.join(parts)}{f', {more} more' if more else ''})"


class Classifier:
    """A classifier read from a .tflite file, which brings its labels and its vocabulary.

    It needs neither TensorFlow nor Keras. Threads may share one object. An example needs one
    input: what is absent may be left out, and a text without a letter or digit counts as absent.
    Words that the model does not know are no error: each is an unknown word to it. A file whose
    labels exclude no other (task multi_label) gives each a probability of its own; read the
    answer's `labels` then.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote.
        num_threads: Number of threads that the interpreter may use, 1 to 64.

    Attributes:
        class_names: In the order of the model's outputs.
        inputs: Names of the model's inputs.
        task: Name of what the model is for, such as "single_label".
        temperature: What the model divides its logits by, so that its probabilities are as sure as
            they are right; None of a file whose probabilities are not calibrated.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model that this class can run.
        ImportError: If the interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        self._session = Session(path, num_threads=num_threads, output="probabilities")
        self.class_names = self._session.names
        self.inputs = self._session.inputs
        self.task = self._session.task
        self.temperature = self._session.temperature

    def __repr__(self) -> str:
        what = "classes" if self._session.threshold is None else "labels"
        return f"Classifier({' + '.join(self.inputs)} -> {len(self.class_names)} {what})"

    def predict(self, **inputs) -> Prediction:
        """Classifies one example.

        Args:
            **inputs: Values by input name, such as `image=` and `text=`; None if there is none.
                Of a picture a path, the bytes of a picture file, a Pillow image, or an array
                `[height, width, 3]` of any size with values 0 to 255 (an array of zeros counts as
                none, as in a dataset); of a text a str as people write it.

        Raises:
            ValueError: If nothing is given that the model takes, a picture can't be read, or the
                model does not take what is given, or answers with no number (NaN). Lists all
                problems.
            TypeError: If a value of another type is all that is wrong.
        """
        return self._prediction(self._session.one(**inputs))

    def predict_batch(self, examples: Sequence[Mapping[str, object]]) -> list[Prediction]:
        """Classifies several examples; quicker than one by one if the file takes batches.

        Args:
            examples: Dicts of values by input name, as `predict` takes them. They are all held in
                memory. Errors are as there, with the problems of all examples.

        Returns:
            One prediction for each example, in the same order.
        """
        return [self._prediction(outputs) for outputs in self._session.batch(examples)]

    def unknown_words(self, **inputs) -> dict[str, tuple[str, ...]]:
        """Tells which words of an example's texts the model does not know; it is not run.

        Args:
            **inputs: As in `predict`.

        Returns:
            By name of a text, its unknown words as the model reads them, each once, in their order.
            Texts that are not given, and those of a file without a vocabulary, are left out.
        """
        return self._session.unknown_words(inputs)

    def remarks(self, prediction: Prediction, /, **inputs) -> list[str]:
        """Says in sentences how sure an answer is, and which words the model does not know.

        Args:
            prediction: What `predict` gave.
            **inputs: What it gave it for.
        """
        calibrated, threshold = self.temperature is not None, self._session.threshold
        said = certainty(prediction.probabilities, calibrated=calibrated, threshold=threshold)
        return [said, *self._session.remarks(inputs)]

    def _prediction(self, probabilities: Sequence[float]) -> Prediction:
        pairs = zip(self.class_names, probabilities, strict=True)
        ranked = sorted(pairs, key=lambda pair: -pair[1])
        threshold, labels = self._session.threshold, (ranked[0][0],)
        if threshold is not None:
            labels = tuple(name for name, probability in ranked if probability > threshold)
        return Prediction(*ranked[0], dict(ranked), labels)
