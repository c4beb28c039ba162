"""Reads an exported .tflite file: the model, its labels, its vocabulary, its description.

The file is a TFLite model followed by an uncompressed zip archive of `labels.txt` (names of
classes, labels or targets, one a line), `vocab.txt` (words, one a line, in the order of their ids;
only for models that read text) and `mmkd.json`:

    {"format": 1,
     "signature": "serving_default",
     "inputs": {"image": {"shape": [1, 64, 64, 3], "dtype": "uint8", "range": [0, 255],
                          "layout": "RGB, channels last"},
                "text": {"shape": [1, 24], "dtype": "int32", "padding": "0, on the right",
                         "tokenizer_rules": 1}},
     "outputs": {"probabilities": {"range": [0, 1]}},
     "absent_input": "zeros",
     "author": "...", "licence": "...",
     "files": ["labels.txt", "vocab.txt"],
     "model_bytes": 331000, "model_crc32": 123456789}

Inputs are in the order of the model's tensors; a first size of -1 is a batch of any size. A file
with the tokenizer inside takes `{"shape": [1, 192], "dtype": "uint8", "encoding": "utf-8",
"padding": "0, on the right", "tokenizer_rules": 1}` as text. `docs/tokenizer.md` explains the
rules. A file of format 2 has a `task` beside its format: with `"multi_label"`, `probabilities` are
of each label by itself, and those above 0.5 are given; with `"regression"` the output is `values`,
numbers in the units of the targets, which have no range; with `"retrieval"` it is `embedding`, of
length 1 (zeros for an absent input), and there is no `labels.txt`. Without, each example has one
class; readers that know format 1 alone refuse the others. `author` and `licence` are left out where
nobody gave them. `model_crc32` is the zip checksum of the first `model_bytes` bytes, the TFLite
model.
"""

import json
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from mmkd_tf.edge.tokenizer import TOKENIZER_RULES

# By task, the first format that knows it.
FORMATS = {"single_label": 1, "multi_label": 2, "regression": 2, "retrieval": 2}

LABELS_FILE = "labels.txt"
VOCABULARY_FILE = "vocab.txt"
DESCRIPTION_FILE = "mmkd.json"

_TFLITE_IDENTIFIER = b"TFL3"
_HEAD = 8  # bytes that hold the identifier
# What zip and JSON that are damaged, or of another form, lead to.
_UNREADABLE = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,  # of encryption; RecursionError and NotImplementedError are among them
)


@dataclass(frozen=True)
class ModelFile:
    """What an exported file holds.

    Attributes:
        content: The whole file, as the interpreter takes it.
        class_names: In the order of the outputs; none of retrieval.
        vocabulary: Words in the order of their ids, or None.
        author: Who made the model, or None.
        licence: The terms of its use, or None.
        task: What the outputs say, a key of `FORMATS`.
    """

    content: bytes
    class_names: tuple[str, ...]
    vocabulary: tuple[str, ...] | None
    author: str | None = None
    licence: str | None = None
    task: str = "single_label"


def read_model_file(path: str | os.PathLike) -> ModelFile:
    """Reads and checks a file that `mmkd_tf.export.tflite.export_tflite` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TFLite file, lacks the metadata, is damaged or cut off, or was
            written by a later version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(_message(path, "no such file", "Check the path."))
    try:
        content = _read_tflite(path)
        try:
            return _parse(content)
        except _UNREADABLE:
            raise _UnfitError(
                "a TFLite file without readable labels and description: cut off, damaged or from "
                "another tool",
                "Copy it again, or export it with mmkd_tf.export.",
            ) from None
    except _UnfitError as error:
        raise ValueError(_message(path, *error.args)) from None


class _UnfitError(Exception):
    """What was received instead of a file that fits, and what to do."""


def _read_tflite(path: Path) -> bytes:
    if not path.is_file():
        raise _UnfitError("a folder or device", "Name a .tflite file.")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[4:] != _TFLITE_IDENTIFIER:
            size = os.fstat(file.fileno()).st_size
            raise _UnfitError(f"{size:,} bytes of something else", "Name a .tflite file.")
        return head + file.read()


def _parse(content: bytes) -> ModelFile:
    files = _read_archive(content)
    if DESCRIPTION_FILE not in files:
        raise _UnfitError(
            f"a TFLite file from another tool: its archive lacks {DESCRIPTION_FILE}",
            "Export it with mmkd_tf.export.",
        )
    description = json.loads(files[DESCRIPTION_FILE])
    newest = max(FORMATS.values())
    _check_version("format", description["format"], newest, oldest=min(FORMATS.values()))
    task = description.get("task", "single_label")
    if task not in FORMATS:
        raise _UnfitError(
            f"one of task '{task}'", "It is newer than this mmkd_tf: pip install -U mmkd-tf"
        )
    rules = description["inputs"].get("text", {}).get("tokenizer_rules", TOKENIZER_RULES)
    _check_version("tokenizer rules", rules, TOKENIZER_RULES)
    model = content[: description["model_bytes"]]
    if zlib.crc32(model) != description["model_crc32"]:
        # An interpreter may crash on a damaged model, and the process with it.
        raise _UnfitError("one whose checksum does not fit: it is damaged", "Copy it again.")
    credits = {key: description.get(key) for key in ("author", "licence")}
    if not all(isinstance(text, str | None) for text in credits.values()):
        raise TypeError("Author and licence are texts.")
    texts = {name: files[name] for name in description["files"]}
    words, names = texts.get(VOCABULARY_FILE), texts.get(LABELS_FILE)
    if names is None and task != "retrieval":
        raise KeyError(LABELS_FILE)
    return ModelFile(
        content=content,
        class_names=() if names is None else tuple(names.split("\n")),
        vocabulary=None if words is None else tuple(words.split("\n")),
        task=task,
        **credits,
    )


def _read_archive(content: bytes) -> dict[str, str]:
    """Gives the associated files by name, those that this package writes."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        wanted = {LABELS_FILE, VOCABULARY_FILE, DESCRIPTION_FILE} & set(archive.namelist())
        for info in map(archive.getinfo, wanted):
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                raise zipfile.BadZipFile("Files in here are stored as they are.")
        return {name: archive.read(name).decode("utf-8") for name in wanted}


def _check_version(what: str, number: int, known: int, *, oldest: int | None = None) -> None:
    if number > known:
        raise _UnfitError(
            f"one of {what} {number}", "It is newer than this mmkd_tf: pip install -U mmkd-tf"
        )
    if not (known if oldest is None else oldest) <= number:
        raise ValueError(f"There were no {what} {number}.")


def _message(path: Path, received: str, advice: str) -> str:
    return f"`path`: a .tflite file exported by mmkd_tf. Received: '{path}', {received}. {advice}"


def find_file(folder: str | os.PathLike, name: str) -> Path:
    """Finds the file of a model: the float32 one, or the small one where that is alone.

    Args:
        folder: The folder of a run, or of a released model, which holds the small file alone.
        name: How the file's name begins.

    Returns:
        Its path; that of the float32 one if there is none.
    """
    files = [Path(folder) / f"{name}{end}.tflite" for end in ("", "_small")]
    return next((file for file in files if file.is_file()), files[0])
