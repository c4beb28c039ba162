"""Reads checkpoints of PyTorch and safetensors into arrays; nothing in them is executed."""

import hashlib
import io
import json
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

_STORAGES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ByteStorage": np.dtype("u1"),
}
_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


class _Tensor(NamedTuple):
    """Where the numbers of a tensor lie: in which storage, from where on, by which strides."""

    storage: tuple
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows what a state dict is made of, and refuses all else by name."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which weights have no need of")

    def persistent_load(self, pid):
        return pid


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict that `torch.save` wrote, in its old or its zip form.

    Args:
        path: The file.

    Returns:
        Arrays by the tensors' names. Tensors need not lie contiguously in the file: their strides
        are heeded.

    Raises:
        ValueError: If the file is cut short, or names anything that a state dict does not need,
            such as a function to call.
    """
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                tensors, storages = _read_zip(file)
            else:
                file.seek(0)
                tensors, storages = _read_old(file)
        return {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, struct.error, LookupError, TypeError) as error:
        raise _not_weights(path, error) from None
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise _not_weights(path, error) from None


def _not_weights(path: Path, error: object) -> ValueError:
    return ValueError(
        f"`weights`: a whole checkpoint that holds tensors alone. Received: {path} ({error}). "
        "Get it anew; nothing in it was run."
    )


def _read_zip(file) -> tuple[dict, dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        root = archive.namelist()[0].split("/")[0]
        tensors = _Unpickler(io.BytesIO(archive.read(f"{root}/data.pkl"))).load()
        kinds = _storage_kinds(tensors)
        storages = {
            key: np.frombuffer(archive.read(f"{root}/data/{key}"), dtype)
            for key, dtype in kinds.items()
        }
    return tensors, storages


def _read_old(file) -> tuple[dict, dict[str, np.ndarray]]:
    """Pickles one after the other: three of the format, the tensors, the keys; then storages."""
    for _ in range(3):
        _Unpickler(file).load()
    tensors = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    kinds, storages = _storage_kinds(tensors), {}
    for key in keys:
        (size,) = struct.unpack("<q", file.read(8))
        content = file.read(size * kinds[key].itemsize)
        if len(content) != size * kinds[key].itemsize:
            raise EOFError("it ends before its last tensor")
        storages[key] = np.frombuffer(content, kinds[key])
    return tensors, storages


def _storage_kinds(tensors: dict) -> dict[str, np.dtype]:
    # A persistent id is ("storage", kind, key, device, size, ...).
    if not isinstance(tensors, dict) or not all(isinstance(t, _Tensor) for t in tensors.values()):
        raise TypeError("it is no dict of tensors")
    return {tensor.storage[2]: _STORAGES[tensor.storage[1]] for tensor in tensors.values()}


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    storage = storages[tensor.storage[2]]
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0:
        raise ValueError("a tensor has a negative size or stride")
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if math.prod(tensor.shape) and tensor.offset + reach >= len(storage):
        raise EOFError("a tensor is larger than what the file holds")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
    return np.ascontiguousarray(view).reshape(tensor.shape)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file: a length, a table in JSON, and the numbers.

    Raises:
        ValueError: If the file is cut short or has a type of numbers that is not read here.
    """
    content = Path(path).read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", content)
        table = json.loads(content[8 : 8 + length])
        table.pop("__metadata__", None)
        arrays = {}
        for name, entry in table.items():
            first, last = entry["data_offsets"]
            dtype, start = np.dtype(_SAFETENSORS[entry["dtype"]]), 8 + length + first
            if start + last - first > len(content):
                raise EOFError("it ends before its last tensor")
            count = (last - first) // dtype.itemsize
            arrays[name] = np.frombuffer(content, dtype, count, start).reshape(entry["shape"])
        return arrays
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        raise _not_weights(path, error) from None


def weights_digest(weights: dict[str, np.ndarray]) -> str:
    """SHA-256 of all names and numbers, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].tobytes())
    return digest.hexdigest()


def check_shapes(
    expected: dict[str, tuple[int, ...]], arrays: dict[str, np.ndarray], *, name: str
) -> None:
    """Compares the shapes of weights with those that a network wants; lists all differences.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    problems = [
        f"`{name}`: weights {key} of shape {shape}. Received: "
        f"{arrays[key].shape if key in arrays else 'none'}."
        for key, shape in expected.items()
        if key not in arrays or arrays[key].shape != tuple(shape)
    ]
    if problems:
        more = f"\nand {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            "\n".join(problems[:5]) + more + f"\nThe file is of another network: get {name} anew."
        )
