"""Faults of exported files and indexes: each is a clear error, or the right answer."""

import gzip
import json
import math
import os
import struct
import threading
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge import Classifier, Index
from mmkd_tf.export.tflite_tables import read_tables, write_tables

WHOLE = (Path(__file__).parents[1] / "golden/models/concatenation.tflite").read_bytes()
with zipfile.ZipFile(BytesIO(WHOLE)) as archive:
    FILES = {name: archive.read(name) for name in archive.namelist()}
DESCRIPTION = json.loads(FILES["mmkd.json"])
MODEL = WHOLE[: DESCRIPTION["model_bytes"]]


def packed(model=MODEL, files=FILES, method=zipfile.ZIP_STORED, **changes):
    """A file whose checksums fit, with another model, other texts or another description."""
    size = {"model_bytes": len(model), "model_crc32": zlib.crc32(model)}
    description = json.dumps(DESCRIPTION | size | changes).encode()
    stream = BytesIO(model)
    stream.seek(0, 2)
    with zipfile.ZipFile(stream, "a", method) as archive:
        for name, text in files.items():
            same = name == "mmkd.json" and text == FILES[name]
            archive.writestr(name, description if same else text)
    return stream.getvalue()


def with_file(name, text):
    """The file with another text inside."""
    return packed(files=FILES | {name: text})


def without_file(name):
    return packed(files={key: text for key, text in FILES.items() if key != name})


def crafted(change):
    """The file with a change in its model's tables."""
    model = read_tables(MODEL)
    change(model, model.subgraphs[0])
    return packed(write_tables(model))


def shaped(which, *shape):
    """The file with another shape of its first input or output."""

    def change(model, graph):
        tensor = graph.tensors[getattr(graph, which)[0]]
        tensor.shape, tensor.shapeSignature = list(shape), None

    return crafted(change)


def inside(model, graph):
    """A tensor between two operators, which claims more than any machine has."""
    made = {int(tensor) for operator in graph.operators for tensor in operator.outputs}
    graph.tensors[min(made - set(map(int, graph.outputs)))].shape = [1, 40_000, 40_000]


def many(model, graph):
    """An operator that reads two million tensors, by one number over and over."""
    graph.operators[0].inputs = np.zeros(2_000_000, np.int32)


def added(*operators):
    """The file with operators added: each a kind and what it reads, which are constants or results.

    Constants are arrays; a number is the result of an operator before, "image" the input. Options
    are a dict with the class of the schema under "of". All results are declared to be of one value.
    """

    def change(model, graph):
        made = []

        def tensor(kind, shape, buffer=0):
            one = schema.TensorT()
            one.name, one.shape, one.type, one.buffer = b"t", list(shape), kind, buffer
            graph.tensors.append(one)
            return len(graph.tensors) - 1

        def read(what):
            if isinstance(what, str):
                return next(i for i in graph.inputs if len(graph.tensors[i].shape) == 4)
            if isinstance(what, int):
                return made[what]
            values, buffer = np.asarray(what), schema.BufferT()
            kind, form = FORMS[values.dtype.kind]
            buffer.data = np.frombuffer(values.astype(form).tobytes(), np.uint8)
            model.buffers.append(buffer)
            return tensor(kind, values.shape, len(model.buffers) - 1)

        for name, *given in operators:
            code, one = schema.OperatorCodeT(), schema.OperatorT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
            model.operatorCodes.append(code)
            one.opcodeIndex = len(model.operatorCodes) - 1
            options = given.pop() if isinstance(given[-1], dict) else DEFAULT_OPTIONS.get(name)
            one.inputs = [read(what) for what in given]
            is_whole = name in ("SHAPE", "RANGE", "MUL")
            made.append(tensor(FORMS["i" if is_whole else "f"][0], [1]))
            one.outputs = [made[-1]]
            if options:
                kind = f"{options['of']}Options"
                one.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
                one.builtinOptions = getattr(schema, f"{kind}T")()
                vars(one.builtinOptions).update(options)
            graph.operators.append(one)

    return crafted(change)


DEFAULT_OPTIONS = {
    "MUL": {"of": "Mul"},
    "SHAPE": {"of": "Shape", "outType": schema.TensorType.INT32},
    "RESIZE_BILINEAR": {"of": "ResizeBilinear"},
}
FORMS = {"i": (schema.TensorType.INT32, "<i4"), "f": (schema.TensorType.FLOAT32, "<f4")}
SIDES, OFTEN, UNIT = np.array([40_000, 40_000]), np.array([50_000]), np.float32(1)


