import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image

from mmkd_tf.data import decoding, from_table, shard_writer
from mmkd_tf.data.kept import KeptRows
from mmkd_tf.data.options import DatasetOptions, named_inputs
from mmkd_tf.data.shard_plan import Settings, missing, plan
from mmkd_tf.data.shard_writer import finish, make_shard
from mmkd_tf.files.shards import PictureCells, Shards, is_shards, shard_files
from mmkd_tf.files.tables import TableError, is_folder, is_table, read_table

OPTIONS = DatasetOptions(image_size=16)
NUM_ROWS = 23


@pytest.fixture
def items(tmp_path):
    """A table of 23 rows; 3 lacks its file, 8 its label, 11 is of too many cells, 5 no picture."""
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for row in range(NUM_ROWS):
        name = f"{row}.png" if row != 5 else ""
        size = (16 + row, 20, 3)  # of another size than the input's
        if row not in (3, 5):
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / name)
        label = "ab"[row % 2] if row != 8 else ""
        text = f'"thing {row},\n{row} ""quoted"""' if row % 4 == 0 else f"thing {row} é"
        lines.append(f"{name},{text},{label}" + (",more" if row == 11 else ""))
    (tmp_path / "items.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return tmp_path / "items.csv"


def settings(inputs=None, options=OPTIONS, labels=("label",)):
    inputs = inputs or named_inputs(None, image="image", text="text", options=options)
    return Settings(inputs, labels, "single_label", options)


def prepared(table, output, how=None, rows=5):
    jobs = plan(table, output, how or settings(), rows_per_shard=rows)
    for job in jobs:
        make_shard(job)
    return finish(jobs)


def skipping(table, **options):
    return from_table(table, options=replace(OPTIONS, skip_bad_rows=True, **options))


def test_models_read_of_shards_what_they_would_of_the_table(items, tmp_path):
    manifest = prepared(items, tmp_path / "shards")
    assert manifest["rows"] == NUM_ROWS - 3 and manifest["bad_rows"] == 3
    assert sorted(manifest["left_out"].values()) == [1, 1, 1]
    assert "label: missing" in manifest["left_out"]
    assert len(manifest["shards"]) == 5 and "row 5: picture '3.png'" in manifest["shown"][0]
    assert is_shards(tmp_path / "shards") and is_table(tmp_path / "shards")
    assert not is_folder(tmp_path / "shards")
    raw, made = skipping(items), from_table(tmp_path / "shards", options=OPTIONS)
    assert made.fingerprint() == raw.fingerprint() and made.sizes == raw.sizes
    assert made.splits["train"].raw["text"] == raw.splits["train"].raw["text"]


def test_many_pictures_are_read_in_parts(items, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    prepared(items, tmp_path / "shards")
    in_memory = from_table(tmp_path / "shards", options=OPTIONS).fingerprint()
    monkeypatch.setattr(decoding, "LEAST_BYTES", 1)
    monkeypatch.setattr(decoding, "PART_BYTES", 3 * 16 * 16 * 3)
    cells = Shards.open(tmp_path / "shards").cells("image")
    assert isinstance(cells, PictureCells) and len(cells) == NUM_ROWS - 3
    assert [one is None for one in cells] == [row == 4 for row in range(len(cells))]
    assert np.array_equal(cells[-1], cells[len(cells) - 1]) and len(cells[2:9:2]) == 4
    made = from_table(tmp_path / "shards", options=OPTIONS)
    assert isinstance(made.splits["train"].inputs["image"], KeptRows)
    assert made.fingerprint() == in_memory
    monkeypatch.setattr(PictureCells, "_cell", None)  # nothing is read a second time
    assert from_table(tmp_path / "shards", options=OPTIONS).fingerprint() == in_memory


@pytest.mark.parametrize("row_group_size", [2, 7, 100])
def test_a_parquet_table_in_parts_is_the_table(items, tmp_path, row_group_size):
    records = read_table(items, ["image", "text", "label"]).columns
    frame = pd.DataFrame(records)
    frame["label"] = [
        [label, *"c"[: row % 3]] if label else None for row, label in enumerate(frame["label"])
    ]
    frame["price"] = [None if row == 2 else row / 3 for row in range(NUM_ROWS)]
    frame["made"] = [None if row == 2 else row for row in range(NUM_ROWS)]
    frame.to_parquet(tmp_path / "items.parquet", row_group_size=row_group_size, index=False)
    inputs = {
        "image": {"kind": "image", "size": 16},
        "text": {"kind": "text"},
        "facts": {"kind": "tabular", "columns": ["price", "made"]},
    }
    options = DatasetOptions(skip_bad_rows=True, task="multi_label")
    how = Settings(
        named_inputs(inputs, image="image", text="text", options=options),
        ["label"],
        "multi_label",
        options,
    )
    manifest = prepared(tmp_path / "items.parquet", tmp_path / "shards", how)
    assert sum(one["rows"] for one in manifest["shards"]) == manifest["rows"]
    raw, made = (
        from_table(tmp_path / name, inputs=inputs, options=options)
        for name in ("items.parquet", "shards")
    )
    assert made.fingerprint() == raw.fingerprint()


def test_sets_of_pictures_and_pictures_as_bytes(items, tmp_path):
    frame = pd.DataFrame({"front": range(6), "label": list("ababab")})
    frame["front"] = [(tmp_path / f"{row}.png").read_bytes() for row in (0, 1, 2, 4, 6, 7)]
    frame["back"] = [None, *frame["front"][:5]]
    frame.to_parquet(tmp_path / "sets.parquet", index=False)
    inputs = {"views": {"kind": "image", "size": 8, "columns": ["front", "back"]}}
    own = named_inputs(inputs, image="image", text="text", options=DatasetOptions())
    prepared(tmp_path / "sets.parquet", tmp_path / "shards", settings(own))
    raw, made = (from_table(tmp_path / n, inputs=inputs) for n in ("sets.parquet", "shards"))
    assert made.fingerprint() == raw.fingerprint()


def test_a_shard_that_is_there_is_not_made_again(items, tmp_path, monkeypatch):
    output = tmp_path / "shards"
    prepared(items, output)
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    jobs = plan(items, output, settings(), rows_per_shard=5)
    assert missing(jobs) == []
    (output / jobs[2].path.name).unlink()
    jobs[3].path.write_bytes(jobs[3].path.read_bytes()[:-100])
    assert missing(jobs) == jobs[2:4]
    for job in jobs:
        make_shard(job)
    finish(jobs)
    changed = [p.name for p in sorted(output.iterdir()) if p.stat().st_mtime_ns != before[p.name]]
    assert changed == [jobs[2].path.name, jobs[3].path.name, "shards.json"]


def test_killed_or_out_of_disk_a_shard_is_not_there(items, tmp_path, monkeypatch):
    output = tmp_path / "shards"
    jobs = plan(items, output, settings(), rows_per_shard=5)
    make_shard(jobs[0])
    with monkeypatch.context() as patch:

        def full(*_arguments):
            raise OSError(28, "No space left on device")

        patch.setattr(shard_writer, "_content", full)
        with pytest.raises(OSError, match="No space left"):
            make_shard(jobs[1])
    assert [path.name for path in output.iterdir()] == [jobs[0].path.name]
    leftover = output / f".unfinished.0a1b2c3d.{jobs[1].path.name}"  # of a process that was killed
    leftover.write_bytes(b"PAR1")
    with pytest.raises(TableError, match="1 of 5 shards; not there: part-00001-of-00005.parquet, "):
        from_table(output, options=OPTIONS)
    with pytest.raises(ValueError, match="4 of 5 shards are missing: part-00001"):
        finish(jobs)
    prepared(items, output)
    assert not leftover.exists()
    assert from_table(output, options=OPTIONS).fingerprint() == skipping(items).fingerprint()


def test_shards_that_were_lost_or_cut_short_are_named(items, tmp_path):
    output = tmp_path / "shards"
    prepared(items, output)
    first, second, third, *_ = shard_files(output)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"00000-of-00005.parquet is not there, .*00001.* bytes"):
        from_table(output, options=OPTIONS)
    prepared(items, output)
    content = bytearray(third.read_bytes())
    content[2000] ^= 255
    third.write_bytes(content)
    with pytest.raises(TableError, match=r"00002-of-00005.parquet: a damaged shard .*Remove it"):
        from_table(output, options=OPTIONS)
    (output / "shards.json").write_text("{}")
    with pytest.raises(TableError, match="shards.json: damaged"):
        from_table(output, options=OPTIONS)


def test_folders_of_other_shards_are_refused(items, tmp_path):
    output = tmp_path / "shards"
    prepared(items, output)
    other = settings(options=DatasetOptions(image_size=24))
    with pytest.raises(ValueError, match=r"columns: .*'size': 16.* there, now .*'size': 24"):
        plan(items, output, other, rows_per_shard=5)
    with pytest.raises(ValueError, match="rows_per_shard: 5 there, now 6"):
        plan(items, output, settings(), rows_per_shard=6)
    items.write_bytes(items.read_bytes().replace(b"thing 1 ", b"thing 9 "))
    with pytest.raises(ValueError, match="another table, or one that has changed"):
        plan(items, output, settings(), rows_per_shard=5)
    with pytest.raises(ValueError, match=r"which holds 0.png, 1.png"):
        plan(items, tmp_path, settings(), rows_per_shard=5)
    with pytest.raises(TableError, match="`inputs.image.size`: 16, .*Received: 24. Set 16"):
        from_table(output, options=DatasetOptions(image_size=24))
    with pytest.raises(TableError, match="no column 'caption'"):
        from_table(output, text="caption", options=OPTIONS)


def test_settings_that_do_not_fit_are_refused_together(items, tmp_path):
    inputs = {
        "one": {"kind": "image", "column": "image"},
        "two": {"kind": "image", "column": "image"},
        "sound": {"kind": "audio", "column": "label"},
    }
    own = named_inputs(inputs, image="image", text="text", options=DatasetOptions())
    with pytest.raises(ValueError) as error:
        plan(items, tmp_path / "shards", settings(own), rows_per_shard=0)
    for said in ("`rows_per_shard`: 1", "'image'. Write", "Received: audio", "Received: label"):
        assert said in str(error.value)
    own = named_inputs(None, image="picture", text=None, options=OPTIONS)
    with pytest.raises(TableError, match="no column 'picture'"):
        plan(items, tmp_path / "shards", settings(own))
    assert not (tmp_path / "shards").exists()


def test_rows_without_labels(items, tmp_path):
    prepared(items, tmp_path / "shards", settings(labels=()))
    raw, made = (
        skipping(items, unlabelled=source, seed=1) for source in (items, tmp_path / "shards")
    )
    assert made.fingerprint() == raw.fingerprint()
    assert made.transfer_counts == raw.transfer_counts


def test_a_manifest_says_what_is_there(items, tmp_path):
    manifest = prepared(items, tmp_path / "shards")
    written = json.loads((tmp_path / "shards/shards.json").read_text(encoding="utf-8"))
    assert written == manifest
    assert [one["name"] for one in written["columns"]] == ["image", "text", "label"]
    for one in written["shards"]:
        path = tmp_path / "shards" / one["file"]
        assert os.path.getsize(path) == one["bytes"]
        assert pyarrow.parquet.read_metadata(path).num_rows == one["rows"]
    again = prepared(items, tmp_path / "other")
    assert again == manifest  # bit by bit the same
