"""Reads the pictures of many rows at once, in threads."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from mmkd_tf.data.cells import cell_text, is_missing, quote
from mmkd_tf.edge.picture import PictureError, read_picture

# A decoded photograph takes up to 200 MB: no more threads than this, however many cores.
MOST_THREADS = 8
CHUNK = 256


def read_pictures(
    cells: Iterable, *, size: int, folder: Path | None = None, allow_outside: bool = False
) -> tuple[np.ndarray, dict[int, str]]:
    """Reads the picture of each row.

    Args:
        cells: For each row a path, the bytes of a picture file, a dict with one of them under
            `bytes` or `path`, a Pillow image or an array; missing or empty if it has no picture.
            May be a generator: few are held at a time.
        size: Height and width of the result in pixels.
        folder: Folder that paths are relative to.
        allow_outside: Whether paths may lead out of the folder.

    Returns:
        uint8 `[rows, size, size, 3]`, zeros where there is no picture, and by index of a row what
        is wrong with its picture.
    """
    home = None if folder is None else folder.resolve()

    def read(cell) -> np.ndarray | str:
        try:
            source = _source(cell, home, allow_outside)
            if source is None:
                return np.zeros([size, size, 3], np.uint8)
            return read_picture(source, height=size, width=size)
        except TypeError:
            return f"picture: neither a path nor a picture but a {type(cell).__name__}"
        except (OSError, RuntimeError, ValueError) as error:
            name = f" {quote(cell)}" if isinstance(cell, (str, os.PathLike)) else ""
            return f"picture{name}: {getattr(error, 'reason', error)}"

    chunks, problems, num_rows = [np.zeros([0, size, size, 3], np.uint8)], {}, 0
    cells = iter(cells)
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(cells, CHUNK)):
            pixels = np.zeros([len(chunk), size, size, 3], np.uint8)
            for index, result in enumerate(pool.map(read, chunk)):
                if isinstance(result, str):
                    problems[num_rows + index] = result
                else:
                    pixels[index] = result
            chunks.append(pixels)
            num_rows += len(chunk)
    return np.concatenate(chunks), problems


def _source(cell, home: Path | None, allow_outside: bool):
    """Gives what `read_picture` takes, or None if the cell is empty."""
    if isinstance(cell, dict):  # as Hugging Face's datasets write pictures to Parquet files
        content = cell.get("bytes")
        cell = cell.get("path") if content is None else content
    if not isinstance(cell, (str, os.PathLike)):
        return None if is_missing(cell) else cell
    text = cell_text(cell)
    if not text:
        return None
    if "://" in text:
        raise PictureError("it is an address, not a file; download it first", received=text)
    path = Path(text) if home is None else home / text
    if home is not None and not allow_outside and not path.resolve().is_relative_to(home):
        raise PictureError(
            f"it leads out of the folder '{home}'; move it there or set allow_outside=True",
            received=text,
        )
    if home is not None and not path.exists():
        raise PictureError(f"there is no such file in '{home}'", received=text)
    return path
