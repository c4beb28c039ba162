"""Reads what a table or a split holds of an input; many pictures are decoded once for all runs."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from mmkd_tf.data.kept import PART_BYTES, Writer, opened, whole
from mmkd_tf.modalities.cells import cell_text, is_missing
from mmkd_tf.modalities.modality import InputOptions, Modality, RawValues
from mmkd_tf.progress import shown_by, steps

NO_FILE = "none"  # the mark of a file that is not there
LEAST_BYTES = 2**26  # fewer stay in memory: small tables are decoded in a moment
_FORM = 1  # another one where pictures are decoded otherwise than before
_NOT_READ = {"column", "mirror", "pool", "student"}  # options that change nothing of what is read


def read_values(
    kind: type[Modality],
    cells: Sequence,
    options: InputOptions,
    *,
    source: str,
    **where: Any,
) -> tuple[RawValues, dict[int, str]]:
    """Reads cells as `kind.read` does, called with `where`; what is large is kept on disk.

    `source` is what people call the table. Where the cells, the files that they name and the
    options are those of an earlier time, nothing is decoded.
    """
    shape = kept_shape(kind, options, len(cells))
    if shape is None:
        return kind.read(cells, options, **where)
    home = (where.get("folder") or Path()).resolve()
    own = getattr(cells, "mark", None)
    each = (_mark(cell, home) for cell in cells) if own is None else [own]
    marks = [str(home), str(where.get("allow_outside")), *each]
    key = key_of(kind, options, marks)
    if found := opened(key):
        return whole(found)
    at_once = max(1, PART_BYTES * len(cells) // math.prod(shape))
    told = steps(f"{kind.noun}s from files", len(cells))
    with Writer(key, source, shape, np.uint8) as writer, told as advance, shown_by(None):
        for start in range(0, len(cells), at_once):
            some = cells[start : start + at_once]
            values, problems = kind.read(some, options, **where)
            if start == 0 and len(problems) == len(some):  # what is wrong is told of all together
                return kind.read(cells, options, **where)
            writer.add(values, problems)
            advance(len(some))
        return whole(writer.finish())


def kept_shape(kind: type[Modality], options: InputOptions, number: int) -> tuple[int, ...] | None:
    """The shape of so many raw values, where they are to be kept on disk."""
    one = kind.decoded_shape(options)
    large = one is not None and number * math.prod(one) >= LEAST_BYTES
    return (number, *one) if one is not None and large else None


def key_of(kind: type[Modality], options: InputOptions, marks: Sequence[str | None]) -> str | None:
    """A key of values by what they are read from; None where a mark is None."""
    if None in marks:
        return None
    said = options.model_dump(mode="json", exclude=_NOT_READ)
    digest = hashlib.sha256(json.dumps([_FORM, kind.kind, PIL.__version__, said]).encode())
    for mark in marks:
        digest.update(f"{len(mark or '')}:{mark}".encode(errors="surrogatepass"))
    return digest.hexdigest()[:32]


def file_mark(path: str | Path) -> str:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return NO_FILE
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _mark(cell, home: Path) -> str | None:
    """What changes when a cell or its file does; None where there is no telling."""
    if isinstance(cell, tuple):
        marks = [_mark(one, home) for one in cell]
        return None if None in marks else json.dumps(marks)
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, (bytes, bytearray)):
        return f"bytes {hashlib.sha256(cell).hexdigest()}"
    if isinstance(cell, (str, os.PathLike)):
        text = cell_text(cell)
        return text and f"{text} {file_mark(os.path.join(home, text))}"
    if isinstance(cell, np.ndarray) and cell.dtype != object:
        digest = hashlib.sha256(np.ascontiguousarray(cell).data).hexdigest()
        return f"array {cell.dtype} {cell.shape} {digest}"
    return "" if is_missing(cell) else None
