"""Writes into a TFLite file what its inputs and outputs mean: TFLite Metadata and files."""

import gzip
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.model_file import (
    COMPRESSED,
    DESCRIPTION_FILE,
    FORMAT_OF_COMPRESSED,
    LABELS_FILE,
    OLDEST_FORMAT,
    file_prefix,
)
from mmkd_tf.export.metadata_tables import model_metadata
from mmkd_tf.export.tflite_tables import read_tables, write_tables
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task
from mmkd_tf.tasks.labels import is_name, unfit_names

_METADATA_NAME = b"TFLITE_METADATA"
_FORMAT_OF_KINDS = 2  # the first in which an input may say its kind
# From this number of bytes on, a text is compressed: below, all readers of format 1 can read it.
_LONG = 2**14
_UNSAID_KINDS = ("image", "text")  # which readers of format 1 know by the input's name


def add_metadata(
    content: bytes,
    *,
    name: str,
    class_names: Sequence[str],
    modalities: Mapping[str, Modality] | None = None,
    author: str | None = None,
    licence: str | None = None,
    task: Task | str = DEFAULT_TASK,
    temperature: float | None = None,
    threshold: float | None = None,
) -> bytes:
    """Adds labels, vocabularies and a description of inputs and outputs to a TFLite model.

    The description comes twice: as TFLite Metadata, for standard tools, and as `mmkd.json`, for
    readers without a flatbuffer library. The files follow the model as an uncompressed zip
    archive, so `unzip student.tflite labels.txt` works; a long one is a gzip file in it, as
    standard readers of associated files refuse what the archive itself has compressed. What the
    file already has of this is replaced. Modalities say how inputs are described and which files
    go along; a temperature is that by which the model divides its logits already; a threshold goes
    before the task's. A ValueError says that `content` is no model of one signature, or another
    argument does not fit.
    """
    model, task, modalities = read_tables(content), find_task(task), modalities or {}
    files = {LABELS_FILE: "\n".join(class_names)} if class_names else {}
    for key, modality in modalities.items():
        prefix = file_prefix(key, modality.kind)
        files |= {f"{prefix}{short}": text for short, text in modality.files().items()}
    _check(model, class_names, {"name": name, "author": author, "licence": licence})
    signature = model.signatureDefs[0]
    inputs = _inputs(model, signature, modalities)
    stored = dict(_stored(name, text) for name, text in files.items())
    formats = [OLDEST_FORMAT, task.file_format]
    formats += [_FORMAT_OF_KINDS] if any("kind" in entry for entry in inputs.values()) else []
    formats += [] if files.keys() == stored.keys() else [FORMAT_OF_COMPRESSED]
    description = {
        "format": max(formats),
        **({} if task.file_format == OLDEST_FORMAT else {"task": task.name}),
        "signature": signature.signatureKey.decode(),
        "inputs": inputs,
        "outputs": _outputs(model, signature, task, temperature, threshold),
        "absent_input": "zeros",
    }
    credits = {"author": author, "licence": licence}
    description |= {key: value for key, value in credits.items() if value is not None}
    description |= {"files": list(stored)}
    _set_metadata(model, model_metadata(name, description, files))
    packed = write_tables(model)
    description |= {"model_bytes": len(packed), "model_crc32": zlib.crc32(packed)}
    stored[DESCRIPTION_FILE] = json.dumps(description).encode()
    return packed + _archive(stored, len(packed))


def _check(
    model: schema.ModelT, class_names: Sequence[str], texts: Mapping[str, str | None]
) -> None:
    needed = {key: value for key, value in texts.items() if value is not None or key == "name"}
    problems = [*unfit_texts(needed), *unfit_names([*dict.fromkeys(class_names)])]
    if len(model.signatureDefs or ()) != 1:
        problems.append(
            "`content`: a TFLite model with one signature. "
            f"Received: {len(model.signatureDefs or ())} signatures."
        )
    if problems:
        raise ValueError("\n".join(problems))


def unfit_texts(texts: Mapping[str, str | None]) -> list[str]:
    """Says which texts about a model, such as its licence, a file can't hold."""
    return [
        f"`{key}`: a text that is not empty, in valid Unicode without U+0000. "
        f"Received: {key}={value!r:.80}."
        for key, value in texts.items()
        # Of several lines each by itself.
        if not (isinstance(value, str) and value and is_name(f"-{' '.join(value.splitlines())}"))
    ]


def _inputs(
    model: schema.ModelT, signature: schema.SignatureDefT, modalities: Mapping[str, Modality]
) -> dict[str, dict]:
    """Describes the inputs in the order of the tensors; `mmkd_tf.edge.model_file` says how."""
    graph = model.subgraphs[signature.subgraphIndex]
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.inputs}
    types = {value: key.lower() for key, value in vars(schema.TensorType).items() if key.isupper()}
    inputs = {}
    for index in graph.inputs:
        tensor, name = graph.tensors[index], names[index]
        signed = tensor.shapeSignature  # has -1 for an open size, where the shape has 1
        shape = tensor.shape if signed is None or not len(signed) else signed
        entry = {"shape": [int(size) for size in shape], "dtype": types[tensor.type]}
        if name in modalities:
            kind = modalities[name].kind
            entry |= {} if kind == name and kind in _UNSAID_KINDS else {"kind": kind}
            entry |= modalities[name].file_description(entry["dtype"])
        inputs[name] = entry
    return inputs


def _outputs(
    model: schema.ModelT,
    signature: schema.SignatureDefT,
    task: Task,
    temperature: float | None,
    threshold: float | None,
) -> dict[str, dict]:
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.outputs}
    entry: dict[str, Any] = {} if task.output_range is None else {"range": list(task.output_range)}
    threshold = task.threshold if threshold is None else threshold
    entry |= {} if threshold is None else {"threshold": threshold}
    entry |= {} if temperature is None else {"temperature": temperature}
    return {names[index]: dict(entry) for index in model.subgraphs[signature.subgraphIndex].outputs}


def _set_metadata(model: schema.ModelT, metadata: bytes) -> None:
    entries = [entry for entry in model.metadata or [] if entry.name != _METADATA_NAME]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry.name, entry.buffer = _METADATA_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*entries, entry]


def _stored(name: str, text: str) -> tuple[str, bytes]:
    """Gives the name and the bytes by which a text is stored."""
    content = text.encode()
    if len(content) < _LONG:
        return name, content
    return f"{name}{COMPRESSED}", gzip.compress(content, mtime=0)


def _archive(files: Mapping[str, bytes], begin: int) -> bytes:
    """Makes a zip archive that stands behind `begin` bytes of something else."""
    stream = BytesIO(bytes(begin))  # zeros: weights might look like an older archive
    stream.seek(begin)
    # Not compressed: Android's reader of associated files maps them as they are.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            # A ZipInfo of its own has a fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()[begin:]