LINE, ROW, COLUMN = np.array([30_000]), np.array([1, 30_000]), np.array([30_000, 1])
FILLED = ("FILL", COLUMN, UNIT), ("FILL", ROW, UNIT)
MANY_BYTES = ("FILL", np.array([25_000_000]), UNIT)
SQUARE = ("FILL", np.array([1, 1000, 1000, 1]), UNIT)
WIDE_POOL = {"of": "Pool2D", "filterWidth": 9000, "filterHeight": 9000, "strideW": 1, "strideH": 1}
DILATED = {"of": "Conv2D", "strideW": 1, "strideH": 1, "dilationWFactor": 9, "dilationHFactor": 9}
SLICED = {"of": "StridedSlice", "beginMask": 3, "endMask": 3}

# Operators whose results are larger than the file says, by what makes them so.
GROWN = {
    "an ADD of a column and a row": [*FILLED, ("ADD", 0, 1, {"of": "Add"})],
    "a BATCH_MATMUL": [*FILLED, ("BATCH_MATMUL", 0, 1, {"of": "BatchMatMul"})],
    "a BATCH_MATMUL, transposed": [
        FILLED[0],
        ("BATCH_MATMUL", 0, 0, {"of": "BatchMatMul", "adjY": True}),
    ],
    "a FULLY_CONNECTED": [FILLED[0], ("FULLY_CONNECTED", 0, 0, {"of": "FullyConnected"})],
    "a CONCATENATION": [MANY_BYTES, ("CONCATENATION", *[0] * 20, {"of": "Concatenation"})],
    "a PACK": [MANY_BYTES, ("PACK", *[0] * 20, {"of": "Pack", "valuesCount": 20})],
    "a GATHER": [
        FILLED[1],
        ("FILL", LINE, np.int32(0)),
        ("GATHER", 0, 1, {"of": "Gather"}),
    ],
    "an EMBEDDING_LOOKUP": [
        FILLED[1],
        ("FILL", LINE, np.int32(0)),
        ("EMBEDDING_LOOKUP", 1, 0),
    ],
    "a ONE_HOT": [
        ("FILL", LINE, np.int32(0)),
        ("ONE_HOT", 0, np.int32(30_000), UNIT, UNIT, {"of": "OneHot", "axis": -1}),
    ],
    "a RESHAPE with a side left open": [
        ("FILL", LINE, UNIT),
        ("RESHAPE", 0, np.array([-1, 1])),
        ("ADD", 0, 1, {"of": "Add"}),
    ],
    "a RESHAPE by its options": [
        ("FILL", LINE, UNIT),
        ("RESHAPE", 0, {"of": "Reshape", "newShape": [30_000, -1]}),
        ("ADD", 0, 1, {"of": "Add"}),
    ],
    "an EXPAND_DIMS": [
        ("FILL", LINE, UNIT),
        ("EXPAND_DIMS", 0, np.int32(1)),
        ("ADD", 0, 1, {"of": "Add"}),
    ],
    "a TRANSPOSE": [
        FILLED[0],
        ("TRANSPOSE", 0, np.array([1, 0])),
        ("ADD", 0, 1, {"of": "Add"}),
    ],
    "a SPACE_TO_BATCH_ND": [
        ("SPACE_TO_BATCH_ND", np.ones([1, 1, 1, 1]), np.array([1, 1]), np.full([2, 2], 20_000)),
    ],
    "a TRANSPOSE_CONV": [
        (
            "TRANSPOSE_CONV",
            np.array([1, *SIDES, 1]),
            np.ones([1, 1, 1, 1]),
            np.ones([1, 1, 1, 1]),
            {"of": "TransposeConv", "strideW": 1, "strideH": 1},
        ),
    ],
    "a CONV_2D with dilation, for its windows": [
        SQUARE,
        ("CONV_2D", 0, np.ones([1, 30, 30, 1]), np.ones(1), DILATED),
    ],
    "a MAX_POOL_2D, for its windows": [SQUARE, ("MAX_POOL_2D", 0, WIDE_POOL)],
    "a PAD with a value": [("PADV2", np.ones(1), np.array([[10**9, 10**9]]), UNIT)],
    "a slice of what is large": [
        ("SHAPE", "image"),
        ("FILL", np.array([1, 30_000]), UNIT),
        ("STRIDED_SLICE", 1, np.array([0, 0]), np.array([1, 1]), np.array([1, 1]), SLICED),
        FILLED[0],
        ("ADD", 2, 3, {"of": "Add"}),
    ],
    "many of computed sides, which are kept": [
        ("MUL", np.array([25_000]), np.array([1000])),
        *[("FILL", 0, UNIT)] * 12,
    ],
}
# Operators of which none can say how large their results are.
UNTOLD = {
    "a FILL of an example": [("CAST", "image", {"of": "Cast"}), ("FILL", 0, UNIT)],
    "a WHERE": [("WHERE", "image")],
    "a RESHAPE to what an example says": [
        ("RESHAPE", "image", np.array([-1])),
        ("RESHAPE", "image", 0),
    ],
    "a SPLIT by what an example says": [("SPLIT", "image", "image", {"of": "Split"})],
}


