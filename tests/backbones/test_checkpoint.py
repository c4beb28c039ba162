"""Readers of checkpoints: strides, cut files, and nothing that is run."""

import json
import os
import pickle
import struct

import numpy as np
import pytest

from mmkd_tf.backbones.checkpoint import check_shapes, read_safetensors, read_torch


def old_format(tensors, storages):
    """Writes PyTorch's old format by hand: opcodes for names, `pickle` for the rest."""
    parts = [pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little": True})]
    body = b"\x80\x02}("
    for name, (key, shape, strides) in tensors.items():
        body += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        body += _text("storage") + b"ctorch\nFloatStorage\n" + _text(key) + _text("cpu")
        body += b"K\x06NtQK\x00" + _ints(shape) + _ints(strides) + b"\x89NtR"
    parts.append(body + b"u.")
    parts.append(pickle.dumps(list(storages), 2))
    for values in storages.values():
        values = np.asarray(values, np.float32)
        parts.append(struct.pack("<q", len(values)) + values.tobytes())
    return b"".join(parts)


def _text(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _ints(numbers):
    return b"(" + b"".join(b"K" + bytes([number]) for number in numbers) + b"t"


def test_heeds_the_strides_of_tensors(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(old_format({"a": ("0", (3, 2), (1, 3))}, {"0": range(6)}))
    # Column by column: element (i, j) lies at i + 3 j.
    np.testing.assert_array_equal(read_torch(path)["a"], [[0, 3], [1, 4], [2, 5]])


def test_refuses_what_is_cut_short_or_reaches_out(tmp_path):
    path = tmp_path / "w.pth"
    whole = old_format({"a": ("0", (3, 2), (1, 3))}, {"0": range(6)})
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="ends before its last tensor"):
        read_torch(path)
    path.write_bytes(old_format({"a": ("0", (3, 3), (1, 3))}, {"0": range(6)}))
    with pytest.raises(ValueError, match="larger than what the file holds"):
        read_torch(path)
    path.write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="a whole checkpoint"):
        read_torch(path)


class _Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval])
def test_runs_nothing(tmp_path, function):
    mark = tmp_path / "mark"
    command = f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')"
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(_Attack(function, command), 2))
    with pytest.raises(ValueError, match="names .* which weights have no need of"):
        read_torch(path)
    assert not mark.exists()


def safetensors(values):
    table = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F16", "shape": values.shape, "data_offsets": [0, values.nbytes]},
        }
    ).encode()
    return struct.pack("<Q", len(table)) + table + values.tobytes()


def test_reads_safetensors(tmp_path):
    path, values = tmp_path / "w.safetensors", np.arange(6, dtype=np.float16).reshape(2, 3)
    path.write_bytes(safetensors(values))
    found = read_safetensors(path)
    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], values)
    path.write_bytes(safetensors(values)[:-2])
    with pytest.raises(ValueError, match="ends before its last tensor"):
        read_safetensors(path)
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match="a whole checkpoint"):
        read_safetensors(path)


def test_lists_shapes_that_differ():
    with pytest.raises(ValueError, match=r"weights b of shape \(3,\). Received: none") as error:
        check_shapes({"a": (2,), "b": (3,)}, {"a": np.zeros(1)}, name="mine")
    assert "weights a of shape (2,). Received: (1,)" in str(error.value)
