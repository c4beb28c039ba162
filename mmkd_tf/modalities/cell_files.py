"""Reads what cells of a table hold or point to: files of many rows, in threads."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import length_hint
from pathlib import Path, PureWindowsPath

import numpy as np

from mmkd_tf.modalities.cells import cell_text, is_missing, quote
from mmkd_tf.progress import steps

# A decoded photograph takes up to 200 MB: no more threads than this, however many cores.
MAX_THREADS = 8
READ_AT_ONCE = 256
NO_FILE = "there is no such file"
_MOST_SEARCHED = 20_000  # files and folders


class CellError(ValueError):
    """A cell that leads to no file; its text is the reason."""


def read_cells(
    cells: Iterable,
    read: Callable[..., np.ndarray],
    *,
    noun: str,
    like: tuple[Sequence[int], np.dtype | type],
    folder: Path | None = None,
    allow_outside: bool = False,
) -> tuple[np.ndarray, dict[int, str]]:
    """Reads the file, or the value itself, of each row.

    Args:
        cells: May be a generator: few are held at a time. A cell is a path, the bytes of a file, a
            dict with one of them under `bytes` or `path`, or another object that `read` takes;
            missing or empty gives zeros.
        read: Makes a value of a Path or of what else the cell holds; called in threads. A
            TypeError says that the cell holds something else, a ValueError, OSError or RuntimeError
            what is wrong with it, in its attribute `reason` if it has one.
        noun: What one value is called, "picture"; problems begin with it.
        like: Shape and dtype of a value.
        folder: Folder that paths are relative to.
        allow_outside: Whether paths may lead out of it.

    Returns:
        `[rows, *shape]`, and by row what is wrong.
    """
    home = None if folder is None else folder.resolve()
    shape, dtype = tuple(like[0]), like[1]

    def value_of(cell) -> np.ndarray | str | None:
        try:
            source = _source(cell, home, allow_outside)
            return None if source is None else read(source)
        except TypeError:
            return f"{noun}: neither a path nor a {noun} but a {type(cell).__name__}"
        except (OSError, RuntimeError, ValueError) as error:
            name = f" {quote(cell)}" if isinstance(cell, (str, os.PathLike)) else ""
            return f"{noun}{name}: {getattr(error, 'reason', error)}"

    chunks, problems, num_rows = [np.zeros([0, *shape], dtype)], {}, 0
    cells = iter(cells)
    told = steps(f"{noun}s from files", length_hint(cells))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool, told as advance:
        while chunk := list(islice(cells, READ_AT_ONCE)):
            values = np.zeros([len(chunk), *shape], dtype)
            for index, result in enumerate(pool.map(value_of, chunk)):
                if isinstance(result, str):
                    problems[num_rows + index] = result
                elif result is not None:
                    values[index] = result
            chunks.append(values)
            num_rows += len(chunk)
            advance(len(chunk))
    if home is not None and 1 < len(problems) == num_rows:
        _add_hint(problems, home, noun)
    if len(problems) == num_rows:  # zeros that nobody has written take no memory
        return np.zeros([num_rows, *shape], dtype), problems
    return np.concatenate(chunks), problems


def _add_hint(problems: dict[int, str], home: Path, noun: str) -> None:
    """Says with the first path what may be wrong with all of them, where none leads to a file."""
    first = min(problems)
    if not all(NO_FILE in reason for reason in problems.values()):
        return
    paths = [re.search(rf"{noun} '(.*?)': ", reason) for reason in problems.values()]
    name = PureWindowsPath(paths[0][1]).name if paths[0] else ""
    hint = f"so it is with all {len(problems):,}; paths are relative to the table's folder"
    if name and (found := _find_below(home, name)):
        hint += f", and '{name}' lies in '{found.parent.relative_to(home)}' there"
    elif name:
        hint += f", and no '{name}' lies below it: put the table beside the {noun}s"
    problems[first] += f" ({hint})"


def _find_below(folder: Path, name: str) -> Path | None:
    """A file of a name somewhere below a folder; large trees are not searched to their end."""
    seen = 0
    for parent, folders, files in os.walk(folder):
        if name in files:
            return Path(parent) / name
        seen += len(files) + len(folders)
        if seen > _MOST_SEARCHED:
            return None
    return None


def _source(cell, home: Path | None, allow_outside: bool):
    """Gives what is to be read, or None if the cell is empty."""
    # As Hugging Face's datasets write pictures to Parquet files.
    if isinstance(cell, dict) and "array" not in cell:
        if not {"bytes", "path"} & set(cell):
            names = ", ".join(map(str, cell))
            raise CellError(f"a struct of {names}, without `bytes` or `path`")
        content = cell.get("bytes")
        cell = cell.get("path") if content is None else content
    if not isinstance(cell, (str, os.PathLike)):
        return None if is_missing(cell) else cell
    text = cell_text(cell)
    if not text:
        return None
    if "://" in text:
        raise CellError("it is an address, not a file; download it first")
    path = Path(text) if home is None else home / text
    if home is not None and not allow_outside and not path.resolve().is_relative_to(home):
        raise CellError(
            f"it leads out of the folder '{home}'; move it there or set allow_outside=True"
        )
    if home is not None and not path.exists():
        hint = ""
        if "\\" in text:
            there = (home / text.replace("\\", "/")).exists()
            hint = "; with / in place of \\ it is there: " if there else "; "
            hint += "write paths with /, relative to the table"
        raise CellError(f"{NO_FILE} in '{home}'{hint}")
    return path
