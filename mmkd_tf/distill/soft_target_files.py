"""SoftTargetCache: a teacher's outputs in a folder, one array a file, whole or not there at all."""

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.batches import keyed_outputs, output_key
from mmkd_tf.distill.fingerprints import check_batches, first_pass, inputs_of, unchanged

MANIFEST_FILE = "soft_targets.json"
_OUR_FILES = re.compile(r"soft_targets(-\d+)?\.(json|npy)")
_UNFINISHED = ".unfinished"
_SECONDS_A_DAY = 86_400
# Gathering from a tensor is several times faster than from a file, and costs its memory.
_MOST_BYTES_IN_MEMORY = 64 * 2**20


class DamagedError(ValueError):
    """A folder that does not hold what its manifest says, or has no manifest."""


def write_targets(
    folder: Path, *, parts: Iterable[Mapping[str, np.ndarray]], views: int, num_examples: int
) -> dict[str, dict]:
    """Writes outputs that come batch by batch, without holding more than one batch.

    Each of `parts` holds, by output, float32 `[batch, ...]`; they are `views` times
    `num_examples` in a row. Gives by output its `file`, `shape` `[views, num_examples, ...]`,
    `dtype` and `sha256`.
    """
    parts = iter(parts)
    first = next(parts)
    files: dict[str, dict] = {}
    for index, (name, values) in enumerate(first.items()):
        shape = [views, num_examples, *values.shape[1:]]
        files[name] = {"file": f"soft_targets-{index}.npy", "shape": shape, "dtype": "float32"}
    num_bytes = sum(4 * int(np.prod(file["shape"])) for file in files.values())
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ValueError(
            f"`folder`: on a disk with at least {num_bytes / 2**20:,.0f} MiB free. Received: "
            f"{folder.parent} with {free / 2**20:,.0f} MiB. Ask for fewer views or layers, or "
            "choose another disk."
        )
    with ExitStack() as stack:
        opened: dict[str, Any] = {
            name: stack.enter_context(open(folder / file["file"], "w+b"))
            for name, file in files.items()
        }
        for name, file in files.items():
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(file["shape"])}
            np.lib.format.write_array_header_1_0(opened[name], header)
        while first is not None:
            for name, values in first.items():
                shape, expected = list(values.shape[1:]), files[name]["shape"][2:]
                if shape != expected:
                    raise ValueError(
                        "`layers`: outputs of one shape for all examples. Received: "
                        f"'{name}' of shape {shape} after {expected}. Leave it out, or give all "
                        "examples one length."
                    )
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
    """Reads what `write_manifest` was given; a DamagedError if it is not there or not whole."""
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
    """Maps arrays `[views, num_examples, ...]` read-only, after a look at every byte."""
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


