import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.data import batches, decoding, for_student, from_table, kept, training_batches
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.pretrained import with_pretrained
from mmkd_tf.files.kept import DECODED, LIMIT_VARIABLE, kept_files, make_room
from mmkd_tf.modalities import KINDS

OPTIONS = DatasetOptions(image_size=16)
NUM_ROWS = 12


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache that keeps tables of any size."""
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "LEAST_BYTES", 1)
    monkeypatch.setattr(decoding, "PART_BYTES", 5 * 16 * 16 * 3)  # several parts
    return tmp_path / "cache" / DECODED


@pytest.fixture
def items(tmp_path):
    """A table of 12 rows, one without a picture."""
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for row in range(NUM_ROWS):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"{row}.png")
        lines.append(f"{f'{row}.png' if row != 7 else ''},thing {row},{'ab'[row % 2]}")
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "items.csv"


@pytest.fixture
def decoded(monkeypatch):
    """How many cells have been decoded, in a list of one number."""
    count, read = [0], KINDS["image"].read

    def counted(cells, *arguments, **options):
        count[0] += len(cells)
        return read(cells, *arguments, **options)

    monkeypatch.setattr(KINDS["image"], "read", counted)
    return count


def read(path, monkeypatch=None, **options):
    """The data, in memory where `monkeypatch` is given."""
    if monkeypatch is None:
        return from_table(path, options=DatasetOptions(image_size=16, **options))
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "LEAST_BYTES", 2**40)
        return read(path, **options)


def rows_of(array):
    """Rows on disk that equal an array."""
    with kept.Writer(None, "an array", array.shape, array.dtype) as writer:
        writer.add(array[:3], {})
        writer.add(array[3:], {})
        return kept.whole(writer.finish())[0]


def test_models_read_what_they_would_from_memory(items, monkeypatch):
    on_disk, in_memory = (
        for_student(data, image={"size": 8}) for data in (read(items), read(items, monkeypatch))
    )
    assert isinstance(on_disk.splits["train"].inputs["image"], kept.KeptRows)
    assert on_disk.fingerprint() == in_memory.fingerprint() and repr(on_disk) == repr(in_memory)
    pairs = [
        (batches(on_disk, split), batches(in_memory, split))
        for split in ("train", "validation", "test")
    ]
    shuffled = (training_batches(d, epochs=2, batch_size=5) for d in (on_disk, in_memory))
    for ours, theirs in [*pairs, tuple(shuffled)]:
        assert ours.element_spec == theirs.element_spec
        for (x, y), (other_x, other_y) in zip(ours, theirs, strict=True):
            assert set(x) == set(other_x) and np.array_equal(y, other_y)
            assert all(np.array_equal(x[name], other_x[name]) for name in x)
    assert len(list(on_disk.test)) == int(on_disk.test.cardinality()) == on_disk.sizes["test"]


def test_features_are_those_of_pictures_in_memory(items, monkeypatch):
    class Mean:
        fingerprint = "mean"

        class backbone:
            name, kind, dim = "mean", "image", 3

        def features(self, values):
            return np.asarray(values, np.float32).mean((1, 2))

    found = [
        with_pretrained(data, {"image": [Mean()]}).splits["test"].inputs["teacher/image"]
        for data in (read(items), read(items, monkeypatch))
    ]
    assert np.array_equal(*found)


def test_nothing_is_decoded_twice(items, decoded):
    read(items)
    assert decoded[0] == NUM_ROWS
    inputs = {"image": {"kind": "image", "size": 16, "mirror": False}, "text": {"kind": "text"}}
    from_table(items, inputs=inputs)
    from_table(items.rename(items.with_name("other.csv")), inputs=inputs)
    assert decoded[0] == NUM_ROWS


@pytest.mark.parametrize("change", ["file", "path", "size"])
def test_what_has_changed_is_decoded_anew(items, decoded, change):
    first = read(items).fingerprint()
    if change == "file":
        Image.new("RGB", (16, 16), "red").save(items.with_name("3.png"))
    elif change == "path":
        items.write_text(items.read_text().replace("\n3.png", "\n4.png"))
    size = 24 if change == "size" else 16
    assert from_table(items, options=DatasetOptions(image_size=size)).fingerprint() != first
    assert decoded[0] == 2 * NUM_ROWS


def test_bytes_and_arrays_have_keys_and_other_objects_have_none(cache, decoded, tmp_path):
    picture = np.full((4, 4, 3), 9, np.uint8)
    for cells, times in (([b"no", picture, None], 1), ([Image.fromarray(picture)] * 3, 2)):
        for _ in range(2):
            before = decoded[0]
            values, problems = decoding.read_values(
                KINDS["image"], cells, KINDS["image"].Options(size=16), source="x", folder=tmp_path
            )
            assert values[1].max() == 9 and list(problems) == ([0] if times == 1 else [])
        assert decoded[0] - before == 3 * (times - 1)
    assert len(kept_files(DECODED)) == 1 and len(list(cache.iterdir())) == 1


def test_bad_pictures_are_told_each_time(items, decoded):
    items.with_name("5.png").write_bytes(b"no picture")
    said = []
    for _ in range(2):
        with pytest.raises(ValueError, match=r"row 7: picture '5\.png'") as error:
            read(items)
        said.append(str(error.value))
    assert said[0] == said[1] and decoded[0] == NUM_ROWS
    assert sum(read(items, skip_bad_rows=True).sizes.values()) == NUM_ROWS - 1


def test_where_no_path_leads_to_a_file_all_are_counted(items, cache):
    text = items.read_text().replace("\n,thing", "\n7.png,thing")
    items.write_text(text.replace(".png", ".jpg"))
    with pytest.raises(ValueError, match="so it is with all 12;"):
        read(items)
    assert not kept_files(DECODED)


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_an_index_is_as_numpys(system, monkeypatch):
    if system == "Windows":  # where there is no such function
        monkeypatch.delattr(os, "preadv")
    array = np.random.default_rng(0).integers(0, 256, (11, 4, 3), np.uint8)
    rows = rows_of(array)
    indices = [0, -1, slice(2, 9), slice(None, None, -1), slice(3, 3), [4, 4, 0, 5, 6], []]
    indices += [np.arange(11) % 3 == 0, np.array([10, 1]), np.int64(6)]
    for index in indices:
        index = np.array(index, int) if isinstance(index, list) else index
        assert np.array_equal(rows[index], array[index]), index
    assert np.array_equal(np.asarray(rows), array) and np.array_equal(list(rows), list(array))
    assert (rows.shape, rows.dtype, rows.ndim, rows.nbytes) == (
        array.shape,
        array.dtype,
        array.ndim,
        array.nbytes,
    )
    some = rows.select([9, 2, 3])
    assert np.array_equal(some[1:], array[[2, 3]]) and len(some.select([])) == 0
    with pytest.raises(IndexError):
        rows[11]


def test_what_is_interrupted_or_damaged_is_made_again(items, cache, decoded, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(kept.Writer, "finish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            read(items)
    assert list(cache.iterdir()) == []
    whole = read(items).fingerprint()
    (entry,) = cache.iterdir()
    for damage in (lambda: os.truncate(entry / "values.npy", 900), (entry / "about.json").unlink):
        damage()
        decoded[0] = 0
        assert read(items).fingerprint() == whole and decoded[0] == NUM_ROWS
        assert [one.path for one in kept_files(DECODED)] == [entry]


def test_two_at_once_leave_one_and_what_is_open_outlives_its_removal(cache):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    with kept.Writer("k", "x", (4, 6), "u1") as one, kept.Writer("k", "x", (4, 6), "u1") as two:
        for writer in (one, two):
            writer.add(array, {2: "bad"})
        rows, problems = kept.whole(one.finish())
        assert problems == kept.whole(two.finish())[1] == {2: "bad"}
    assert [path.name for path in cache.iterdir()] == ["k"]
    kept_files(DECODED)[0].remove()
    assert np.array_equal(np.asarray(rows), array)


def test_the_least_lately_used_make_room(cache, monkeypatch, items):
    for key, used in (("old", 1), ("new", 3), ("middle", 2)):
        with kept.Writer(key, key, (1, 1000), np.uint8) as writer:
            writer.add(np.zeros((1, 1000), np.uint8), {})
            writer.finish()
        os.utime(cache / key / "about.json", (used, used))
    (cache / ".unfinished.left").mkdir()
    os.utime(cache / ".unfinished.left", (1, 1))
    monkeypatch.setenv(LIMIT_VARIABLE, "3.5e-6")
    assert make_room(1000) and [one.source for one in kept_files(DECODED)] == ["middle", "new"]
    assert len(list(cache.iterdir())) == 2
    assert not make_room(4000) and len(kept_files(DECODED)) == 2
    read(items)  # larger than all that may be kept
    assert len(list(cache.iterdir())) == 2
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(ValueError, match=r"`\$MMKD_TF_CACHE_GB`: gigabytes .* 'much'"):
        read(items)


def test_list_and_clear(items, cache):
    command = CliRunner()
    assert "Nothing is kept" in command.invoke(app, ["data", "list"]).output
    read(items)
    features = [cache.parent / "features" / f"abcdefabcdef-{n}{'0' * 15}.npz" for n in range(2)]
    features[0].parent.mkdir()
    features[0].write_bytes(b"12")
    np.savez(features[1], features=np.zeros([1234, 2], np.float32), encoder="some_encoder")
    shown = command.invoke(app, ["data", "list"], env={"COLUMNS": "300"}).output
    (entry,) = cache.iterdir()
    assert entry.name[:12] in shown and str(items) in shown and "abcd-000000000000" in shown
    assert "1,234 values, some_encoder" in shown
    assert "Removed 1" in command.invoke(app, ["data", "clear", "abcd-100000000000"]).output
    assert features[0].exists() and not features[1].exists()
    assert "`NAME`" in command.invoke(app, ["data", "clear"]).output
    wrong = command.invoke(app, ["data", "clear", "abc"])
    assert wrong.exit_code == 2 and entry.name[:12] in wrong.output
    assert "Removed 1" in command.invoke(app, ["data", "clear", entry.name[:12]]).output
    assert not list(cache.iterdir()) and features[0].exists()
    assert "Removed 1" in command.invoke(app, ["data", "clear", "--all"]).output
    assert not features[0].exists()
