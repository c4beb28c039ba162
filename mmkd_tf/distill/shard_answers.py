"""A teacher's answers to rows of shards, kept beside these: written whole, found by its key."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.distill.fingerprints import teacher_fingerprints
from mmkd_tf.files.shards import ANSWERS, SHARD_KEY, Shards, read_footer, read_groups
from mmkd_tf.files.tables import TableError
from mmkd_tf.files.whole import whole_file
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.models.cross_fitted import FOLD

_FORM = 1  # another one where answers are written otherwise than before
_COLUMN = "logits"


def answers_key(
    teacher: keras.Model,
    inputs: Mapping[str, InputOptions],
    encoders: Mapping[str, Sequence[Encoder]],
    forms: Mapping[str, Any],
) -> dict:
    """What tells a teacher's answers from those of others, and from its own to other columns.

    Args:
        teacher: Trained.
        inputs: By name, how its inputs are read.
        encoders: By name, frozen encoders whose features it reads.
        forms: By name, fitted inputs; those count whose tensors it reads.

    Returns:
        Checksums of its weights and its architecture, and by input `columns`, `encoders` and
        `tensor`, which are known by fingerprints; of JSON types.
    """
    read = {
        name: {
            "columns": inputs[name].columns_of(name),
            "encoders": [encoder.fingerprint for encoder in encoders.get(name, ())],
            "tensor": hashlib.sha256(forms[name].fingerprint()).hexdigest()
            if name in forms
            else None,
        }
        for name in sorted(set(teacher.input) - {FOLD})
    }
    return {"form": _FORM, **teacher_fingerprints(teacher), "inputs": read}


def answers_folder(shards: Path, key: Mapping) -> Path:
    """The folder of the answers by this key; its name is short, so the files hold the key too."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return shards / f"{ANSWERS}{digest[:12]}"


def are_answered(shards: Path, entry: Mapping, key: Mapping) -> bool:
    """Whether there are whole answers to a shard, an entry of `shards.json`, as it is now."""
    path = answers_folder(shards, key) / entry["file"]
    footer = read_footer(path) if path.is_file() else None
    of_shard = {"key": key, "shard": entry["sha256"], "rows": entry["rows"]}
    return footer is not None and {name: footer.get(name) for name in of_shard} == of_shard


def write_answers(
    shards: Path, entry: Mapping, key: Mapping, parts: Iterable[np.ndarray], *, width: int
) -> None:
    """Writes the answers to a shard, whole or not at all.

    Args:
        shards: The folder of the shards.
        entry: Of the shard, what `shards.json` says.
        key: What `answers_key` gave.
        parts: Answers to its rows in their order, float32 `[some, width]`.
        width: Number of the teacher's outputs.

    Raises:
        ValueError: If an answer is not finite.
        OSError: If the file can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet

    path, rows = answers_folder(shards, key) / entry["file"], 0
    schema = pa.schema([(_COLUMN, pa.list_(pa.float32(), width))])
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as unfinished:
        with pyarrow.parquet.ParquetWriter(
            unfinished, schema, use_dictionary=False, write_page_checksum=True
        ) as writer:
            for part in parts:
                if not np.isfinite(part).all():
                    raise ValueError(
                        f"`teacher`: finite answers. Received: NaN or infinity for one of rows "
                        f"{rows:,} to {rows + len(part) - 1:,} of {entry['file']}. Train it again."
                    )
                values = pa.array(np.ascontiguousarray(part, np.float32).reshape(-1))
                lists = pa.FixedSizeListArray.from_arrays(values, width)
                writer.write_table(pa.table([lists], schema=schema))
                rows += len(part)
            footer = {"key": key, "shard": entry["sha256"], "rows": rows}
            writer.add_key_value_metadata({SHARD_KEY: json.dumps(footer)})


def find_answers(folder: Path, key: Mapping) -> tuple[np.ndarray | None, str]:
    """Looks up a teacher's answers to all rows of a folder of shards.

    Returns:
        The answers, float32 `[rows, outputs]`, or None where it is to be asked; and a note for
        people, empty where nobody has answered.
    """
    shards = Shards.open(folder)
    entries = shards.manifest["shards"]
    kept = answers_folder(folder, key)
    there = [entry for entry in entries if are_answered(folder, entry, key)]
    again = f"Its answers can be kept: mmkd-tf data label {folder} --teacher RUN."
    if not there:
        others = any(folder.glob(f"{ANSWERS}*"))
        said = f"{folder}: answers of another teacher, or to other rows, are not used. {again}"
        return None, said if others else ""
    if len(there) < len(entries):
        return None, (
            f"{folder}: {len(there):,} of {len(entries):,} shards are answered by this teacher, "
            f"which is asked again about all. {again}"
        )
    parts = []
    try:
        for entry in entries:
            for group in read_groups(kept / entry["file"], _COLUMN, made_by="label"):
                for chunk in group.chunks:
                    parts.append(chunk.flatten().to_numpy().reshape(len(chunk), -1))
    except TableError as error:
        return None, f"{error} Until then the teacher is asked again about all."
    answers = np.concatenate(parts)
    return answers, f"{len(answers):,} answers of this teacher are read from {kept}."
