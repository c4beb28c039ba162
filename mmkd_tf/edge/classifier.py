"""Classifies a picture and a text with an exported .tflite file."""

import os
from dataclasses import dataclass

import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.edge.picture import PictureError, read_picture
from mmkd_tf.edge.tokenizer import Tokenizer

_SHOWN = 3


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

    It needs neither TensorFlow nor Keras. One object serves one thread.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote.
        num_threads: Number of threads that the interpreter may use.

    Attributes:
        class_names: In the order of the model's outputs.
        inputs: Names of the modalities that the model takes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model that this class can run.
        ImportError: If the interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        file = read_model_file(path)
        self._runner = TensorRunner(file.content, num_threads=num_threads)
        self.class_names = list(file.class_names)
        self.inputs = list(self._runner.inputs)
        others = sorted(set(self.inputs) - {"image", "text"})
        if others or len(self.class_names) != self._runner.num_classes:
            raise ValueError(
                "`path`: a model of image and text with a label for each output. "
                f"Received: '{path}', with inputs {self.inputs}, {len(self.class_names)} labels "
                f"and {self._runner.num_classes} outputs. "
                "Run its tensors with mmkd_tf.edge.interpreter.TensorRunner."
            )
        self._tokenizer = None
        if "text" in self.inputs and file.vocabulary:
            length = self._runner.inputs["text"][0][1]
            self._tokenizer = Tokenizer(file.vocabulary, length)

    def __repr__(self) -> str:
        return f"Classifier({' + '.join(self.inputs)} -> {len(self.class_names)} classes)"

    def predict(self, *, image=None, text: str | None = None) -> Prediction:
        """Classifies one example.

        Args:
            image: A path, the bytes of a picture file, a Pillow image, or an array
                `[height, width, 3]` of any size with values 0 to 255; None if there is none.
            text: As people write it; None or empty if there is none.

        Returns:
            The classes with their probabilities.

        Raises:
            ValueError: If neither is given, a picture can't be read, or the model does not take
                what is given.
            TypeError: If a value is of another type.
        """
        given = {"image": image, "text": text}
        given = {name: value for name, value in given.items() if value is not None}
        problems = [
            f"`{name}`: nothing, since this model takes {' and '.join(self.inputs)} only. "
            f"Received: {name}={str(value)[:40]!r}. Leave it out."
            for name, value in given.items()
            if name not in self.inputs
        ]
        if not given:
            problems.append(
                f"`{'`, `'.join(self.inputs)}`: at least one of them. Received: none. "
                "Give what there is; the model copes with what is absent."
            )
        if problems:
            raise ValueError("\n".join(problems))
        tensors = {name: np.zeros(*self._runner.inputs[name]) for name in self.inputs}
        if "image" in given:
            tensors["image"] = self._image_tensor(image)
        if "text" in given:
            tensors["text"] = self._text_tensor(text)
        probabilities = self._runner(tensors).tolist()
        ranked = sorted(
            zip(self.class_names, probabilities, strict=True), key=lambda pair: -pair[1]
        )
        return Prediction(*ranked[0], dict(ranked))

    def _image_tensor(self, image) -> np.ndarray:
        (_, height, width, _), dtype = self._runner.inputs["image"]
        try:
            pixels = read_picture(image, height=height, width=width)
        except PictureError as error:
            raise ValueError(str(error).replace("`source`", "`image`", 1)) from error
        except TypeError as error:
            raise TypeError(str(error).replace("`source`", "`image`", 1)) from error
        return pixels[np.newaxis].astype(dtype)

    def _text_tensor(self, text: str) -> np.ndarray:
        if not isinstance(text, str):
            raise TypeError(
                f"`text`: a str. Received: text={type(text).__name__}. Decode bytes as UTF-8."
            )
        if self._tokenizer is None:
            raise ValueError(
                "`text`: nothing, since this file was exported without a vocabulary. "
                "Export it with vocabulary=."
            )
        dtype = self._runner.inputs["text"][1]
        return np.array([self._tokenizer(text)], dtype)
