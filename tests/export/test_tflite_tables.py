import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from mmkd_tf.export.convert import convert
from mmkd_tf.export.tflite_tables import read_tables, write_tables


@pytest.fixture(scope="module")
def content(model, examples):
    return convert(model, examples)


def weights(tables):
    return [b"" if buffer.data is None else bytes(buffer.data) for buffer in tables.buffers]


def with_weights_behind(content):
    """The model as quantizers write large ones: the largest buffer behind the tables."""
    tables = read_tables(content)
    largest = max(tables.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    data, largest.data = bytes(largest.data), None
    largest.size, largest.offset = len(data), 2
    largest.offset = -(-len(write_tables(tables)) // 16) * 16
    return write_tables(tables).ljust(largest.offset, b"\0") + data


def run(content, examples):
    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    one = {name: values[:1] for name, values in examples.items()}
    return runner(**one)["probabilities"]


def test_written_again_it_is_the_same_model_at_aligned_places(content, examples):
    again = write_tables(read_tables(content))
    assert weights(read_tables(again)) == weights(read_tables(content))
    root = schema.Model.GetRootAsModel(again, 0)
    for index in range(root.BuffersLength()):
        table = root.Buffers(index)._tab
        if table.Offset(4):
            assert table.Vector(table.Offset(4)) % 16 == 0
    np.testing.assert_array_equal(run(again, examples), run(content, examples))
    assert len(again) < 1.02 * len(content)


def test_weights_behind_the_tables_are_taken_in(content, examples):
    behind = with_weights_behind(content)
    # A reader that does not know of them misses weights.
    plain = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(behind, 0))
    missed = [data for data in weights(read_tables(content)) if data not in weights(plain)]
    assert [len(data) > 1000 for data in missed] == [True]
    tables = read_tables(behind)
    assert weights(tables) == weights(read_tables(content))
    assert all(buffer.offset == buffer.size == 0 for buffer in tables.buffers)
    np.testing.assert_array_equal(run(write_tables(tables), examples), run(content, examples))


def test_weights_that_were_cut_off(content):
    with pytest.raises(ValueError, match=r"whole TFLite model. Received: one whose buffer \d+ end"):
        read_tables(with_weights_behind(content)[:-1])


def test_refuses_options_behind_the_tables(content):
    tables = read_tables(content)
    tables.subgraphs[0].operators[0].largeCustomOptionsOffset = 4096
    with pytest.raises(ValueError, match="options of custom operators behind its tables"):
        read_tables(write_tables(tables))


@pytest.mark.parametrize("other", [b"", b"TFL3", b"PK\x03\x04 something else"])
def test_refuses_what_is_no_model(other):
    with pytest.raises(ValueError, match=f"{len(other)} bytes of something else"):
        read_tables(other)


def test_refuses_what_is_cut_off(content):
    for size in [8, 9, 20, 100, *range(200, len(content) - 8, len(content) // 50)]:
        with pytest.raises(ValueError, match="`content`: a whole TFLite model"):
            read_tables(content[:size])
