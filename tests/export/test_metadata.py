import gzip
import json
import zipfile
import zlib
from io import BytesIO

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers.number_types import Float32Flags, Uint8Flags, Uint32Flags
from flatbuffers.table import Table
from keras import layers

from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.edge.tokenizer import Tokenizer
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.text_bytes import text_reader
from mmkd_tf.export.tflite_tables import write_tables
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text


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
        place = self._place(field)
        return None if place is None else self.table.String(place).decode()

    def number(self, field, flags):
        place = self._place(field)
        return 0 if place is None else self.table.Get(flags, place)

    def one(self, field):
        place = self._place(field)
        return None if place is None else Reader(self.table.Bytes, self.table.Indirect(place))

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
def content(plain, class_names, modalities):
    return add_metadata(
        plain,
        name="student",
        class_names=class_names,
        modalities=modalities,
        author="Zoë 茶",
        licence="Apache-2.0",
    )


@pytest.fixture(scope="module")
def of_bytes(model, examples, class_names, vocabulary, modalities):
    """A file of any batch size that takes texts as bytes."""
    reader = text_reader(vocabulary, length=6, num_bytes=40, batch_size=None)
    plain = convert(model, examples, batch_size=None, readers={"text": reader})
    return add_metadata(plain, name="student", class_names=class_names, modalities=modalities)