@keras.saving.register_keras_serializable("mmkd_tf")
class SoftTargetCache:
    """A teacher's outputs for each example, made by `cache_soft_targets` or `cache_batches`.

    It stands for the teacher, `Distiller(student=, teacher=cache)`, and feeds its outputs:
    `training_batches(dataset, soft_targets=cache)`, or `cache.zip(batches)`.

    Args:
        folder: The folder that it was made in.

    Attributes:
        folder: The folder.
        outputs: By name, `logits` and the layers that were asked for: memory-mapped float32
            arrays `[views, num_examples, ...]`.
        views: Number of views.
        num_examples: Number of examples.
        seed: Seed of the views; None where nothing is random.
        augment: Whether the views are augmented; None if batches were cached.
        fingerprint: Checksum of the data.

    Raises:
        DamagedError: A ValueError: the folder does not hold a whole cache.
    """

    def __init__(self, folder):
        self.folder = Path(folder).absolute()  # a saved Distiller may be loaded elsewhere
        if not self.folder.is_dir():
            raise DamagedError(
                f"`folder`: a whole cache of soft targets. Received: {self.folder}, which is not "
                "there. Move it back, or make it again with cache_soft_targets or cache_batches."
            )
        try:
            manifest = read_manifest(self.folder)
            self.outputs = open_targets(self.folder, manifest["files"])
        except DamagedError as error:
            raise DamagedError(
                f"`folder`: a whole cache of soft targets. Received: {self.folder} with {error}. "
                "Make it again with cache_soft_targets or cache_batches."
            ) from None
        key = manifest["key"]
        self.views, self.seed, self.augment = key["views"], key["seed"], key["augment"]
        self.fingerprint = key["data"]
        self._identity = _checksum(key)[:12]
        self.num_examples = self.outputs["logits"].shape[1]
        self._inputs = manifest["inputs"]

    def reader(self) -> Callable:
        """Makes a function that reads a batch's outputs, for use in a `tf.data` pipeline.

        It takes the view's number and an int32 `[batch]` index of examples, and gives float32
        `[batch, ...]` by output.
        """
        arrays = {
            name: values.reshape([-1, *values.shape[2:]]) for name, values in self.outputs.items()
        }
        if sum(values.nbytes for values in arrays.values()) <= _MOST_BYTES_IN_MEMORY:
            arrays = {name: tf.constant(values) for name, values in arrays.items()}

            def gather(rows):
                return [tf.gather(values, rows) for values in arrays.values()]
        else:

            def gather(rows):
                types = [tf.float32] * len(arrays)
                found = tf.numpy_function(
                    lambda rows: [np.asarray(values)[rows] for values in arrays.values()],
                    [rows],
                    types,
                    stateful=False,
                )
                shapes = [[None, *values.shape[1:]] for values in arrays.values()]
                return [tf.ensure_shape(v, shape) for v, shape in zip(found, shapes, strict=True)]

        def read(view, index):
            rows = tf.cast(view, tf.int64) * self.num_examples + tf.cast(index, tf.int64)
            return dict(zip(arrays, gather(rows), strict=True))

        return read

    def marker(self, teacher_name: str) -> str:
        """The key by which batches tell whose outputs they hold; another cache has another."""
        return output_key(teacher_name, f"cache-{self._identity}")

    def zip(self, batches: tf.data.Dataset, *, teacher_name: str = "teacher") -> tf.data.Dataset:
        """Adds the teacher's outputs to the batches that were cached.

        The examples must be the cached ones in the same order, pass after pass, which two passes
        over them make sure of; the size of the batches is no matter. To shuffle, do so afterwards,
        when each example has its outputs: `cache.zip(batches).unbatch().shuffle(1000).batch(32)`.

        Args:
            batches: Batches of `(x, y)` or `(x, y, sample_weight)`, where x is a dict.
            teacher_name: Name of the teacher in the Distiller.

        Returns:
            The same batches, where x has `<teacher_name>/logits` and so on besides.

        Raises:
            ValueError: If these are not the batches that were cached, or they change.
        """
        if self.augment is not None:
            raise ValueError(
                f"`zip`: a cache made by cache_batches. Received: {self.folder}, made by "
                "cache_soft_targets. Use training_batches(dataset, soft_targets=cache)."
            )
        check_batches(batches, self._inputs)
        digest, passed = first_pass(batches, self._inputs)
        if digest.hexdigest() != self.fingerprint:
            raise ValueError(
                f"`batches`: the {self.num_examples:,} examples that were cached in "
                f"{self.folder}, in their order. Received: {digest.num_examples:,} examples, of "
                "which some differ or stand elsewhere. Shuffle and augment after `zip`, or cache "
                "these batches in another folder."
            )
        for _ in unchanged(batches, self._inputs, passed):
            pass
        read = self.reader()

        def add(start, element):
            x = inputs_of(element)
            end = start + tf.shape(x[self._inputs[0]])[0]
            outputs = read(0, tf.range(start, end))
            x = {**x, **keyed_outputs(outputs, cache=self, teacher_name=teacher_name)}
            return end, (x, *element[1:]) if isinstance(element, tuple) else x

        return batches.scan(tf.constant(0), add).prefetch(2)

    def get_config(self) -> dict:
        """The folder; the outputs themselves stay there."""
        return {"folder": str(self.folder)}

    @classmethod
    def from_config(cls, config: dict) -> "SoftTargetCache":
        return cls(**config)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(v.shape[2:])}" for name, v in self.outputs.items())
        return (
            f"SoftTargetCache({str(self.folder)!r}): views: {self.views}, "
            f"examples: {self.num_examples:,}, outputs: {shapes}"
        )


def foreign_files(folder: Path) -> list[str]:
    """Names in a folder that no cache has."""
    return sorted(p.name for p in folder.iterdir() if not _OUR_FILES.fullmatch(p.name))


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """Gives a new folder beside `folder`, to be filled, and removes it if it was not moved."""
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