def endless(model, graph):
    """A loop of which the body is the model itself."""
    code, loop = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE, 119
    model.operatorCodes.append(code)
    loop.opcodeIndex, loop.inputs = len(model.operatorCodes) - 1, list(graph.inputs)
    loop.outputs, loop.builtinOptions = [], schema.WhileOptionsT()
    loop.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    graph.operators.append(loop)


def sparse(model, graph):
    """Weights of which zeros are left out, which may be of any size then."""
    constants = [t for t in graph.tensors if model.buffers[t.buffer].data is not None]
    constants[0].sparsity = schema.SparsityParametersT()


def twice(model, graph):
    """Two operators that make the same tensor, each of what the other made."""
    graph.operators[1].outputs = graph.operators[0].outputs


def nan_weights(model, graph):
    for tensor in graph.tensors:
        buffer = model.buffers[tensor.buffer]
        is_float = tensor.type == schema.TensorType.FLOAT32
        if is_float and buffer.data is not None and len(buffer.data) > 64:  # small ones are shared
            buffer.data = np.full(len(buffer.data) // 4, np.nan, np.float32).view(np.uint8)


DAMAGED = "cut off, damaged or from another tool"
REFUSES = "one that this interpreter refuses"
CHECKSUM = "checksum does not fit"
NO_MODEL = "bytes of something else"

MANY = {"vocab.txt.gz": gzip.compress(bytes(10**7))}
GZIP = json.dumps(DESCRIPTION | {"format": 3, "files": ["labels.txt", "vocab.txt.gz"]}).encode()

# What is opened, and a piece of the error.
REFUSED = {
    "nothing": (b"", NO_MODEL),
    "seven bytes": (WHOLE[:7], NO_MODEL),
    "a text": (b"This is no model at all.", NO_MODEL),
    "an archive alone": (WHOLE[len(MODEL) :], NO_MODEL),
    "its first bytes": (WHOLE[:8], DAMAGED),
    "half of the model": (MODEL[: len(MODEL) // 2], DAMAGED),
    "the model alone": (MODEL, DAMAGED),
    "without its last byte": (WHOLE[:-1], DAMAGED),
    "a model's bit turned": (WHOLE[:9000] + bytes([WHOLE[9000] ^ 1]) + WHOLE[9001:], CHECKSUM),
    "a checksum of nothing": (packed(model_bytes=0, model_crc32=0), CHECKSUM),
    "a checksum of a part": (packed(model_bytes=8, model_crc32=zlib.crc32(MODEL[:8])), CHECKSUM),
    "a length from the end": (packed(model_bytes=-9, model_crc32=0), CHECKSUM),
    "a checksum that is a text": (packed(model_crc32=str(zlib.crc32(MODEL))), CHECKSUM),
    "a length that is a text": (packed(model_bytes="all"), DAMAGED),
    "no description": (without_file("mmkd.json"), "its archive lacks mmkd.json"),
    "a description of zeros": (with_file("mmkd.json", bytes(50)), DAMAGED),
    "a list as description": (with_file("mmkd.json", b"[]"), DAMAGED),
    "a nested description": (with_file("mmkd.json", 100_000 * b"["), DAMAGED),
    "a newer format": (packed(format=99), "newer than this"),
    "newer rules": (packed(inputs={"text": {"tokenizer_rules": 9}}), "newer than this"),
    "no inputs": (packed(inputs=3), DAMAGED),
    "an input of another kind": (packed(inputs={"text": {"kind": "smell"}}), "of kind 'smell'"),
    "two outputs": (packed(outputs={"probabilities": {}, "values": {}}), DAMAGED),
    "another output": (packed(outputs={"values": {}}), "mmkd_tf.edge.Regressor"),
    "a threshold of NaN": (packed(outputs={"probabilities": {"threshold": math.nan}}), DAMAGED),
    "an endless temperature": (packed(outputs={"probabilities": {"temperature": 1e999}}), DAMAGED),
    "an author who is a number": (packed(author=7), DAMAGED),
    "a file that is not there": (without_file("vocab.txt"), DAMAGED),
    "labels that are no UTF-8": (with_file("labels.txt", b"\xff\xfe"), DAMAGED),
    "a label too few": (with_file("labels.txt", b"a\nb"), "2 labels"),
    "two labels alike": (with_file("labels.txt", b"a\na\nb"), "3 labels, 2 of them distinct"),
    "a vocabulary of zeros": (with_file("vocab.txt", b"\0"), "vocabulary"),
    "compressed files": (packed(method=zipfile.ZIP_DEFLATED), DAMAGED),
    "a text that unpacks to ten times the file": (
        packed(files=FILES | MANY | {"mmkd.json": GZIP}),
        DAMAGED,
    ),
    "an input of 2.7 GB": (shaped("inputs", 1, 30_000, 30_000), "damaged .*broadcast"),
    "an output of 8 GB": (shaped("outputs", 1, 2**31 - 1), "asks for"),
    "something of 6 GB inside": (crafted(inside), "asks for"),
    "a FILL of 6 GB": (added(("FILL", SIDES, UNIT)), "asks for"),
    "a FILL of three sides": (added(("FILL", np.array([1, 40_000, 40_000]), UNIT)), "asks for"),
    "a FILL as large as can be said": (added(("FILL", np.full(6, 2**31 - 1), UNIT)), "asks for"),
    "a TILE of 8 GB": (added(("TILE", np.ones(1), np.array([2_000_000_000]))), "asks for"),
    "a TILE of a TILE": (
        added(("TILE", np.ones(1), OFTEN), ("TILE", 0, OFTEN)),
        "asks for",
    ),
    "a BROADCAST_TO of 6 GB": (added(("BROADCAST_TO", np.ones(1), SIDES)), "asks for"),
    "a PAD of 8 GB": (added(("PAD", np.ones(1), np.array([[10**9, 10**9]]))), "asks for"),
    "a RESIZE of 6 GB": (added(("RESIZE_BILINEAR", np.ones([1, 1, 1, 1]), SIDES)), "asks for"),
    "a RANGE of 8 GB": (
        added(("RANGE", np.int32(0), np.int32(2**31 - 1), np.int32(1))),
        "asks for",
    ),
    "a FILL of computed sides": (
        added(("MUL", SIDES // 200, np.array([200, 200])), ("FILL", 0, UNIT)),
        "asks for",
    ),
    "a FILL of an input's sides": (
        added(("SHAPE", "image"), ("MUL", 0, np.array([1, 900, 900, 9])), ("FILL", 1, UNIT)),
        "asks for",
    ),
    **{name: (added(*operators), "asks for") for name, operators in GROWN.items()},
    **{name: (added(*operators), "can be told before") for name, operators in UNTOLD.items()},
    "a loop within itself": (crafted(endless), "without end"),
    "weights without their zeros": (crafted(sparse), "zeros are left out"),
    "a tensor that is made twice": (crafted(twice), "made twice"),
    "operators without end": (crafted(many), "entries"),
    "tables of noise": (packed(MODEL[:8] + 30 * bytes(range(256))), "damaged"),
    "tables of ones": (packed(MODEL[:8] + 900 * b"\xff"), "damaged"),
    "tables of zeros": (packed(struct.pack("<I", 16) + MODEL[4:8] + bytes(900)), REFUSES),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_whole_is_refused(name, tmp_path):
    content, message = REFUSED[name]
    path = tmp_path / "student.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Classifier(path)
    assert str(path) in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Classifier(tmp_path / "nowhere.tflite")
    with pytest.raises(FileNotFoundError, match="no such file"):
        Classifier("x" * 5000)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        for read in (Classifier, Index.load):
            with pytest.raises(ValueError, match="a folder or device"):
                read(path)


@pytest.fixture
def classifier(tmp_path):
    path = tmp_path / "student.tflite"
    path.write_bytes(packed())
    return Classifier(path)


def examples(number):
    rng = np.random.default_rng(0)
    words = ["red", "big blue", "small white", "grey", "over black"]
    return [
        {"image": rng.integers(0, 256, (16, 16, 3)).astype("uint8"), "text": words[i % len(words)]}
        for i in range(number)
    ]


def test_threads_share_a_reader(classifier):
    given = examples(8)
    expected = [classifier.predict(**example) for example in given]
    assert len({answer.probability for answer in expected}) == len(given)
    wrong = []

    def ask(index):
        try:
            for _ in range(100):
                if classifier.predict(**given[index]) != expected[index]:
                    wrong.append(index)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_answer_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "student.tflite"
    path.write_bytes(crafted(nan_weights))
    classifier = Classifier(path)
    with pytest.raises(ValueError, match="Received: NaN or infinity for it"):
        classifier.predict(text="red")
    with pytest.raises(ValueError, match=r"`examples\[1\]` \(2 of 2\)"):
        classifier.predict_batch(examples(2))


TEXTS = ["red cup", "", "nul\0", "\0", "line\nbreak", "茶", "\ud800", "a" * 100_000]


def test_an_index_holds_any_text(tmp_path):
    path, rng = tmp_path / "texts.npz", np.random.default_rng(0)
    texts = TEXTS + [f"item {number}" for number in range(500)]
    index = Index()
    index.add(texts, rng.normal(size=(len(texts), 4)))
    index.save(path)
    assert path.stat().st_size < 200_000
    again = Index.load(path)
    assert again.items == tuple(texts)
    np.testing.assert_allclose(again.embeddings, index.embeddings, atol=1e-6)


def test_an_index_of_an_earlier_version_is_read(tmp_path):
    embeddings = np.array([[0.6, 0.8], [1, 0]], np.float32)
    np.savez(tmp_path / "texts.npz", items=np.array(["red", "茶"]), embeddings=embeddings)
    index = Index.load(tmp_path / "texts.npz")
    assert index.items == ("red", "茶")
    assert [match.item for match in index.search([0.0, 1.0])] == ["red", "茶"]


ONE = {
    "text": np.frombuffer(b"redblue", np.uint8),
    "ends": np.array([3, 7]),
    "embeddings": np.eye(2, dtype=np.float32),
}
FOUR = np.array([4, 7])
INDEXES = {
    "a place beyond the end": {"ends": np.array([3, 9])},
    "a place before the last": {"ends": np.array([8, 7])},
    "a negative place": {"ends": np.array([-3, 7])},
    "a text too few": {"ends": np.array([7])},
    "no texts": {"ends": np.array([], int)},
    "places that are no numbers": {"ends": np.array(["a", "b"])},
    "places in a table": {"ends": np.array([[3, 7]])},
    "one place": {"ends": np.array(7)},
    "half a letter": {
        "text": np.frombuffer(b"red\xe8\x8c\xb6!", np.uint8),
        "ends": np.array([4, 7]),
    },
    "embeddings of NaN": {"embeddings": np.full([2, 2], np.nan, np.float32)},
    "embeddings of zeros": {"embeddings": np.zeros([2, 2], np.float32)},
    "embeddings that are texts": {"embeddings": np.array([["a", "b"], ["c", "d"]])},
    "objects": {"ends": np.array([3, None], object)},
    "something more": {"more": np.zeros(3)},
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_of_another_form_is_refused(name, tmp_path):
    np.savez(tmp_path / "texts.npz", **ONE)
    assert Index.load(tmp_path / "texts.npz").items == ("red", "blue")
    np.savez(tmp_path / "texts.npz", **(ONE | INDEXES[name]))
    with pytest.raises(ValueError, match="a file that Index.save wrote"):
        Index.load(tmp_path / "texts.npz")


def test_a_damaged_index_is_refused(tmp_path):
    path, stream = tmp_path / "texts.npz", BytesIO()
    np.savez(stream, **ONE)
    whole = stream.getvalue()
    bomb = whole.replace(b"(2,)", b"(2000000000000000,)")
    packed_arrays = BytesIO()
    np.savez_compressed(packed_arrays, **ONE)
    for content in (b"", whole[:100], whole[:-1], whole[9:], bomb, packed_arrays.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a file that Index.save wrote"):
            Index.load(path)


def test_operators_that_say_little_are_run(tmp_path):
    little = [("FILL", np.array([3, 4]), UNIT), ("TILE", np.ones(5), np.array([7]))]
    (tmp_path / "more.tflite").write_bytes(added(*little, ("SHAPE", "image"), ("FILL", 2, UNIT)))
    (tmp_path / "whole.tflite").write_bytes(packed())
    more, whole = (Classifier(tmp_path / f"{name}.tflite") for name in ("more", "whole"))
    assert more.predict(text="red") == whole.predict(text="red")
