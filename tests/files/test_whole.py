"""A file appears whole or not at all."""

import pytest

from mmkd_tf.files.whole import whole_file


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_file_appears_whole_or_not_at_all(tmp_path, error):
    file = tmp_path / "model.v2.keras"
    with whole_file(file) as unfinished:
        assert (unfinished.parent, unfinished.suffix) == (tmp_path, ".keras")
        assert unfinished.name.startswith(".")  # a run removes what a kill leaves
        unfinished.write_text("old")
        assert not file.exists()
    with pytest.raises(error), whole_file(file) as unfinished:
        unfinished.write_text("half")
        raise error
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.v2.keras"]


def test_two_who_write_one_file_do_not_meet(tmp_path):
    file = tmp_path / "features.npz"
    with whole_file(file) as first, whole_file(file) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"  # which is put in place last
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]
