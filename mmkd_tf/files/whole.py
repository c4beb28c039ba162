"""Writes a file whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is there in the end becomes `path`.

    If the writing fails, it is removed, and `path` stays as it was. Both have one suffix, because
    NumPy and Keras go by it. Processes that write the same file at once have paths of their own;
    the last one's stays.
    """
    unfinished = path.with_name(f".unfinished.{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
