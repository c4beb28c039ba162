import os
import time

import pytest

from mmkd_tf.distill.soft_target_files import foreign_files, move_in_place, unfinished_folder


def test_a_folder_appears_whole(tmp_path):
    folder = tmp_path / "deep" / "cache"
    with unfinished_folder(folder) as unfinished:
        (unfinished / "soft_targets-0.npy").write_text("new")
        assert unfinished.parent == folder.parent and not folder.exists()
        move_in_place(unfinished, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["cache"]
    assert (folder / "soft_targets-0.npy").read_text() == "new"


def test_nothing_is_left_of_a_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path / "cache") as unfinished:
        (unfinished / "soft_targets-0.npy").write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_damaged_cache_is_replaced_and_foreign_files_are_never_removed(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    for name in ("soft_targets-0.npy", "soft_targets-12.npy", "soft_targets.json"):
        (folder / name).write_text("old")
    assert foreign_files(folder) == []
    with unfinished_folder(folder) as unfinished:
        (unfinished / "soft_targets-0.npy").write_text("new")
        move_in_place(unfinished, folder)
    assert [path.name for path in folder.iterdir()] == ["soft_targets-0.npy"]
    (folder / "logits.npy").write_text("mine")
    (folder / "soft_targets-0.npy.bak").write_text("mine")
    assert foreign_files(folder) == ["logits.npy", "soft_targets-0.npy.bak"]
    with pytest.raises(OSError), unfinished_folder(folder) as unfinished:
        move_in_place(unfinished, folder)
    assert foreign_files(folder) == ["logits.npy", "soft_targets-0.npy.bak"]


def test_what_a_kill_left_goes_a_day_later(tmp_path):
    day_ago = time.time() - 90_000
    for name, age in (("old", day_ago), ("live", time.time()), ("foreign", day_ago)):
        folder = tmp_path / f".cache.{name}.unfinished"
        folder.mkdir()
        file = folder / ("thesis.txt" if name == "foreign" else "soft_targets-0.npy")
        file.write_text("half")
        for path in (file, folder):
            os.utime(path, (age, age))
    with unfinished_folder(tmp_path / "cache"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".cache.foreign.unfinished",
        ".cache.live.unfinished",
    ]


def test_refuses_a_place_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`folder`: a folder that can be written"):
        with unfinished_folder(tmp_path / "file" / "cache"):
            pass
