"""Many pictures: decoded once for all runs into a file, and read from there row by row.

Plain reads, where NumPy would map the file into memory: what is read of a mapped file counts as
memory of the process until the system is short of it.
"""

import hashlib
import json
import math
import os
import shutil
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mmkd_tf.files.kept import ABOUT, DECODED, UNFINISHED, cache_folder, make_room
from mmkd_tf.modalities.modality import Modality, in_tensor_form

PART_BYTES = 2**24
_VALUES = "values.npy"


class KeptRows:
    """Stands for an array `[n, ...]` whose rows lie in a file: an index, as of NumPy, reads them.

    `select` gives some of the rows without reading them.
    """

    def __init__(self, file: "_File", rows: np.ndarray):
        self._file, self._rows = file, rows
        self.shape, self.dtype = (len(rows), *file.shape[1:]), file.dtype
        self.ndim, self.nbytes = len(self.shape), len(rows) * file.row_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index) -> np.ndarray:
        rows = self._rows[index]
        return self._file.read(rows) if np.ndim(rows) else self._file.read(rows[np.newaxis])[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        at_once = max(1, PART_BYTES // self._file.row_bytes)
        for start in range(0, len(self), at_once):
            yield from self[start : start + at_once]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def select(self, indices: Sequence[int] | np.ndarray) -> "KeptRows":
        """Some of the rows, in the order of their indices."""
        return KeptRows(self._file, self._rows[np.asarray(indices, np.intp)])

    def in_form(self, modality: Modality) -> "KeptRows":
        """The tensors that a modality makes of the rows; they are kept as these are."""
        given = modality.input()
        form = repr((given.shape, given.dtype, modality.fingerprint(), tf.__version__))
        if form not in self._file.forms:
            self._file.forms[form] = self._file.changed(modality, form)
        return KeptRows(self._file.forms[form], self._rows)


class _File:
    """An open file of an array: open, it can be read to the end though another process removes it.

    Attributes:
        key: What tells its content from others; None where nothing does.
        source: The table or split that it was made of.
        forms: By modality, what was made of it.
    """

    def __init__(self, path: Path, key: str | None, source: str):
        self.key, self.source, self.forms = key, source, dict[str, _File]()
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
            self._begin = file.tell()
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        # Windows ends lines of what is not opened as binary.
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._number)
        if os.fstat(self._number).st_size != self._begin + self.shape[0] * self.row_bytes:
            raise ValueError(f"{path}: cut short")

    def read(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty([len(rows), *self.shape[1:]], self.dtype)
        if not found.size:
            return found
        view, size = found.data.cast("B"), self.row_bytes
        starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1).tolist()
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            part, at = view[start * size : end * size], self._begin + int(rows[start]) * size
            while part:
                if not (number := self._read_into(part, at)):
                    raise OSError(f"{self.source}: what is kept of it was cut short. Begin anew.")
                part, at = part[number:], at + number
        return found

    def _read_into(self, part: memoryview, at: int) -> int:
        """Reads some bytes from a place on, at most as many as there is room for; says how many."""
        if hasattr(os, "preadv"):
            return os.preadv(self._number, [part], at)
        with self._lock:  # Windows knows one place in an open file for all threads
            os.lseek(self._number, at, os.SEEK_SET)
            found = os.read(self._number, min(len(part), PART_BYTES))
        part[: len(found)] = found
        return len(found)

    def changed(self, modality: Modality, form: str) -> "_File":
        key = self.key and hashlib.sha256(f"{self.key} {form}".encode()).hexdigest()[:32]
        if found := opened(key):
            return found[0]
        rows, at_once = np.arange(self.shape[0]), max(1, PART_BYTES // self.row_bytes)
        given = modality.input()
        with Writer(key, self.source, (len(rows), *given.shape[1:]), given.dtype) as writer:
            for start in range(0, len(rows), at_once):
                values = self.read(rows[start : start + at_once])
                writer.add(in_tensor_form(modality, values), {})
            return writer.finish()[0]


class Writer:
    """Takes an array part by part; the whole of it becomes an entry of the cache, or nothing.

    Without a key it is there for this process alone, and no longer than that.
    """

    def __init__(self, key: str | None, source: str, shape: Sequence[int], dtype):
        self._key, self._source, self._problems, self._number = key, source, dict[int, str](), 0
        home, num_bytes = cache_folder() / DECODED, math.prod(shape) * np.dtype(dtype).itemsize
        home.mkdir(parents=True, exist_ok=True)
        if not make_room(num_bytes):
            self._key = None
        self._folder = home / f"{UNFINISHED}{uuid.uuid4().hex}"
        self._folder.mkdir()
        self._file = open(self._folder / _VALUES, "wb")
        self._header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(self._file, self._header)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_error) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, values: np.ndarray, problems: Mapping[int, str]) -> None:
        """Takes the next rows, and by index among them what is wrong with some."""
        self._file.write(np.ascontiguousarray(values).data)
        self._problems |= {self._number + row: reason for row, reason in problems.items()}
        self._number += len(values)

    def finish(self) -> tuple[_File, dict[int, str]]:
        """Gives what it was given."""
        self._file.seek(0)  # NumPy leaves room for any number of rows
        self._header["shape"] = (self._number, *self._header["shape"][1:])
        np.lib.format.write_array_header_1_0(self._file, self._header)
        self._file.flush()
        os.fsync(self._file.fileno())
        about = {"source": self._source, "problems": self._problems}
        (self._folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        if self._key is None:
            return _File(self._folder / _VALUES, None, self._source), self._problems
        target = cache_folder() / DECODED / self._key
        for _ in range(2):
            if found := opened(self._key):  # another process was as far
                return found
            shutil.rmtree(target, ignore_errors=True)
            try:
                self._folder.rename(target)
            except OSError:
                continue
        return opened(self._key) or (
            _File(self._folder / _VALUES, None, self._source),
            self._problems,
        )


def opened(key: str | None) -> tuple[_File, dict[int, str]] | None:
    """What is kept under a key; None where nothing whole is."""
    if key is None:
        return None
    folder = cache_folder() / DECODED / key
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        problems = {int(row): str(reason) for row, reason in about["problems"].items()}
        file = _File(folder / _VALUES, key, about["source"])
        os.utime(folder / ABOUT)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return file, problems


def whole(found: tuple[_File, dict[int, str]]) -> tuple[Any, dict[int, str]]:
    """All rows of what `opened` or a `Writer` gives, `KeptRows`, and what is wrong with some."""
    file, problems = found
    return KeptRows(file, np.arange(file.shape[0])), problems


def gatherer(values) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes a function of an int `[batch]` index to these rows of values, for graphs."""
    if not isinstance(values, KeptRows):
        held = tf.constant(values)
        return lambda index: tf.gather(held, index)

    def read(index):
        found = tf.numpy_function(values.__getitem__, [index], values.dtype, stateful=False)
        return tf.ensure_shape(found, [None, *values.shape[1:]])

    return read
