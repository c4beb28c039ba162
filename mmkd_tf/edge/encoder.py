"""Turns examples into embeddings with exported .tflite files, and finds what belongs together."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmkd_tf.edge.examples import Session
from mmkd_tf.edge.index import Index, Match
from mmkd_tf.edge.model_file import SMALL, find_file, read_model_file


class Encoder:
    """A model of embeddings, read from a .tflite file: one tower of two, or one of identities.

    What belongs together, such as a picture and its text, or two pictures of one person, has
    embeddings with a high cosine; those of the two towers of one export may be compared.
    `mmkd_tf.edge.Index` searches them. As `Classifier` in all that concerns files.

    Args:
        path: A file that `mmkd_tf.export.tflite.export_tflite` wrote for retrieval or for
            embedding.
        num_threads: Number of threads that the interpreter may use, 1 to 64.

    Attributes:
        inputs: Names of the inputs that the file reads; a tower reads one.
        modality: The name of the one input, or all names, "image and text".
        items: How several values of it are listed, "texts" or "paths of pictures"; of several
            inputs "dicts of image and text".
        embedding_dim: Width of the embeddings.
        threshold: Of a model of identities, the cosine above which two are taken for one: 1 % of
            the pairs of two identities of validation are above it. None where the file has none.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        self._session = Session(path, num_threads=num_threads, output="embedding")
        self.inputs, items = list(self._session.items), list(self._session.items.values())
        self.modality = " and ".join(self.inputs)
        self.items = items[0] if len(items) == 1 else f"dicts of {self.modality}"
        self.embedding_dim, self.threshold = self._session.num_outputs, self._session.threshold

    def __repr__(self) -> str:
        return f"Encoder({self.modality} -> {self.embedding_dim} numbers)"

    def encode(self, values: Sequence) -> np.ndarray:
        """Encodes values of the input.

        Args:
            values: A list of pictures or of texts, as `Classifier.predict` takes them one by one;
                where the file reads several inputs, of dicts by name. They are all held in memory.

        Returns:
            float32 `[len(values), embedding_dim]`, each of length 1.

        Raises:
            ValueError: If a picture can't be read, or a value says nothing, such as a text without
                a word, which stands for none and has no embedding. Lists the problems of all.
            TypeError: If values of another type are all that is wrong.
        """
        if isinstance(values, (str, bytes, os.PathLike)) or not hasattr(values, "__len__"):
            raise TypeError(
                f"`values`: a list, also of one {self.modality}. Received: "
                f"{type(values).__name__}. Put it in brackets."
            )
        rows = self._session.batch([self._by_name(value) for value in values])
        return np.array(rows, np.float32).reshape(len(values), self.embedding_dim)

    def embed(self, **inputs) -> np.ndarray:
        """Encodes one example, such as `encoder.embed(image="face.jpg")`.

        Args:
            **inputs: By name of an input its value, as `Classifier.predict` takes it; what is
                absent may be left out.

        Returns:
            float32 `[embedding_dim]`, of length 1.

        Raises:
            ValueError: If nothing is given, or something can't be read.
            TypeError: If a value of another type is all that is wrong.
        """
        return np.array(self._session.one(**inputs), np.float32)

    def is_same(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Whether two embeddings of this file are taken for one identity.

        That is where their cosine is above `threshold`. Where a wrong yes is worse than a wrong
        no, compare with a higher number of your own, found on examples as yours are.

        Raises:
            ValueError: If the file has no threshold, or one is no embedding of its width.
        """
        shapes = [np.shape(each) for each in (first, second)]
        if self.threshold is None or shapes != 2 * [(self.embedding_dim,)]:
            has = "no threshold" if self.threshold is None else f"a threshold of {self.threshold}"
            raise ValueError(
                f"`first`, `second`: two embeddings, float [{self.embedding_dim}], for a file with "
                f"a threshold, as runs of embedding write it. Received: {list(map(list, shapes))}, "
                f"for a file with {has}."
            )
        return bool(np.dot(first, second) > self.threshold)

    def remarks(self, value) -> list[str]:
        """Says in sentences which words of a text the model does not know; none of a picture."""
        return self._session.remarks(self._by_name(value))

    def _by_name(self, value):
        return {self.modality: value} if len(self.inputs) == 1 else value


class Retriever:
    """The two encoders of a folder, and what lies beside them to be found.

    Args:
        folder: A folder with a file `<name>_<input>.tflite` or `<name>_<input>_small.tflite` for
            each of two inputs, such as `student_image.tflite` and `student_text.tflite`; and with
            `<name>_<input>s.npz`, if there is a choice, such as `student_texts.npz`.
        name: How the files' names begin.

    Raises:
        FileNotFoundError: If there are no two such files.
        ValueError: If a file is not one that can be run, or the two give other widths.
    """

    def __init__(self, folder: str | os.PathLike, *, name: str = "student"):
        self._folder, self._name = Path(folder), name
        files = find_towers(folder, name=name)
        if len(files) != 2:
            there = ", ".join(file.name for file in files.values()) or "none"
            raise FileNotFoundError(
                f"`folder`: that of a retrieval run, with a file {name}_<input>.tflite for each of "
                f"two inputs. Received: '{os.fspath(folder)}', with {there}."
            )
        self._encoders = {key: Encoder(file) for key, file in files.items()}
        widths = {key: encoder.embedding_dim for key, encoder in self._encoders.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(
                f"`folder`: two files of one export. Received: '{folder}', with embeddings of "
                f"{widths}. Export both again."
            )

    def find(self, *, candidates: Sequence | None = None, top: int = 10, **inputs) -> list[Match]:
        """Finds what belongs to a value of one input, such as the texts of a picture.

        Args:
            candidates: What to choose from, texts or paths of pictures; by default those of the
                folder, which are texts.
            top: Number of answers.
            **inputs: A value of one of the two inputs, as `Classifier.predict` takes it.

        Returns:
            The answers, the best first.

        Raises:
            ValueError: If not one value is given, there is nothing to choose from, or something
                can't be read.
        """
        query = {name: value for name, value in inputs.items() if value is not None}
        if len(query) != 1 or not set(query) <= set(self._encoders):
            raise ValueError(
                f"`{'`, `'.join(self._encoders)}`: one of them, by which the other is sought. "
                f"Received: {' and '.join(query) or 'neither'}."
            )
        ((name, value),) = query.items()
        (other,) = self._encoders.keys() - query
        index = self._index(other, candidates)
        return index.search(self._encoders[name].encode([value])[0], top=top)

    def remarks(self, **inputs) -> list[str]:
        """Says in sentences which words of a given text the model does not know."""
        given = {name: value for name, value in inputs.items() if value is not None}
        said = (self._encoders[name].remarks(value) for name, value in given.items())
        return [sentence for sentences in said for sentence in sentences]

    def _index(self, name: str, candidates) -> Index:
        """Gives what is to be found of an input."""
        file = self._folder / f"{self._name}_{name}s.npz"
        if candidates is None and file.is_file():
            return Index.load(file)
        encoder = self._encoders[name]
        if not candidates:
            raise ValueError(
                f"`candidates`: {encoder.items} to choose from, at least one. Received: none."
            )
        index = Index()
        index.add([str(c) for c in candidates], encoder.encode(candidates))
        return index


def find_towers(folder: str | os.PathLike, *, name: str = "student") -> dict[str, Path]:
    """Finds the files `<name>_<input>` of towers, as `find_file` does, by name of the input."""
    paths = Path(folder).glob(f"{name}_*.tflite")
    inputs = {path.stem.removesuffix(SMALL).removeprefix(f"{name}_") for path in paths}
    files = {key: find_file(folder, f"{name}_{key}") for key in sorted(inputs)}
    return {
        key: file
        for key, file in files.items()
        if file.is_file() and list(read_model_file(file).inputs) == [key]
    }
