"""A folder of pictures with a folder for each class."""

import numpy as np
import pytest
from PIL import Image

from mmkd_tf.config import make_config
from mmkd_tf.data.folders import from_folder
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.files.tables import TableError
from mmkd_tf.runs.data import read_dataset

SMALL = DatasetOptions(image_size=8)


def write(folder, count, first=0):
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, [8, 8, 3], dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def test_folders_are_classes(tmp_path):
    root = tmp_path / "pets"
    write(root / "cat", 10)
    write(root / "dog" / "more", 10, first=100)
    (root / ".hidden").mkdir()
    (root / "readme.txt").write_text("no picture")
    dataset = from_folder(root, options=SMALL)
    assert (dataset.name, dataset.class_names) == ("pets", ["cat", "dog"])
    assert sum(dataset.sizes.values()) == 20 and list(dataset.modalities) == ["image"]
    config = make_config({"data": str(root), "image_size": 8, "student.inherit": "none"})
    assert list(config.inputs) == ["image"]
    assert read_dataset(config).fingerprint() == dataset.fingerprint()


def test_folders_of_splits_hold_the_classes(tmp_path):
    for number, split in enumerate(("Train", "val", "test")):
        for place, name in enumerate(("cat", "dog")):
            write(tmp_path / split / name, 4, first=100 * number + 10 * place)
    dataset = from_folder(tmp_path, options=SMALL)
    assert dataset.sizes == {"train": 8, "validation": 8, "test": 8}
    assert dataset.class_names == ["cat", "dog"]


def test_what_it_refuses(tmp_path):
    with pytest.raises(TableError, match="no such folder"):
        from_folder(tmp_path / "nowhere")
    write(tmp_path / "flat", 2)
    with pytest.raises(TableError, match="which holds no such folder"):
        from_folder(tmp_path / "flat")
    with pytest.raises(ValueError, match=r"one of kind image.*title: text"):
        from_folder(tmp_path, inputs={"title": {"kind": "text"}})
