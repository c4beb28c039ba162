"""The cache folder: what is kept there for later runs, how much of it, and how it is cleared."""

import json
import math
import os
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "MMKD_TF_CACHE"
LIMIT_VARIABLE, LIMIT = "MMKD_TF_CACHE_GB", 20.0
DECODED, FEATURES = "decoded", "features"  # parts of the cache
ABOUT = "about.json"
UNFINISHED = ".unfinished."
_SECONDS_A_DAY = 86_400
_SHORT, _SHORT_ENCODER = 12, 4  # characters of a name


@dataclass(frozen=True)
class Kept:
    """A file or folder of the cache that can be made again.

    Attributes:
        path: Where it lies.
        part: `DECODED`, pictures of a table or a split; or `FEATURES` of a frozen encoder.
        name: What it is called, short, by which it can be removed.
        source: What it was made of, as far as it says.
        num_bytes: What it takes on disk.
        used: When it was last used, seconds since 1970.
    """

    path: Path
    part: str
    name: str
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
    name = path.name[:_SHORT]
    if part == FEATURES:
        # One encoder has read many values, and some values were read by many encoders.
        encoder, _, values = path.stem.partition("-")
        name = f"{encoder[:_SHORT_ENCODER]}-{values[:_SHORT]}"
        about, source, files = path, _described_features(path), [path]
    else:
        about, files = path / ABOUT, list(path.iterdir())
        source = json.loads(about.read_text(encoding="utf-8"))["source"]
    num_bytes = sum(file.stat().st_size for file in files)
    return Kept(path, part, name, str(source), num_bytes, about.stat().st_mtime)


def _described_features(path: Path) -> str:
    """Of how many values features are, and of which encoder, as far as the file says."""
    import numpy as np  # which takes time, and little here needs it

    try:
        with np.load(path) as kept, kept.zip.open("features.npy") as file:
            np.lib.format.read_magic(file)  # the values themselves are not read
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
            encoder = f", {kept['encoder']}" if "encoder" in kept else ""
        return f"{shape[0]:,} values{encoder}"
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return "values of any table"


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
