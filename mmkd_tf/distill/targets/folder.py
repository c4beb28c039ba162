"""Target folders: made beside their place and moved there, so that nobody sees half of one."""

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OUR_FILES = re.compile(r"soft_targets(-\d+)?\.(json|npy)")
_UNFINISHED = ".unfinished"
_SECONDS_A_DAY = 86_400


def foreign_files(folder: Path) -> list[str]:
    """Names in a folder that no cache has."""
    return sorted(p.name for p in folder.iterdir() if not _OUR_FILES.fullmatch(p.name))


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """Gives a new folder beside `folder`, to be filled, and removes it if it was not moved.

    Raises:
        ValueError: If no folder can be made there.
    """
    beginning = f".{folder.name}."
    unfinished = folder.with_name(f"{beginning}{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise ValueError(
            f"`folder`: a folder that can be written. Received: {folder} ({error.strerror}). "
            "Choose another folder."
        ) from None
    try:
        for path in folder.parent.iterdir():
            if path.name.startswith(beginning) and _is_leftover(path):
                shutil.rmtree(path, ignore_errors=True)
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def move_in_place(unfinished: Path, folder: Path) -> None:
    """Gives a finished folder its name, in place of nothing or of a damaged cache."""
    if folder.exists():
        for file in folder.iterdir():
            if _OUR_FILES.fullmatch(file.name):
                file.unlink()
        folder.rmdir()
    os.replace(unfinished, folder)


def _is_leftover(path: Path) -> bool:
    """Whether a process that was killed left it; one that lives writes to it all the time."""
    try:
        if not path.name.endswith(_UNFINISHED) or not path.is_dir() or foreign_files(path):
            return False
        newest = max(file.stat().st_mtime for file in (path, *path.iterdir()))
    except OSError:  # its own process removes it at this moment
        return False
    return time.time() - newest > _SECONDS_A_DAY