def model_tables(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def metadata(content):
    model = model_tables(content)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    return Reader(data)


def description(content):
    return json.loads(zipfile.ZipFile(BytesIO(content)).read("mmkd.json"))


def largest_and_smallest(tensor):
    return tensor.one(5).floats(0) + tensor.one(5).floats(1)


def test_standard_metadata_describes_inputs_and_output(content):
    root = metadata(content)
    assert root.text(0) == "student"
    assert root.text(4) == "Zoë 茶"
    assert root.text(5) == "Apache-2.0"
    assert root.text(7) == "1.0.1"
    (graph,) = root.many(3)
    assert graph.text(0) == "serving_default"
    inputs = {tensor.text(0): tensor for tensor in graph.many(2)}

    image = inputs["image"]
    assert image.one(3).number(0, Uint8Flags) == 2  # ImageProperties
    assert image.one(3).one(1).number(0, Uint8Flags) == 1  # RGB
    size = image.one(3).one(1).one(1)
    assert [size.number(0, Uint32Flags), size.number(1, Uint32Flags)] == [16, 16]
    (unit,) = image.many(4)
    assert unit.number(0, Uint8Flags) == 1  # NormalizationOptions
    assert (unit.one(1).floats(0), unit.one(1).floats(1)) == ([0.0], [1.0])
    assert largest_and_smallest(image) == [255, 0]

    text = inputs["text"]
    assert text.one(3).number(0, Uint8Flags) == 1  # FeatureProperties
    (words,) = text.many(6)
    assert (words.text(0), words.number(2, Uint8Flags)) == ("vocab.txt", 5)  # VOCABULARY
    assert largest_and_smallest(text) == [19, 0]  # 20 words
    assert text.text(1).startswith("6 token ids; 0 fills on the right, 1 is an unknown word")
    assert "rules 1 (docs/tokenizer.md)" in text.text(1)

    (output,) = graph.many(3)
    (labels,) = output.many(6)
    assert output.text(0) == "probabilities"
    assert largest_and_smallest(output) == [1, 0]
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
    modalities = {"image": Image(height=8, width=12)}
    content = add_metadata(plain, name="m", class_names=class_names, modalities=modalities)
    root = metadata(content)
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
    assert description["signature"] == "serving_default"
    assert description["outputs"] == {"probabilities": {"range": [0, 1]}}
    assert (description["author"], description["licence"]) == ("Zoë 茶", "Apache-2.0")
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
    assert description["files"] == ["labels.txt", "vocab.txt"]
    model = content[: description["model_bytes"]]
    assert content[description["model_bytes"] :].startswith(b"PK")
    assert description["model_crc32"] == zlib.crc32(model)


def test_a_long_vocabulary_is_compressed(plain, class_names, modalities, tmp_path):
    words = ["<pad>", "<unk>", *(f"word{number}é" for number in range(2_000))]
    long = modalities | {"text": Text(vocabulary=words, length=6)}
    content = add_metadata(plain, name="m", class_names=class_names, modalities=long)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        assert archive.namelist() == ["labels.txt", "vocab.txt.gz", "mmkd.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        packed = archive.read("vocab.txt.gz")
    assert gzip.decompress(packed).decode() == "\n".join(words)
    assert packed[:4] == b"\x1f\x8b\x08\x00"  # no name and no extras, as ModelFile.swift needs
    assert len(packed) < 0.5 * len("\n".join(words))
    said = description(content)
    assert (said["format"], said["files"]) == (3, ["labels.txt", "vocab.txt.gz"])
    inputs = {tensor.text(0): tensor for tensor in metadata(content).many(3)[0].many(2)}
    (file,) = inputs["text"].many(6)
    assert (file.text(0), file.number(2, Uint8Flags)) == ("vocab.txt.gz", 0)  # UNKNOWN
    assert content == add_metadata(plain, name="m", class_names=class_names, modalities=long)
    (tmp_path / "m.tflite").write_bytes(content)
    assert list(read_model_file(tmp_path / "m.tflite").vocabulary) == words


def test_what_is_not_given_is_not_promised(plain, class_names, modalities):
    known = modalities | {"text": Text(vocabulary=None, length=6)}
    content = add_metadata(plain, name="student", class_names=class_names, modalities=known)
    root = metadata(content)
    assert (root.text(4), root.text(5), root.text(7)) == (None, None, "1.0.0")
    inputs = {tensor.text(0): tensor for tensor in root.many(3)[0].many(2)}
    assert all(tensor.many(6) == [] for tensor in inputs.values())
    assert inputs["text"].one(5) is None
    assert "vocab.txt" not in zipfile.ZipFile(BytesIO(content)).namelist()
    assert not {"author", "licence"} & set(description(content))


def test_texts_as_bytes_and_batches_of_any_size(of_bytes):
    assert description(of_bytes)["inputs"] == {
        "image": {
            "shape": [-1, 16, 16, 3],
            "dtype": "uint8",
            "layout": "RGB, channels last",
            "range": [0, 255],
        },
        "text": {
            "shape": [-1, 40],
            "dtype": "uint8",
            "encoding": "utf-8",
            "most_words": 6,
            "padding": "0, on the right",
            "tokenizer_rules": 1,
        },
    }
    (text,) = [t for t in metadata(of_bytes).many(3)[0].many(2) if t.text(0) == "text"]
    assert text.text(1).startswith("40 bytes of UTF-8; 0 fills on the right; inside is mmkd_tf's")
    assert largest_and_smallest(text) == [255, 0]


def test_a_file_of_bytes_gives_the_answers_of_one_of_ids(content, of_bytes, vocabulary):
    texts = ["Red 茶, word3", "WORD1 ?", "", "red red red red red red red"]
    ids = np.array([Tokenizer(vocabulary, 6)(text) for text in texts], "int32")
    padded = b"".join(text.encode().ljust(40, b"\0") for text in texts)
    image = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    run = Interpreter(model_content=content).get_signature_runner("serving_default")
    one_by_one = [
        run(image=image[i : i + 1], text=ids[i : i + 1])["probabilities"] for i in range(4)
    ]
    run = Interpreter(model_content=of_bytes).get_signature_runner("serving_default")
    together = run(image=image, text=np.frombuffer(padded, np.uint8).reshape(4, 40))
    np.testing.assert_allclose(together["probabilities"], np.concatenate(one_by_one), atol=1e-5)
    assert np.ptp(together["probabilities"], axis=0).max() > 0.01  # the texts matter


def test_weights_stay_equal(plain, content):
    before, after = model_tables(plain).buffers, model_tables(content).buffers
    assert len(after) == len(before) + 1
    for old, new in zip(before, after, strict=False):
        assert bytes(new.data if new.data is not None else b"") == bytes(
            old.data if old.data is not None else b""
        )


def test_only_other_tasks_than_one_class_are_named(content, model, examples, class_names):
    described = description(content)
    assert described["format"] == 1 and "task" not in described
    outputs = {
        "multi_label": {"probabilities": {"range": [0, 1], "threshold": 0.5}},
        "regression": {"values": {}},
    }
    for task, output in outputs.items():
        plain = convert(model, examples, task=task)
        described = description(add_metadata(plain, name="m", class_names=class_names, task=task))
        assert (described["format"], described["task"]) == (2, task)
        assert described["outputs"] == output


def test_inputs_called_otherwise_than_their_kind(class_names):
    front, back = (keras.Input([8, 8, 3], dtype="uint8", name=name) for name in ("front", "back"))
    title = keras.Input([4], dtype="int32", name="title")
    series = keras.Input([2, 2], name="series")
    parts = [keras.ops.cast(part, "float32") for part in (front, back, title, series)]
    x = layers.Concatenate()([layers.Flatten()(part) for part in parts])
    model = keras.Model([front, back, title, series], layers.Dense(3)(x))
    zeros = {tensor.name: np.zeros([1, *tensor.shape[1:]], tensor.dtype) for tensor in model.inputs}
    modalities = {
        "front": Image("front", height=8),
        "back": Image("back", height=8),
        "title": Text("title", vocabulary=["<pad>", "<unk>", "a"], length=4),
    }
    content = add_metadata(
        convert(model, zeros), name="m", class_names=class_names, modalities=modalities
    )
    described = description(content)
    assert described["format"] == 2 and "task" not in described
    kinds = {name: entry.get("kind") for name, entry in described["inputs"].items()}
    assert kinds == {"front": "image", "back": "image", "title": "text", "series": None}
    assert described["files"] == ["labels.txt", "title.vocab.txt"]
    inputs = {tensor.text(0): tensor for tensor in metadata(content).many(3)[0].many(2)}
    assert inputs["back"].one(3).number(0, Uint8Flags) == 2  # ImageProperties
    (words,) = inputs["title"].many(6)
    assert (words.text(0), words.number(2, Uint8Flags)) == ("title.vocab.txt", 5)
    assert largest_and_smallest(inputs["title"]) == [2, 0]
    assert inputs["series"].text(1) == "numbers of shape [1, 2, 2]"


def test_a_new_kind_is_said_even_by_an_input_of_its_name(class_names):
    class Sketch(Image):
        kind = "sketch"

    sketch = keras.Input([8, 8, 3], name="sketch")
    model = keras.Model(sketch, layers.Dense(3)(layers.Flatten()(sketch)))
    plain = convert(model, {"sketch": np.zeros([1, 8, 8, 3], "float32")})
    modalities = {"sketch": Sketch("sketch", height=8)}
    described = description(
        add_metadata(plain, name="m", class_names=class_names, modalities=modalities)
    )
    assert described["format"] == 2 and described["inputs"]["sketch"]["kind"] == "sketch"


def test_a_second_time_replaces_the_first(content):
    again = add_metadata(content, name="other", class_names=["a", "b", "c"])
    assert [entry.name for entry in model_tables(again).metadata].count(b"TFLITE_METADATA") == 1
    assert metadata(again).text(0) == "other"
    with zipfile.ZipFile(BytesIO(again)) as archive:
        assert archive.namelist() == ["labels.txt", "mmkd.json"]
        assert archive.read("labels.txt") == b"a\nb\nc"


def test_the_same_model_gives_the_same_bytes(plain, class_names):
    one, other = (add_metadata(plain, name="m", class_names=class_names) for _ in range(2))
    assert one == other


def test_refuses_what_does_not_fit(plain):
    with pytest.raises(ValueError) as caught:
        add_metadata(
            plain,
            name="",
            class_names=["a", "b\nc", "d"],
            author=7,
            licence="",
        )
    filled = "a text that is not empty, in valid Unicode without U+0000."
    assert str(caught.value).split("\n") == [
        f"`name`: {filled} Received: name=''.",
        f"`author`: {filled} Received: author=7.",
        f"`licence`: {filled} Received: licence=''.",
        "`class_names`: distinct texts of one line each, without U+0000, as labels.txt holds one a "
        "line. Received: 'b\\nc'. Rename them in the data.",
    ]
    tables = model_tables(plain)
    tables.signatureDefs = []
    with pytest.raises(ValueError, match="with one signature. Received: 0 signatures"):
        add_metadata(write_tables(tables), name="m", class_names=["a", "b", "c"])
