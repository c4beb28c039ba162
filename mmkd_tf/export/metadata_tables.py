"""Builds the TFLite Metadata table (schema `M001`) with flatbuffers' builder alone.

The numbers are those of the public schema, metadata_schema.fbs: fields count from 0 in the order
of their declaration, and a union takes two, its type and its value.
"""

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from mmkd_tf.edge.model_file import COMPRESSED, LABELS_FILE, file_prefix
from mmkd_tf.edge.tokenizer import TOKENIZER_RULES, VOCABULARY_FILE

_FILE_IDENTIFIER = b"M001"
# The first that know all that is used, with vocabulary files and without.
_MIN_PARSER_VERSIONS = {True: "1.0.1", False: "1.0.0"}

_UNKNOWN, _AXIS_LABELS, _VOCABULARY = map(np.uint8, (0, 2, 5))  # AssociatedFileType
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = np.uint8(1), np.uint8(2)  # ContentProperties
_RGB = np.uint8(1)  # ColorSpaceType
_NORMALIZATION = np.uint8(1)  # ProcessUnitOptions

# By name of the output, and whether it has a threshold: what the model is, what the file of names
# holds, what the output is.
_WORDS = {
    ("probabilities", False): (
        "Classifier.",
        "class names, one a line",
        "probability of each class; their sum is 1",
    ),
    ("probabilities", True): (
        "Gives any number of labels.",
        "names of labels, one a line",
        "probability of each label by itself; it is given above 0.5",
    ),
    ("values", False): (
        "Gives numbers.",
        "names of targets, one a line",
        "value of each target",
    ),
    ("embedding", False): ("Gives a point near what belongs to it.", "", "embedding of length 1"),
    ("embedding", True): (
        "Gives a point near those of the same identity.",
        "",
        "embedding of length 1; two are of one identity where their cosine is above the threshold",
    ),
}
_OTHER_WORDS = ("Gives numbers.", "names of outputs, one a line", "a number of each output")


