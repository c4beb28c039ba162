"""Tells numbers from examples with an exported .tflite file."""

import os
from collections.abc import Mapping, Sequence

from mmkd_tf.edge.examples import Session


class Regressor:
    """A model of numbers read from a .tflite file, which brings its targets' names.

    As `Classifier` in all that concerns files and examples.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote for regression.
        num_threads: Number of threads that the interpreter may use, 1 to 64.

    Attributes:
        target_names: In the order of the model's outputs.
        inputs: Names of the model's inputs.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        self._session = Session(path, num_threads=num_threads, output="values")
        self.target_names = self._session.names
        self.inputs = self._session.inputs

    def __repr__(self) -> str:
        return f"Regressor({' + '.join(self.inputs)} -> {', '.join(self.target_names)})"

    def predict(self, **inputs) -> dict[str, float]:
        """Tells the numbers of one example, each in the unit of its target, by name.

        Args and errors are as in `Classifier.predict`.
        """
        return self._by_name(self._session.one(**inputs))

    def predict_batch(self, examples: Sequence[Mapping[str, object]]) -> list[dict[str, float]]:
        """Tells the numbers of several examples, as `Classifier.predict_batch`."""
        return [self._by_name(values) for values in self._session.batch(examples)]

    def unknown_words(self, **inputs) -> dict[str, tuple[str, ...]]:
        """Tells which words the model does not know, as `Classifier.unknown_words`."""
        return self._session.unknown_words(inputs)

    def remarks(self, **inputs) -> list[str]:
        """Says in sentences which words of an example's texts the model does not know."""
        return self._session.remarks(inputs)

    def _by_name(self, values: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.target_names, values, strict=True))
