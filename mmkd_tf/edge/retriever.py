"""Finds texts by a picture, or pictures by a text, with the two files of one run."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmkd_tf.edge.encoder import Encoder
from mmkd_tf.edge.index import Index, Match
from mmkd_tf.edge.model_file import find_file

_OTHER = {"image": "text", "text": "image"}


class Retriever:
    """The two encoders of a folder, and the texts that lie beside them.

    Args:
        folder: A folder with `<name>_image.tflite` and `<name>_text.tflite`, or with each as
            `_small.tflite`; and with `<name>_texts.npz`, if there is a choice of texts.
        name: How the files' names begin.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not one that can be run, or the two give other widths.
    """

    def __init__(self, folder: str | os.PathLike, *, name: str = "student"):
        self._folder, self._name = Path(folder), name
        files = {kind: find_tower(folder, kind, name=name) for kind in _OTHER}
        if missing := [file.name for file in files.values() if not file.is_file()]:
            raise FileNotFoundError(
                "`folder`: that of a retrieval run, with a file for pictures and one for texts. "
                f"Received: '{os.fspath(folder)}', without {' and '.join(missing)}."
            )
        self._encoders = {kind: Encoder(file) for kind, file in files.items()}
        widths = {kind: encoder.embedding_dim for kind, encoder in self._encoders.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(
                f"`folder`: two files of one export. Received: '{folder}', with embeddings of "
                f"{widths}. Export both again."
            )

    def find(
        self,
        *,
        image=None,
        text: str | None = None,
        candidates: Sequence | None = None,
        top: int = 10,
    ) -> list[Match]:
        """Finds what belongs to a picture or to a text.

        Args:
            image: A picture, as `Classifier.predict` takes it, whose texts are sought.
            text: Or a text, whose pictures are sought.
            candidates: What to choose from: texts for a picture, by default those of the folder;
                paths of pictures for a text.
            top: Number of answers.

        Returns:
            The answers, the best first.

        Raises:
            ValueError: If not one of `image` and `text` is given, there is nothing to choose from,
                or something can't be read.
        """
        query = {k: v for k, v in (("image", image), ("text", text)) if v is not None}
        if len(query) != 1:
            raise ValueError(
                "`image`, `text`: one of them, by which the other is sought. Received: "
                f"{' and '.join(query) or 'neither'}."
            )
        ((kind, value),) = query.items()
        index = self._index(_OTHER[kind], candidates)
        return index.search(self._encoders[kind].encode([value])[0], top=top)

    def _index(self, kind: str, candidates) -> Index:
        texts = self._folder / f"{self._name}_texts.npz"
        if candidates is None and kind == "text" and texts.is_file():
            return Index.load(texts)
        if not candidates:
            what = "texts" if kind == "text" else "paths of pictures"
            raise ValueError(f"`candidates`: {what} to choose from, at least one. Received: none.")
        index = Index()
        index.add([str(c) for c in candidates], self._encoders[kind].encode(candidates))
        return index


def find_tower(folder: str | os.PathLike, kind: str, *, name: str = "student") -> Path:
    """Finds the file of one tower, as `find_file` does.

    Args:
        folder: The folder.
        kind: `"image"` or `"text"`.
        name: How the file's name begins.

    Returns:
        Its path; that of the float32 one if there is none.
    """
    return find_file(folder, f"{name}_{kind}")
