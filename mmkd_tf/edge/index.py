"""Index: finds what lies nearest to an embedding among those that were added."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd_tf.edge.model_file import UNREADABLE
from mmkd_tf.files.whole import whole_file

_FIELDS = {"text", "ends", "embeddings"}
_OLD_FIELDS = {"items", "embeddings"}  # texts of one width, which lost a NUL at their end
_ANY_TEXT = "surrogatepass"  # what names of files may hold


@dataclass(frozen=True)
class Match:
    """One answer.

    Attributes:
        item: The text, the name of the picture, or whatever was added.
        score: Cosine of both embeddings, -1 to 1.
    """

    item: str
    score: float


class Index:
    """Embeddings with the items that they stand for; every search looks at all of them.

    A product of a matrix with a vector: a million items of 64 numbers take some 250 MB and a
    fraction of a second.

    Examples:
        >>> index = Index()
        >>> index.add(["red cup", "blue lamp"], np.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> index.search(np.array([0.8, 0.6]), top=1)
        [Match(item='red cup', score=0.8)]
    """

    def __init__(self):
        self._items: list[str] = []
        self._embeddings = np.zeros([0, 0], np.float32)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Index({len(self):,} items)"

    @property
    def items(self) -> tuple[str, ...]:
        """What was added, in that order."""
        return tuple(self._items)

    @property
    def embeddings(self) -> np.ndarray:
        """float32 `[n, width]`, each of length 1, in the order of the items; a copy."""
        return self._embeddings.copy()

    def add(self, items: Sequence[str], embeddings: np.ndarray) -> None:
        """Adds items.

        Args:
            items: One text for each embedding. The same may come several times.
            embeddings: float `[n, width]`, as an `Encoder` gives them, of one input.

        Raises:
            ValueError: If shapes do not fit, or an embedding is zeros or not finite; nothing is
                added then.
            TypeError: If an item is no text.
        """
        if isinstance(items, str) or not all(isinstance(item, str) for item in items):
            raise TypeError("`items`: a list of texts, one for each embedding.")
        embeddings = np.asarray(embeddings, np.float32)
        if embeddings.ndim != 2 or len(embeddings) != len(items):
            raise ValueError(
                "`embeddings`: float [n, width], one for each item. Received: "
                f"{list(embeddings.shape)} for {len(items)} items."
            )
        if len(self) and embeddings.shape[1] != self._embeddings.shape[1]:
            raise ValueError(
                f"`embeddings`: of width {self._embeddings.shape[1]}, as those before. Received: "
                f"width {embeddings.shape[1]}. Encode all items with files of one export."
            )
        if problems := _value_problems(embeddings, "embeddings"):
            raise ValueError(*problems)
        if len(items):
            before = self._embeddings if len(self) else embeddings[:0]
            self._embeddings = np.concatenate([before, _unit(embeddings)])
            self._items += items

    def search(self, query: np.ndarray, *, top: int = 10) -> list[Match]:
        """Finds the nearest items.

        Args:
            query: float `[width]`, an embedding of the other input.
            top: Number of answers, 1 or more; fewer come if there are fewer items.

        Returns:
            The answers, the nearest first; equals in the order in which they were added.

        Raises:
            ValueError: If the index is empty, or an argument does not fit.
        """
        query = np.asarray(query, np.float32)
        problems = []
        if not len(self):
            problems.append("`index`: at least one item. Received: none. Add some first.")
        elif query.shape != self._embeddings.shape[1:]:
            problems.append(
                f"`query`: one embedding, float [{self._embeddings.shape[1]}]. Received: "
                f"{list(query.shape)}. Of several take one at a time."
            )
        else:
            problems = _value_problems(query[np.newaxis], "query")
        if type(top) is not int or top < 1:
            problems.append(f"`top`: an int, 1 or more. Received: top={top!r}.")
        if problems:
            raise ValueError("\n".join(problems))
        scores = self._embeddings @ _unit(query[np.newaxis])[0]
        best = np.argsort(-scores, kind="stable")[:top]
        return [Match(self._items[i], round(float(scores[i]), 6)) for i in best]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the index to a file `.npz`, whole or not at all.

        It holds `text`, the UTF-8 of all items as uint8, `ends`, int64 `[n]`, where each ends in
        it, and `embeddings`, float32 `[n, width]`.

        Raises:
            ValueError: If the name ends otherwise, or the index is empty.
        """
        path = Path(path)
        if path.suffix != ".npz" or not len(self):
            raise ValueError(
                "`path`: a name that ends in .npz, for an index with items. Received: "
                f"'{path}' for {len(self)} items."
            )
        with whole_file(path) as unfinished:
            texts = [item.encode(errors=_ANY_TEXT) for item in self._items]
            np.savez(
                unfinished,
                text=np.frombuffer(b"".join(texts), np.uint8),
                ends=np.cumsum([len(text) for text in texts], dtype=np.int64),
                embeddings=self._embeddings,
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Index":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is something else, or damaged.
        """
        index = cls()
        try:
            if os.path.exists(path) and not os.path.isfile(path):  # a pipe would never end
                raise ValueError("a folder or device")
            with np.load(path) as arrays:
                if any(info.compress_type for info in arrays.zip.infolist()):
                    raise ValueError("its arrays are compressed, so that their size is not known")
                if set(arrays) not in (_FIELDS, _OLD_FIELDS):
                    raise ValueError(f"it holds {sorted(arrays)}")
                items = arrays["items"].tolist() if "items" in arrays else _texts(arrays)
                index.add(items, arrays["embeddings"])
        except FileNotFoundError:
            raise FileNotFoundError(
                f"`path`: a file that Index.save wrote. Received: '{os.fspath(path)}', which is "
                "not there."
            ) from None
        except (*UNREADABLE, MemoryError) as e:
            raise ValueError(
                f"`path`: a file that Index.save wrote. Received: '{os.fspath(path)}' ({e}). "
                "Make the index again."
            ) from None
        return index


def _texts(arrays) -> list[str]:
    """Divides the UTF-8 of all texts where each ends."""
    text, ends = arrays["text"], arrays["ends"]
    if (text.dtype, ends.dtype) != (np.uint8, np.int64) or not text.ndim == ends.ndim == 1:
        raise ValueError("its texts are not of this form")
    begins = np.concatenate([[0], ends[:-1]])
    if not len(ends) or ends[-1] != len(text) or np.any(begins > ends):
        raise ValueError("the places of its texts do not fit")
    joined = text.tobytes()
    places = zip(begins.tolist(), ends.tolist(), strict=True)
    return [joined[begin:end].decode(errors=_ANY_TEXT) for begin, end in places]


def _value_problems(embeddings: np.ndarray, name: str) -> list[str]:
    usable = np.isfinite(embeddings).all(axis=1) & embeddings.any(axis=1)
    if usable.all():
        return []
    return [
        f"`{name}`: finite numbers that are not all 0, which stand for an absent picture or text. "
        f"Received: others at {np.flatnonzero(~usable)[:5].tolist()}."
    ]


def _unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
