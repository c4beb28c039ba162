"""Target files: a teacher's outputs in a folder, one array a file, whole or not there at all."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

MANIFEST_FILE = "soft_targets.json"


class DamagedError(ValueError):
    """A folder that does not hold what its manifest says, or has no manifest."""


def write_targets(
    folder: Path, *, parts: Iterable[Mapping[str, np.ndarray]], views: int, num_examples: int
) -> dict[str, dict]:
    """Writes outputs that come batch by batch, without holding more than one batch.

    Args:
        folder: An empty folder.
        parts: Batches of all views in a row: by output, float32 `[batch, ...]`.
        views: Number of views.
        num_examples: Number of examples in a view; the batches have `views` times as many.

    Returns:
        By output, its `file`, `shape` `[views, num_examples, ...]`, `dtype` and `sha256`.

    Raises:
        ValueError: If a batch's outputs have other shapes than those before, or the disk has
            not the room.
    """
    parts = iter(parts)
    first = next(parts)
    files = {}
    for index, (name, values) in enumerate(first.items()):
        shape = [views, num_examples, *values.shape[1:]]
        files[name] = {"file": f"soft_targets-{index}.npy", "shape": shape, "dtype": "float32"}
    _check_space(folder, sum(4 * int(np.prod(file["shape"])) for file in files.values()))
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open(folder / file["file"], "w+b"))
            for name, file in files.items()
        }
        for name, file in files.items():
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(file["shape"])}
            np.lib.format.write_array_header_1_0(opened[name], header)
        while first is not None:
            for name, values in first.items():
                _check_shape(name, values.shape[1:], files[name]["shape"][2:])
                # Plain writing, because a full disk kills a process that writes to mapped memory.
                opened[name].write(np.ascontiguousarray(values, "<f4").data)
            first = next(parts, None)
        for name, file in files.items():
            opened[name].flush()
            opened[name].seek(0)
            file["sha256"] = hashlib.file_digest(opened[name], "sha256").hexdigest()
    return files


def write_manifest(folder: Path, content: Mapping) -> None:
    """Writes the manifest, the last of a cache's files, with a checksum of its own."""
    text = json.dumps({"checksum": _checksum(content), **content}, indent=2) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict:
    """Reads the manifest: what `write_manifest` was given.

    Raises:
        DamagedError: If it is not there or not whole.
    """
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if content.pop("checksum") == _checksum(content):
            return content
    except FileNotFoundError:
        raise DamagedError(f"no {MANIFEST_FILE}, which is written last") from None
    except (ValueError, AttributeError, LookupError, TypeError):
        pass
    raise DamagedError(f"a {MANIFEST_FILE} that is not whole")


def open_targets(folder: Path, files: Mapping[str, Mapping]) -> dict[str, np.ndarray]:
    """Maps the arrays into memory, read-only, after a look at every byte.

    Args:
        folder: The cache's folder.
        files: As `write_targets` returned them.

    Returns:
        By output, float32 `[views, num_examples, ...]`.

    Raises:
        DamagedError: If a file is missing, too short or not what was written; all are named.
    """
    problems = []
    for file in files.values():
        try:
            with open(folder / file["file"], "rb") as opened:
                checksum = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            problems.append(f"{file['file']}: {error.strerror}")
            continue
        if checksum != file["sha256"]:
            problems.append(f"{file['file']}: not the bytes that were written")
    if problems:
        raise DamagedError("; ".join(problems))
    return {name: np.load(folder / file["file"], mmap_mode="r") for name, file in files.items()}


def _checksum(content: Mapping) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_space(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ValueError(
            f"`folder`: on a disk with at least {num_bytes / 2**20:,.0f} MiB free. Received: "
            f"{folder.parent} with {free / 2**20:,.0f} MiB. Ask for fewer views or layers, or "
            "choose another disk."
        )


def _check_shape(name: str, shape: tuple, expected: list) -> None:
    if list(shape) != expected:
        raise ValueError(
            f"`layers`: outputs of one shape for all examples. Received: '{name}' of shape "
            f"{list(shape)} after {expected}. Leave it out, or give all examples one length."
        )
