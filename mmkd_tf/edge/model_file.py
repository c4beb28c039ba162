"""Reads an exported .tflite file: the model, its labels, its vocabulary, its description.

The file is a TFLite model followed by an uncompressed zip archive of `labels.txt` (class names,
one a line), `vocab.txt` (words, one a line, in the order of their ids; only for models that read
text) and `mmkd.json`:

    {"format": 1,
     "inputs": {"image": {"shape": [1, 64, 64, 3], "dtype": "uint8", "range": [0, 255], ...},
                "text": {"shape": [1, 24], "dtype": "int32", "tokenizer_rules": 1, ...}},
     "absent_input": "zeros",
     "model_bytes": 331000, "model_crc32": 123456789}

`model_crc32` is the zip checksum of the first `model_bytes` bytes, the TFLite model.
"""

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from mmkd_tf.edge.tokenizer import TOKENIZER_RULES

FORMAT = 1

LABELS_FILE = "labels.txt"
VOCABULARY_FILE = "vocab.txt"
DESCRIPTION_FILE = "mmkd.json"

_TFLITE_IDENTIFIER = b"TFL3"
# What zip and JSON that are damaged, or of another form, lead to.
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    NotImplementedError,
)


@dataclass(frozen=True)
class ModelFile:
    """What an exported file holds.

    Attributes:
        content: The whole file, as the interpreter takes it.
        class_names: In the order of the outputs.
        vocabulary: Words in the order of their ids, or None.
    """

    content: bytes
    class_names: tuple[str, ...]
    vocabulary: tuple[str, ...] | None


def read_model_file(path: str | os.PathLike) -> ModelFile:
    """Reads and checks a file that `mmkd_tf.export.tflite.export_tflite` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TFLite file, lacks the metadata, is damaged or cut off, or was
            written by a later version.
    """
    path = Path(path)
    if not path.is_file():
        if path.exists():
            raise ValueError(_message(path, "a folder or device", "Name a .tflite file."))
        raise FileNotFoundError(_message(path, "no such file", "Check the path."))
    content = path.read_bytes()
    if content[4:8] != _TFLITE_IDENTIFIER:
        raise ValueError(
            _message(path, f"{len(content):,} bytes of something else", "Name a .tflite file.")
        )
    try:
        files = _read_archive(content)
        description = json.loads(files[DESCRIPTION_FILE])
        class_names = tuple(files[LABELS_FILE].split("\n"))
        model = content[: description["model_bytes"]]
        tokenizer_rules = description["inputs"].get("text", {}).get("tokenizer_rules")
        known = description["format"] == FORMAT and tokenizer_rules in (None, TOKENIZER_RULES)
        intact = zlib.crc32(model) == description["model_crc32"]
    except _UNREADABLE:
        raise ValueError(
            _message(
                path,
                "a TFLite file without readable labels and description: cut off, damaged or "
                "from another tool",
                "Copy it again, or export it with mmkd_tf.export.",
            )
        ) from None
    if not known:
        raise ValueError(
            _message(
                path,
                f"one of format {description['format']}, tokenizer rules {tokenizer_rules}",
                "It is newer than this mmkd_tf: pip install -U mmkd-tf",
            )
        )
    if not intact:
        # An interpreter may crash on a damaged model, and the process with it.
        raise ValueError(
            _message(path, "one whose checksum does not fit: it is damaged", "Copy it again.")
        )
    words = files.get(VOCABULARY_FILE)
    return ModelFile(content, class_names, None if words is None else tuple(words.split("\n")))


def _read_archive(content: bytes) -> dict[str, str]:
    """Gives the associated files by name, those that this package writes."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        wanted = {LABELS_FILE, VOCABULARY_FILE, DESCRIPTION_FILE} & set(archive.namelist())
        if any(archive.getinfo(name).file_size > len(content) for name in wanted):
            raise zipfile.BadZipFile("Files in here are stored as they are, so none is larger.")
        return {name: archive.read(name).decode("utf-8") for name in wanted}


def _message(path: Path, received: str, advice: str) -> str:
    return f"`path`: a .tflite file exported by mmkd_tf. Received: '{path}', {received}. {advice}"
