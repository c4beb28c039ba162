import json
import zipfile
import zlib

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Float32Flags, Uint8Flags, Uint32Flags
from flatbuffers.table import Table
from keras import layers

from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata


class Reader:
    """Reads a flatbuffer table by the field numbers of its schema."""

    def __init__(self, data, position=None):
        if position is None:
            position = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
        self.table = Table(data, position)

    def _place(self, field):
        offset = self.table.Offset(4 + 2 * field)
        return self.table.Pos + offset if offset else None

    def text(self, field):
        return self.table.String(self._place(field)).decode()

    def number(self, field, flags):
        place = self._place(field)
        return 0 if place is None else self.table.Get(flags, place)

    def one(self, field):
        return Reader(self.table.Bytes, self.table.Indirect(self._place(field)))

    def many(self, field):
        if self._place(field) is None:
            return []
        start = self.table.Vector(self._place(field) - self.table.Pos)
        count = self.table.VectorLen(self._place(field) - self.table.Pos)
        places = [start + 4 * index for index in range(count)]
        return [Reader(self.table.Bytes, self.table.Indirect(place)) for place in places]

    def floats(self, field):
        start = self.table.Vector(self._place(field) - self.table.Pos)
        count = self.table.VectorLen(self._place(field) - self.table.Pos)
        return [self.table.Get(Float32Flags, start + 4 * index) for index in range(count)]


@pytest.fixture(scope="module")
def plain(model, examples):
    return convert(model, examples)


@pytest.fixture(scope="module")
def content(plain, class_names, vocabulary):
    return add_metadata(plain, name="student", class_names=class_names, vocabulary=vocabulary)


def model_tables(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def metadata(content):
    model = model_tables(content)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    return Reader(data)


def test_standard_metadata_describes_inputs_and_output(content):
    root = metadata(content)
    assert root.text(0) == "student"
    assert root.text(7) == "1.0.1"
    (graph,) = root.many(3)
    inputs = {tensor.text(0): tensor for tensor in graph.many(2)}

    image = inputs["image"]
    assert image.one(3).number(0, Uint8Flags) == 2  # ImageProperties
    assert image.one(3).one(1).number(0, Uint8Flags) == 1  # RGB
    size = image.one(3).one(1).one(1)
    assert [size.number(0, Uint32Flags), size.number(1, Uint32Flags)] == [16, 16]
    (unit,) = image.many(4)
    assert unit.number(0, Uint8Flags) == 1  # NormalizationOptions
    assert (unit.one(1).floats(0), unit.one(1).floats(1)) == ([0.0], [1.0])
    assert (image.one(5).floats(0), image.one(5).floats(1)) == ([255.0], [0.0])

    text = inputs["text"]
    assert text.one(3).number(0, Uint8Flags) == 1  # FeatureProperties
    (words,) = text.many(6)
    assert (words.text(0), words.number(2, Uint8Flags)) == ("vocab.txt", 5)  # VOCABULARY

    (output,) = graph.many(3)
    (labels,) = output.many(6)
    assert output.text(0) == "probabilities"
    assert (labels.text(0), labels.number(2, Uint8Flags)) == ("labels.txt", 2)  # axis labels


def test_descriptions_are_in_the_order_of_the_tensors(content):
    (graph,) = metadata(content).many(3)
    model = model_tables(content)
    names = {i.tensorIndex: i.name.decode() for i in model.signatureDefs[0].inputs}
    in_file = [names[index] for index in model.subgraphs[0].inputs]
    assert [tensor.text(0) for tensor in graph.many(2)] == in_file


def test_size_is_width_then_height(class_names):
    image = keras.Input([8, 12, 3], name="image")
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image)))
    plain = convert(model, {"image": np.zeros([1, 8, 12, 3], "float32")})
    root = metadata(add_metadata(plain, name="m", class_names=class_names))
    size = root.many(3)[0].many(2)[0].one(3).one(1).one(1)
    assert [size.number(0, Uint32Flags), size.number(1, Uint32Flags)] == [12, 8]


def test_files_are_a_zip_archive(content, class_names, vocabulary, tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt", "vocab.txt", "mmkd.json"]
        assert archive.read("labels.txt").decode() == "\n".join(class_names)
        assert archive.read("vocab.txt").decode() == "\n".join(vocabulary)
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        description = json.loads(archive.read("mmkd.json"))
    assert description["format"] == 1
    assert description["inputs"] == {
        "image": {
            "shape": [1, 16, 16, 3],
            "dtype": "uint8",
            "layout": "RGB, channels last",
            "range": [0, 255],
        },
        "text": {
            "shape": [1, 6],
            "dtype": "int32",
            "padding": "0, on the right",
            "tokenizer_rules": 1,
        },
    }
    model = content[: description["model_bytes"]]
    assert content[description["model_bytes"] :].startswith(b"PK")
    assert description["model_crc32"] == zlib.crc32(model)


def test_without_a_vocabulary_no_file_is_promised(plain, class_names, tmp_path):
    content = add_metadata(plain, name="student", class_names=class_names)
    (graph,) = metadata(content).many(3)
    assert all(tensor.many(6) == [] for tensor in graph.many(2))
    path = tmp_path / "a.tflite"
    path.write_bytes(content)
    assert "vocab.txt" not in zipfile.ZipFile(path).namelist()


def test_weights_stay_aligned_and_equal(plain, content):
    before, after = model_tables(plain).buffers, model_tables(content).buffers
    assert len(after) == len(before) + 1
    root = schema.Model.GetRootAsModel(content, 0)
    for index, buffer in enumerate(before):
        if buffer.data is not None and len(buffer.data):
            assert bytes(after[index].data) == bytes(buffer.data)
            table = root.Buffers(index)._tab
            assert table.Vector(table.Offset(4)) % 16 == 0


def test_a_second_time_replaces_the_first(content):
    again = model_tables(add_metadata(content, name="other", class_names=["a", "b", "c"]))
    assert [entry.name for entry in again.metadata].count(b"TFLITE_METADATA") == 1
