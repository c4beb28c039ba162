"""The cache folder: what is kept there for later runs, how much of it, and how it is cleared."""

import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "MMKD_TF_CACHE"
LIMIT_VARIABLE, LIMIT = "MMKD_TF_CACHE_GB", 20.0
DECODED, FEATURES = "decoded", "features"  # parts of the cache
ABOUT = "about.json"
UNFINISHED = ".unfinished."
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Kept:
    """A file or folder of the cache that can be made again.

    Attributes:
        path: Where it lies.
        part: `DECODED`, pictures of a table or a split; or `FEATURES` of a frozen encoder.
        source: What it was made of, as far as it says.
        num_bytes: What it takes on disk.
        used: When it was last used, seconds since 1970.
    """

    path: Path
    part: str
    source: str
    num_bytes: int
    used: float

    def remove(self) -> None:
        """Removes it; whoever has opened it reads on."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where what can be made again lies: `$MMKD_TF_CACHE`, or `~/.cache/mmkd_tf`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache/mmkd_tf"


def kept_files(*parts: str) -> list[Kept]:
    """What is kept of some parts, the least lately used first."""
    found = []
    for part in parts:
        for path in (cache_folder() / part).glob("[!.]*"):
            try:
                found.append(_described(path, part))
            except (OSError, ValueError, LookupError, TypeError):
                continue  # not whole, or removed meanwhile
    return sorted(found, key=lambda one: one.used)


def _described(path: Path, part: str) -> Kept:
    if part == FEATURES:
        about, source, files = path, "values of any table", [path]
    else:
        about, files = path / ABOUT, list(path.iterdir())
        source = json.loads(about.read_text(encoding="utf-8"))["source"]
    num_bytes = sum(file.stat().st_size for file in files)
    return Kept(path, part, str(source), num_bytes, about.stat().st_mtime)


def limit_bytes() -> int:
    """How many bytes of decoded pictures are kept at most, by `$MMKD_TF_CACHE_GB`."""
    given = os.environ.get(LIMIT_VARIABLE, str(LIMIT))
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise ValueError(
            f"`${LIMIT_VARIABLE}`: gigabytes of decoded pictures that are kept at most, 0 or more. "
            f"Received: {given!r}."
        )
    return int(limit * 1e9)


def make_room(num_bytes: int) -> bool:
    """Removes what was used least lately, and what killed processes left; whether it fits now."""
    for path in (cache_folder() / DECODED).glob(f"{UNFINISHED}*"):
        try:
            newest = max(file.stat().st_mtime for file in (path, *path.iterdir()))
        except OSError:  # its own process removes it at this moment
            continue
        if time.time() - newest > _SECONDS_A_DAY:
            shutil.rmtree(path, ignore_errors=True)
    limit, there = limit_bytes(), kept_files(DECODED)
    if num_bytes > limit:
        return False
    total = num_bytes + sum(one.num_bytes for one in there)
    for one in there:
        if total <= limit:
            break
        one.remove()
        total -= one.num_bytes
    return True
