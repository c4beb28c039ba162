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

Inputs are in the order of the model's tensors; a first size of -1 is a batch of any size. An input
says its `kind` unless that is its name and `image` or `text`; texts that it needs have its name in
front where that is not its kind, such as `title.vocab.txt`. A file with the tokenizer inside takes
`{"shape": [1, 192], "dtype": "uint8", "encoding": "utf-8", "padding": "0, on the right",
"tokenizer_rules": 1}` as text. `docs/tokenizer.md` explains the rules. A file of format 2 has a
`kind` somewhere, or a `task` beside its format. Outputs are `probabilities`, of one class or, where
they have a `threshold`, of each label by itself, those above it being given; or `values`, numbers
in the units of the targets, which have no range; or an `embedding`, of length 1 (zeros for an
absent input), without a `labels.txt`; its `threshold`, of a model of identities, is the cosine
above which two are taken for one, at 1 % false accepts on validation. Probabilities may have a
`temperature`: what the model itself divides its logits by, so that it is as sure as it is right.
A long vocabulary lies there as a gzip file, `vocab.txt.gz`, which makes the file one of format 3.
Readers that know format 1 alone refuse the others. `author` and `licence` are left out where nobody
gave them. `model_crc32` is the zip checksum of the first `model_bytes` bytes, the TFLite model.
"""

import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from mmkd_tf.edge.tokenizer import TOKENIZER_RULES, VOCABULARY_FILE

OLDEST_FORMAT, NEWEST_FORMAT = 1, 3
FORMAT_OF_COMPRESSED = 3  # the first in which a text may be a gzip file
COMPRESSED = ".gz"  # how the name of such a text ends
LABELS_FILE = "labels.txt"
DESCRIPTION_FILE = "mmkd.json"
SMALL = "_small"  # how the name of a quantised file ends

_FIRST_TASK = "single_label"  # of files that say none
_OLD_THRESHOLDS = {"multi_label": 0.5}  # of files that say none
_TFLITE_IDENTIFIER = b"TFL3"
_HEAD = 8  # bytes that hold the identifier
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip file
_LARGEST_GROWTH = 20  # of a text by unpacking, as a multiple of the whole file
# What zip and JSON that are damaged, or of another form, lead to.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
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
        inputs: By input name, its description.
        output: Name of the output.
        class_names: In the order of the outputs; none of embeddings.
        files: By name, the other texts inside, such as vocabularies.
        author: Who made the model, or None.
        licence: The terms of its use, or None.
        task: Name of what the model is for.
        threshold: Probability above which an output is given, where any number of them may be; of
            embeddings the cosine above which two are of one identity.
        temperature: What the model divides its logits by to be as sure as it is right, or None.
    """

    content: bytes
    inputs: Mapping[str, Mapping]
    output: str
    class_names: tuple[str, ...]
    files: Mapping[str, str]
    author: str | None
    licence: str | None
    task: str
    threshold: float | None
    temperature: float | None = None

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """Words in the order of their ids, of the input that is called as its kind; or None."""
        words = self.files.get(VOCABULARY_FILE)
        return None if words is None else tuple(words.split("\n"))


def file_prefix(name: str, kind: str) -> str:
    """How the names of texts that belong to an input begin."""
    return "" if name == kind else f"{name}."


def read_model_file(path: str | os.PathLike) -> ModelFile:
    """Reads and checks a file that `mmkd_tf.export.tflite.export_tflite` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TFLite file, lacks the metadata, is damaged or cut off, or was
            written by a later version.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise FileNotFoundError(_message(path, "no such file", "Check the path."))
    try:
        content = _read_tflite(path)
        try:
            return _parse(content)
        except UNREADABLE:
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
    if not os.path.isfile(path):
        raise _UnfitError("a folder or device", "Name a .tflite file.")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[4:] != _TFLITE_IDENTIFIER:
            size = os.fstat(file.fileno()).st_size
            raise _UnfitError(f"{size:,} bytes of something else", "Name a .tflite file.")
        return head + file.read()


def _parse(content: bytes) -> ModelFile:
    archive = zipfile.ZipFile(BytesIO(content))
    if DESCRIPTION_FILE not in archive.namelist():
        raise _UnfitError(
            f"a TFLite file from another tool: its archive lacks {DESCRIPTION_FILE}",
            "Export it with mmkd_tf.export.",
        )
    description = json.loads(_read_text(archive, DESCRIPTION_FILE, len(content)))
    _check_version("format", description["format"], NEWEST_FORMAT, oldest=OLDEST_FORMAT)
    inputs, (output,) = description["inputs"], description["outputs"]
    for entry in inputs.values():
        rules = entry.get("tokenizer_rules", TOKENIZER_RULES)
        _check_version("tokenizer rules", rules, TOKENIZER_RULES)
    model = content[: description["model_bytes"]]
    # All that stands before the archive is the model: the checksum of nothing fits any.
    begin = min(info.header_offset for info in archive.infolist())
    if len(model) != begin or zlib.crc32(model) != description["model_crc32"]:
        # An interpreter may crash on a damaged model, and the process with it.
        raise _UnfitError("one whose checksum does not fit: it is damaged", "Copy it again.")
    credits = {key: description.get(key) for key in ("author", "licence")}
    if not all(isinstance(text, str | None) for text in credits.values()):
        raise TypeError("Author and licence are texts.")
    files = {
        name.removesuffix(COMPRESSED): _read_text(archive, name, len(content))
        for name in description["files"]
    }
    if LABELS_FILE not in files and output != "embedding":
        raise KeyError(LABELS_FILE)
    task = str(description.get("task", _FIRST_TASK))
    entry = description["outputs"][output]
    threshold = _finite(entry.get("threshold", _OLD_THRESHOLDS.get(task)))
    return ModelFile(
        content=content,
        inputs=inputs,
        output=output,
        class_names=tuple(files.pop(LABELS_FILE).split("\n")) if LABELS_FILE in files else (),
        files=files,
        task=task,
        threshold=threshold,
        temperature=_finite(entry.get("temperature")),
        **credits,
    )


def _finite(value) -> float | None:
    """A number that JSON gave, if any; NaN would be above no threshold and below none."""
    if value is None:
        return None
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{number} is no number.")
    return number


def _read_text(archive: zipfile.ZipFile, name: str, num_bytes: int) -> str:
    """Gives an associated file, stored as this package stores it."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > num_bytes:
        raise zipfile.BadZipFile("Files in here are stored as they are.")
    text = archive.read(name)
    if name.endswith(COMPRESSED):
        unpacking = zlib.decompressobj(_GZIP)
        text = unpacking.decompress(text, _LARGEST_GROWTH * num_bytes)
        if not unpacking.eof or unpacking.unused_data:
            raise zipfile.BadZipFile("A text is cut off, or larger than one can be.")
    return text.decode("utf-8")


def _check_version(what: str, number: int, known: int, *, oldest: int = 1) -> None:
    if number > known:
        raise _UnfitError(
            f"one of {what} {number}", "It is newer than this mmkd_tf: pip install -U mmkd-tf"
        )
    if number < oldest:
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
    files = [Path(folder) / f"{name}{end}.tflite" for end in ("", SMALL)]
    return next((file for file in files if os.path.isfile(file)), files[0])
