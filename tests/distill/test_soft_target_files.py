import shutil

import numpy as np
import pytest

from mmkd_tf.distill.soft_target_files import (
    MANIFEST_FILE,
    DamagedError,
    open_targets,
    read_manifest,
    write_manifest,
    write_targets,
)

VALUES = {
    "logits": np.arange(24, dtype="float32").reshape(2, 4, 3),
    "features": np.arange(16, dtype="float32").reshape(2, 4, 1, 2) / 3,
}


def parts(batch_size=3):
    """Batches of views, each view with a smaller one at its end."""
    for view in range(2):
        for start in range(0, 4, batch_size):
            yield {name: v[view, start : start + batch_size] for name, v in VALUES.items()}


@pytest.fixture
def files(tmp_path):
    return write_targets(tmp_path, parts=parts(), views=2, num_examples=4)


def test_arrays_are_plain_npy_files_mapped_into_memory(files, tmp_path):
    assert files["logits"] == {
        "file": "soft_targets-0.npy",
        "shape": [2, 4, 3],
        "dtype": "float32",
        "sha256": files["logits"]["sha256"],
    }
    opened = open_targets(tmp_path, files)
    assert list(opened) == ["logits", "features"]
    for name, values in VALUES.items():
        assert isinstance(opened[name], np.memmap) and not opened[name].flags.writeable
        assert opened[name].dtype == "float32"
        np.testing.assert_array_equal(opened[name], values)
        np.testing.assert_array_equal(np.load(tmp_path / files[name]["file"]), values)


def test_every_damaged_file_is_named(files, tmp_path):
    whole = (tmp_path / "soft_targets-0.npy").read_bytes()
    (tmp_path / "soft_targets-0.npy").write_bytes(whole[:-4])
    (tmp_path / "soft_targets-1.npy").unlink()
    with pytest.raises(DamagedError, match=r"soft_targets-0.npy: not the bytes.*-1.npy: No such"):
        open_targets(tmp_path, files)
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    (tmp_path / "soft_targets-0.npy").write_bytes(flipped)
    with pytest.raises(DamagedError, match="soft_targets-0.npy: not the bytes"):
        open_targets(tmp_path, {"logits": files["logits"]})


def test_outputs_whose_shape_changes_are_refused(tmp_path):
    def changing():
        yield {"steps": np.zeros([2, 5, 3], "float32")}
        yield {"steps": np.zeros([2, 4, 3], "float32")}

    with pytest.raises(ValueError, match=r"`layers`.*'steps' of shape \[4, 3\] after \[5, 3\]"):
        write_targets(tmp_path, parts=changing(), views=1, num_examples=4)


def test_a_small_disk_is_refused_before_the_teacher_is_asked_further(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 100))
    asked = []

    def counted():
        for part in parts():
            asked.append(part)
            yield part

    with pytest.raises(ValueError, match="`folder`: on a disk with at least 0 MiB free"):
        write_targets(tmp_path, parts=counted(), views=2, num_examples=4)
    assert len(asked) == 1 and not list(tmp_path.iterdir())


def test_a_manifest_is_read_back_and_its_damage_seen(tmp_path):
    content = {"key": {"seed": None, "views": 2}, "files": {"logits": {"shape": [2, 4]}}}
    with pytest.raises(DamagedError, match="no soft_targets.json, which is written last"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, content)
    assert read_manifest(tmp_path) == content
    file = tmp_path / MANIFEST_FILE
    text = file.read_text()
    for damaged in (text[:-10], "", "[]", "{}", text.replace('"views": 2', '"views": 3')):
        file.write_text(damaged)
        with pytest.raises(DamagedError, match="soft_targets.json that is not whole"):
            read_manifest(tmp_path)