def model_metadata(name: str, description: Mapping, files: Mapping[str, str]) -> bytes:
    """Gives the ModelMetadata flatbuffer of what `mmkd.json` says, and of the texts `files`.

    The description's inputs are in the order of the model's input tensors; of `files`, those that
    it lists as compressed are named so.
    """
    builder = flatbuffers.Builder(1024)
    inputs = []
    for key, entry in description["inputs"].items():
        kind = entry.get("kind", key)
        if entry.get("layout", "").startswith("RGB"):
            inputs.append(_image(builder, key, entry))
        elif "tokenizer_rules" in entry:
            file = f"{file_prefix(key, kind)}{VOCABULARY_FILE}"
            num_words = files[file].count("\n") + 1 if file in files else None
            stored = file if file in description["files"] else f"{file}{COMPRESSED}"
            inputs.append(_text(builder, key, entry, stored, num_words))
        else:
            inputs.append(_tensor(builder, key, f"numbers of shape {entry['shape']}", {}))
    ((output, entry),) = description["outputs"].items()
    about, of_labels, of_outputs = _WORDS.get((output, "threshold" in entry), _OTHER_WORDS)
    if "temperature" in entry:
        of_outputs += f"; logits are divided by {entry['temperature']:.4g} to calibrate it"
    labels = [_file(builder, LABELS_FILE, of_labels, _AXIS_LABELS)] if of_labels else []
    fields: dict[int, Any] = {5: _stats(builder, *entry["range"])} if "range" in entry else {}
    outputs = [_tensor(builder, output, of_outputs, fields | ({6: labels} if labels else {}))]
    bound = "Bind inputs and outputs by the names of this signature, not by position."
    graph = _table(builder, {0: description["signature"], 1: bound, 2: inputs, 3: outputs})
    about += " Zeros stand for an absent input. mmkd.json describes the inputs."
    version = _MIN_PARSER_VERSIONS[any(f.endswith(VOCABULARY_FILE) for f in description["files"])]
    fields = {0: name, 1: about, 2: "1", 3: [graph], 7: version}
    credits = {4: "author", 5: "licence"}
    fields |= {field: description[key] for field, key in credits.items() if key in description}
    builder.Finish(_table(builder, fields), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _image(builder, name: str, entry: Mapping) -> int:
    height, width = entry["shape"][1:3]
    size = _table(builder, {0: np.uint32(width), 1: np.uint32(height)})
    properties = _table(builder, {1: size, 0: _RGB})
    content = _table(builder, {1: properties, 0: _IMAGE_PROPERTIES})
    # The model rescales inside, so pixels go in as they are: mean 0, standard deviation 1.
    normalization = _table(builder, {0: [0.0], 1: [1.0]})
    unit = _table(builder, {1: normalization, 0: _NORMALIZATION})
    stats = _stats(builder, *entry["range"])
    description = "RGB picture, channels last, values 0 to 255"
    return _tensor(builder, name, description, {3: content, 4: [unit], 5: stats})


def _text(builder, name: str, entry: Mapping, file: str, num_words: int | None) -> int:
    # None of the schema's tokenizers splits as mmkd_tf does; naming one would mislead.
    rules = (
        f"mmkd_tf's tokenizer, rules {TOKENIZER_RULES} (docs/tokenizer.md): Latin, Greek and "
        "Cyrillic capitals become small; spaces and punctuation part words; each Chinese, "
        "Japanese or Korean character and each emoji is a word"
    )
    size = entry["shape"][1]
    if "encoding" in entry:
        description = f"{size} bytes of UTF-8; 0 fills on the right; inside is {rules}"
        largest = 255
    else:
        description = (
            f"{size} token ids; 0 fills on the right, 1 is an unknown word, other ids are lines "
            f"of the vocabulary counted from 0; by {rules}"
        )
        largest = None if num_words is None else num_words - 1
    fields: dict[int, Any] = {} if largest is None else {5: _stats(builder, 0, largest)}
    if num_words is not None:
        about, kind = "words, one a line, in the order of ids", _VOCABULARY
        if file.endswith(COMPRESSED):
            about, kind = f"{about}, as a gzip file", _UNKNOWN
        fields[6] = [_file(builder, file, about, kind)]
    return _tensor(builder, name, description, fields)


def _stats(builder, smallest: float, largest: float) -> int:
    return _table(builder, {0: [float(largest)], 1: [float(smallest)]})


def _tensor(builder, name: str, description: str, fields: Mapping) -> int:
    """TensorMetadata: 3 content, 4 process units, 5 statistics, 6 associated files."""
    if 3 not in fields:
        properties = _table(builder, {})
        content = _table(builder, {1: properties, 0: _FEATURE_PROPERTIES})
        fields = {3: content, **fields}
    return _table(builder, {0: name, 1: description, **fields})


def _file(builder, name: str, description: str, kind: np.uint8) -> int:
    """AssociatedFile."""
    return _table(builder, {0: name, 1: description, 2: kind})


def _table(builder, fields: Mapping[int, str | list | int | np.unsignedinteger]) -> int:
    """Writes one table by field number; gives it as later tables refer to it.

    A value is a text, a list of floats or of tables, a table, an uint8 (of enumerations) or uint32.
    """
    ready = {}
    for field, value in fields.items():
        if isinstance(value, str):
            value = builder.CreateString(value)
        elif isinstance(value, list):
            value = _vector(builder, value)
        ready[field] = value
    builder.StartObject(1 + max(ready, default=-1))
    for field, value in ready.items():
        if isinstance(value, np.uint8):
            builder.PrependUint8Slot(field, int(value), 0)
        elif isinstance(value, np.uint32):
            builder.PrependUint32Slot(field, int(value), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, value, 0)
    return builder.EndObject()


def _vector(builder, values: list) -> int:
    """Writes a list of floats or of tables; flatbuffers fill from the back."""
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        if isinstance(value, float):
            builder.PrependFloat32(value)
        else:
            builder.PrependUOffsetTRelative(value)
    return builder.EndVector()
