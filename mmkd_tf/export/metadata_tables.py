"""Builds the TFLite Metadata table (schema `M001`) with flatbuffers' builder alone.

The numbers are those of the public schema, metadata_schema.fbs: fields count from 0 in the order
of their declaration, and a union takes two, its type and its value.
"""

from collections.abc import Mapping, Sequence

import flatbuffers

from mmkd_tf.edge.model_file import LABELS_FILE, VOCABULARY_FILE
from mmkd_tf.edge.tokenizer import TOKENIZER_RULES

_FILE_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.1"  # the first that knows vocabulary files

_AXIS_LABELS, _VOCABULARY = 2, 5  # AssociatedFileType
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2  # ContentProperties
_RGB = 1  # ColorSpaceType
_NORMALIZATION = 1  # ProcessUnitOptions


def model_metadata(
    name: str, shapes: Mapping[str, Sequence[int]], *, has_vocabulary: bool
) -> bytes:
    """Describes a classifier's inputs and its output `probabilities`.

    Args:
        name: What to call the model.
        shapes: By input name, the shape; in the order of the model's input tensors.
        has_vocabulary: Whether a vocabulary file goes with the input `text`.

    Returns:
        The ModelMetadata flatbuffer.
    """
    builder = flatbuffers.Builder(1024)
    inputs = []
    for key, shape in shapes.items():
        if key == "image":
            inputs.append(_image(builder, key, shape))
        elif key == "text":
            inputs.append(_text(builder, key, shape, has_vocabulary=has_vocabulary))
        else:
            inputs.append(_tensor(builder, key, f"numbers of shape {list(shape)}"))
    labels = _file(builder, LABELS_FILE, "class names, one a line", _AXIS_LABELS)
    outputs = [_tensor(builder, "probabilities", "of the classes; sum is 1", {6: [labels]})]
    graph = _table(builder, {0: "main", 2: inputs, 3: outputs})
    description = "Classifier. Zeros stand for an absent input. mmkd.json describes the inputs."
    fields = {0: name, 1: description, 2: "1", 3: [graph], 7: _MIN_PARSER_VERSION}
    builder.Finish(_table(builder, fields), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _image(builder, name: str, shape: Sequence[int]) -> int:
    size = _table(builder, {}, numbers={0: shape[2], 1: shape[1]})  # width, height
    properties = _table(builder, {1: size}, enums={0: _RGB})
    content = _table(builder, {1: properties}, enums={0: _IMAGE_PROPERTIES})
    # The model rescales inside, so pixels go in as they are: mean 0, standard deviation 1.
    normalization = _table(builder, {0: [0.0], 1: [1.0]})
    unit = _table(builder, {1: normalization}, enums={0: _NORMALIZATION})
    stats = _table(builder, {0: [255.0], 1: [0.0]})  # largest, smallest
    description = "RGB picture, channels last, values 0 to 255"
    return _tensor(builder, name, description, {3: content, 4: [unit], 5: stats})


def _text(builder, name: str, shape: Sequence[int], *, has_vocabulary: bool) -> int:
    # None of the schema's tokenizers splits as mmkd_tf does; naming one would mislead.
    description = (
        f"{shape[1]} token ids; 0 fills on the right, 1 is an unknown word; "
        f"split by mmkd_tf's tokenizer rules {TOKENIZER_RULES}"
    )
    if not has_vocabulary:
        return _tensor(builder, name, description)
    words = _file(builder, VOCABULARY_FILE, "words, one a line, in the order of ids", _VOCABULARY)
    return _tensor(builder, name, description, {6: [words]})


def _tensor(builder, name: str, description: str, fields: dict | None = None) -> int:
    """TensorMetadata: 3 content, 4 process units, 5 statistics, 6 associated files."""
    fields = fields or {}
    if 3 not in fields:
        properties = _table(builder, {})
        fields[3] = _table(builder, {1: properties}, enums={0: _FEATURE_PROPERTIES})
    return _table(builder, {0: name, 1: description, **fields})


def _file(builder, name: str, description: str, kind: int) -> int:
    """AssociatedFile."""
    return _table(builder, {0: name, 1: description}, enums={2: kind})


def _table(
    builder,
    fields: Mapping[int, str | list | int],
    *,
    enums: Mapping[int, int] | None = None,
    numbers: Mapping[int, int] | None = None,
) -> int:
    """Writes one table.

    Args:
        builder: Where to.
        fields: By field number, a text, a list of floats or of tables, or a table.
        enums: Fields of one byte.
        numbers: Unsigned fields of four bytes.

    Returns:
        The table, as later tables refer to it.
    """
    enums, numbers = enums or {}, numbers or {}
    offsets = {}
    for field, value in fields.items():
        if isinstance(value, str):
            value = builder.CreateString(value)
        elif isinstance(value, list):
            value = _vector(builder, value)
        offsets[field] = value
    builder.StartObject(1 + max([*offsets, *enums, *numbers], default=-1))
    for field, value in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, value, 0)
    for field, value in enums.items():
        builder.PrependUint8Slot(field, value, 0)
    for field, value in numbers.items():
        builder.PrependUint32Slot(field, value, 0)
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
