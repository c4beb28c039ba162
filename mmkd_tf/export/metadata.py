"""Writes into a TFLite file what its inputs and outputs mean: TFLite Metadata and files."""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.model_file import (
    DESCRIPTION_FILE,
    FORMATS,
    LABELS_FILE,
    VOCABULARY_FILE,
)
from mmkd_tf.edge.tokenizer import TOKENIZER_RULES
from mmkd_tf.export.metadata_tables import model_metadata
from mmkd_tf.export.tflite_tables import read_tables, write_tables

_METADATA_NAME = b"TFLITE_METADATA"


def add_metadata(
    content: bytes,
    *,
    name: str,
    class_names: Sequence[str],
    vocabulary: Sequence[str] | None = None,
    author: str | None = None,
    licence: str | None = None,
    task: str = "single_label",
) -> bytes:
    """Adds labels, vocabulary and a description of inputs and outputs to a TFLite model.

    The description comes twice: as TFLite Metadata, for standard tools, and as `mmkd.json`, for
    readers without a flatbuffer library. The files follow the model as an uncompressed zip
    archive, so `unzip student.tflite labels.txt` works. What the file already has of this is
    replaced.

    Args:
        content: A TFLite model with one signature. It may have any batch size, or an open one. A
            `text` of uint8 is one of UTF-8 bytes, any other one of token ids.
        name: What to call the model.
        class_names: Of classes, labels or targets, one for each output, in order; become
            `labels.txt`, one a line. Of retrieval none.
        vocabulary: Words in the order of their ids; become `vocab.txt`, one a line.
        author: Who made the model.
        licence: The terms of its use, such as "Apache-2.0".
        task: What the outputs say, a key of `mmkd_tf.edge.model_file.FORMATS`.

    Returns:
        The whole file.

    Raises:
        ValueError: If `content` is no such model, or an argument does not fit.
    """
    model = read_tables(content)
    _check(model, class_names, vocabulary, {"name": name, "author": author, "licence": licence})
    signature = model.signatureDefs[0]
    description = {
        "format": FORMATS[task],
        **({} if task == "single_label" else {"task": task}),
        "signature": signature.signatureKey.decode(),
        "inputs": _inputs(model, signature),
        "outputs": _outputs(model, signature, task),
        "absent_input": "zeros",
    }
    credits = {"author": author, "licence": licence}
    description |= {key: value for key, value in credits.items() if value is not None}
    num_words = None if vocabulary is None else len(vocabulary)
    _set_metadata(model, model_metadata(name, description, num_words=num_words))
    packed = write_tables(model)
    files = {LABELS_FILE: "\n".join(class_names)} if class_names else {}
    if vocabulary is not None:
        files[VOCABULARY_FILE] = "\n".join(vocabulary)
    description |= {"files": list(files)}
    description |= {"model_bytes": len(packed), "model_crc32": zlib.crc32(packed)}
    return packed + _archive(files | {DESCRIPTION_FILE: json.dumps(description)}, len(packed))


def _check(
    model: schema.ModelT,
    class_names: Sequence[str],
    vocabulary: Sequence[str] | None,
    texts: Mapping[str, str | None],
) -> None:
    problems = [
        f"`{key}`: a text that is not empty. Received: {key}={value!r}."
        for key, value in texts.items()
        if not (isinstance(value, str) and value) and (value is not None or key == "name")
    ]
    lines = {"class_names": class_names, "vocabulary": vocabulary or ()}
    problems += [
        f"`{key}`: texts of one line each, as the file holds one a line. Received: {broken[:3]}."
        for key, values in lines.items()
        if (broken := [value for value in values if "\n" in value])
    ]
    if len(model.signatureDefs or ()) != 1:
        problems.append(
            "`content`: a TFLite model with one signature. "
            f"Received: {len(model.signatureDefs or ())} signatures."
        )
    if problems:
        raise ValueError("\n".join(problems))


def _inputs(model: schema.ModelT, signature: schema.SignatureDefT) -> dict[str, dict]:
    """Describes the inputs in the order of the tensors; `mmkd_tf.edge.model_file` says how."""
    graph = model.subgraphs[signature.subgraphIndex]
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.inputs}
    inputs = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        signed = tensor.shapeSignature  # has -1 for an open size, where the shape has 1
        shape = tensor.shape if signed is None or not len(signed) else signed
        entry = {"shape": [int(size) for size in shape], "dtype": _type_name(tensor.type)}
        if names[index] == "image":
            entry |= {"layout": "RGB, channels last", "range": [0, 255]}
        if names[index] == "text":
            if entry["dtype"] == "uint8":
                entry["encoding"] = "utf-8"
            entry |= {"padding": "0, on the right", "tokenizer_rules": TOKENIZER_RULES}
        inputs[names[index]] = entry
    return inputs


def _outputs(model: schema.ModelT, signature: schema.SignatureDefT, task: str) -> dict[str, dict]:
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.outputs}
    indices = model.subgraphs[signature.subgraphIndex].outputs
    ranges = {"regression": {}, "retrieval": {"range": [-1, 1]}}
    entry = ranges.get(task, {"range": [0, 1]})
    return {names[index]: dict(entry) for index in indices}


def _type_name(number: int) -> str:
    """TensorType.UINT8 -> "uint8"."""
    names = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    return names[number].lower()


def _set_metadata(model: schema.ModelT, metadata: bytes) -> None:
    entries = [entry for entry in model.metadata or [] if entry.name != _METADATA_NAME]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry.name, entry.buffer = _METADATA_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*entries, entry]


def _archive(files: Mapping[str, str], begin: int) -> bytes:
    """Makes a zip archive that stands behind `begin` bytes of something else."""
    stream = BytesIO(bytes(begin))  # zeros: weights might look like an older archive
    stream.seek(begin)
    # Not compressed: Android's reader of associated files maps them as they are.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            # A ZipInfo of its own has a fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), text.encode())
    return stream.getvalue()[begin:]
