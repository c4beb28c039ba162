"""Objects of other libraries become the Dataset that a table of the same rows becomes."""

import io

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image as Pictures

from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.records import from_hugging_face, from_tf_data
from mmkd_tf.data.table import from_table
from mmkd_tf.files.tables import TableError

SMALL = DatasetOptions(image_size=8, text_length=3)
NAMES = ["red", "green"]
PIXELS = np.random.default_rng(0).integers(1, 255, [24, 8, 8, 3], dtype=np.uint8)
TEXTS = [f"thing number {index}" for index in range(24)]
LABELS = [index % 2 for index in range(24)]


def png(pixels):
    file = io.BytesIO()
    Pictures.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class ClassLabel:
    names = NAMES


class Image:
    """A feature as that library has it: its class's name and `decode` are what counts."""

    def __init__(self, decode=True):
        self.decode = decode


class Part:
    """As much of a `datasets.Dataset` as is read."""

    def __init__(self, rows, decoded=True):
        self.features = {"image": Image(decoded), "text": None, "label": ClassLabel()}
        self.rows, self.column_names = list(rows), list(self.features)

    def __len__(self):
        return len(self.rows)

    def cast_column(self, column, feature):
        assert column == "image" and not feature.decode
        return Part(self.rows, decoded=False)

    def __getitem__(self, column):
        for row in self.rows:
            if column != "image":
                yield TEXTS[row] if column == "text" else LABELS[row]
            elif self.features["image"].decode:
                raise AssertionError("pictures need not be decoded")
            else:
                yield {"bytes": png(PIXELS[row]), "path": None}


@pytest.fixture(scope="module")
def expected():
    columns = {"image": list(PIXELS), "text": TEXTS, "label": [NAMES[label] for label in LABELS]}
    return from_table(pd.DataFrame(columns), options=SMALL)


def test_a_dataset_of_hugging_face(expected):
    found = from_hugging_face(Part(range(24)), options=SMALL)
    assert found.fingerprint() == expected.fingerprint()


def test_splits_of_hugging_face():
    parts = {"train": Part(range(16)), "valid": Part(range(16, 20)), "test": Part(range(20, 24))}
    found = from_hugging_face(parts, options=SMALL)
    assert found.sizes == {"train": 16, "validation": 4, "test": 4}


def test_what_hugging_face_s_objects_must_have():
    with pytest.raises(TableError, match="no column 'title'.*'image', 'label', 'text'"):
        from_hugging_face(Part(range(24)), text="title", options=SMALL)
    with pytest.raises(TypeError, match="streaming=False"):
        from_hugging_face(iter([]))


@pytest.mark.parametrize("batch", [None, 5])
def test_tf_data(expected, batch):
    whole = tf.data.Dataset.from_tensor_slices(({"image": PIXELS, "text": TEXTS}, LABELS))
    found = from_tf_data(whole.batch(batch) if batch else whole, class_names=NAMES, options=SMALL)
    assert found.fingerprint() == expected.fingerprint()


def test_tf_data_of_one_input_with_vectors_as_labels():
    vectors = np.eye(2, dtype=np.float32)[LABELS]
    parts = [
        tf.data.Dataset.from_tensor_slices((TEXTS[a:b], vectors[a:b]))
        for a, b in ((0, 16), (16, 20), (20, 24))
    ]
    found = from_tf_data(
        parts[0], validation=parts[1], test=parts[2], class_names=NAMES, options=SMALL
    )
    assert (list(found.modalities), found.class_names) == (["text"], ["green", "red"])
    assert found.splits["test"].labels.tolist() == [1, 0, 1, 0]


def test_tf_data_must_end():
    with pytest.raises(ValueError, match="`train`: a dataset that ends"):
        from_tf_data(tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).repeat())
