"""Writes into a TFLite file what its inputs and outputs mean: TFLite Metadata and files."""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.model_file import (
    DESCRIPTION_FILE,
    FORMAT,
    LABELS_FILE,
    VOCABULARY_FILE,
)
from mmkd_tf.edge.tokenizer import TOKENIZER_RULES
from mmkd_tf.export.metadata_tables import model_metadata

_METADATA_NAME = b"TFLITE_METADATA"
_BUFFER_ALIGNMENT = 16


def add_metadata(
    content: bytes,
    *,
    name: str,
    class_names: Sequence[str],
    vocabulary: Sequence[str] | None = None,
) -> bytes:
    """Adds labels, vocabulary and a description of the inputs to a TFLite model.

    The description comes twice: as TFLite Metadata, for standard tools, and as `mmkd.json`, for
    readers without a flatbuffer library. The files follow the model as an uncompressed zip
    archive, so `unzip student.tflite labels.txt` works.

    Args:
        content: A TFLite model with one signature.
        name: What to call the model.
        class_names: One for each output, in order; become `labels.txt`, one a line.
        vocabulary: Words in the order of their ids; become `vocab.txt`, one a line.

    Returns:
        The whole file.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.inputs}
    inputs = {names[index]: graph.tensors[index] for index in graph.inputs}
    shapes = {key: [int(size) for size in tensor.shape] for key, tensor in inputs.items()}

    metadata = model_metadata(name, shapes, has_vocabulary=vocabulary is not None)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = _METADATA_NAME, len(model.buffers) - 1
    others = [other for other in model.metadata or [] if other.name != _METADATA_NAME]
    model.metadata = [*others, entry]
    builder = _AlignedBuilder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    packed = bytes(builder.Output())

    files = {LABELS_FILE: "\n".join(class_names)}
    if vocabulary is not None:
        files[VOCABULARY_FILE] = "\n".join(vocabulary)
    types = {key: _type_name(tensor.type) for key, tensor in inputs.items()}
    files[DESCRIPTION_FILE] = json.dumps(_description(shapes, types, packed))
    stream = BytesIO()
    stream.write(packed)
    # Not compressed: Android's reader of associated files maps them as they are.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for file_name, text in files.items():
            # A ZipInfo of its own has a fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(file_name), text.encode())
    return stream.getvalue()


class _AlignedBuilder(flatbuffers.Builder):
    """Keeps weights at multiples of 16 bytes, as the schema asks; flatbuffers' Python does not."""

    def CreateNumpyVector(self, x):  # noqa: N802
        self.Prep(_BUFFER_ALIGNMENT, x.nbytes)
        return super().CreateNumpyVector(x)


def _type_name(number: int) -> str:
    """TensorType.UINT8 -> "uint8"."""
    names = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    return names[number].lower()


def _description(shapes: Mapping[str, list[int]], types: Mapping[str, str], packed: bytes) -> dict:
    """Makes the content of `mmkd.json`; `mmkd_tf.edge.model_file` documents it."""
    inputs = {name: {"shape": shapes[name], "dtype": types[name]} for name in shapes}
    if "image" in inputs:
        inputs["image"] |= {"layout": "RGB, channels last", "range": [0, 255]}
    if "text" in inputs:
        inputs["text"] |= {"padding": "0, on the right", "tokenizer_rules": TOKENIZER_RULES}
    return {
        "format": FORMAT,
        "inputs": inputs,
        "absent_input": "zeros",
        "model_bytes": len(packed),
        "model_crc32": zlib.crc32(packed),
    }
