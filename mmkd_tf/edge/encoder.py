"""Turns pictures or texts into embeddings with an exported .tflite file."""

import os
from collections.abc import Sequence

import numpy as np

from mmkd_tf.edge.session import Session


class Encoder:
    """One tower of a model of pictures and texts that belong together, read from a .tflite file.

    Pictures and texts that belong together have embeddings with a high cosine, whichever of the
    two files of one export they come from; `mmkd_tf.edge.Index` searches them. It needs neither
    TensorFlow nor Keras. One object serves one thread.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote for retrieval.
        num_threads: Number of threads that the interpreter may use, 1 to 64.

    Attributes:
        modality: `"image"` or `"text"`, what the file reads.
        embedding_dim: Width of the embeddings.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model that this class can run.
        ImportError: If the interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        self._session = Session(path, num_threads=num_threads, tasks=("retrieval",))
        (self.modality,) = self._session.inputs
        self.embedding_dim = self._session.num_outputs

    def __repr__(self) -> str:
        return f"Encoder({self.modality} -> {self.embedding_dim} numbers)"

    def encode(self, values: Sequence) -> np.ndarray:
        """Encodes pictures or texts.

        Args:
            values: A list of pictures or of texts, as `Classifier.predict` takes them one by one.
                They are all held in memory.

        Returns:
            float32 `[len(values), embedding_dim]`, each of length 1.

        Raises:
            ValueError: If a picture can't be read, or an example has neither a picture nor a word,
                which stands for none and has no embedding. Lists the problems of all.
            TypeError: If values of another type are all that is wrong.
        """
        if isinstance(values, (str, bytes, os.PathLike)) or not hasattr(values, "__len__"):
            raise TypeError(
                f"`values`: a list, also of one {self.modality}. Received: "
                f"{type(values).__name__}. Put it in brackets."
            )
        rows = self._session.batch([{self.modality: value} for value in values])
        return np.array(rows, np.float32).reshape(len(values), self.embedding_dim)
