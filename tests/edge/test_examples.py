import numpy as np
import pytest

from mmkd_tf.edge.examples import ExampleReader
from mmkd_tf.edge.tokenizer import text_bytes

INPUTS = {
    "image": ((1, 2, 3, 3), np.dtype("float32")),
    "text": ((1, 4), np.dtype("int32")),
}


@pytest.fixture
def reader():
    return ExampleReader(INPUTS, files={"vocab.txt": "<pad>\n<unk>\nred\ncup"})


def test_tensors_have_the_model_s_form(reader):
    pixels = np.arange(18).reshape(2, 3, 3)
    tensors = reader([{"text": "A red cup"}, {"image": pixels}, {"image": pixels, "text": "cup"}])
    assert {name: tensor.dtype.name for name, tensor in tensors.items()} == {
        "image": "float32",
        "text": "int32",
    }
    np.testing.assert_array_equal(tensors["text"], [[1, 2, 3, 0], [0, 0, 0, 0], [3, 0, 0, 0]])
    np.testing.assert_array_equal(tensors["image"], [pixels * 0, pixels, pixels])


def test_problems_beyond_twenty_are_counted(reader):
    with pytest.raises(TypeError) as caught:
        reader([{"text": 5}] * 1023)
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 1,003 more."


def test_a_text_without_a_vocabulary_is_refused():
    reader = ExampleReader(INPUTS)
    with pytest.raises(ValueError, match="exported without a vocabulary"):
        reader([{"text": "red"}])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red", b"red\0\0\0\0\0"),
        ("red cups and more", b"red cups"),
        ("ab茶杯", "ab茶杯".encode()),
        ("abc茶杯", "abc茶".encode() + b"\0\0"),  # the second sign's third byte is the ninth
        ("1234567ö", b"1234567\0"),
        ("a\0b", b"a b\0\0\0\0\0"),
        ("a\ud800b", b"a?b\0\0\0\0\0"),
        ("", bytes(8)),
        (" ?!\u200d", bytes(8)),
    ],
)
def test_texts_as_bytes(text, expected):
    result = text_bytes(text, num_bytes=8)
    assert result.dtype == np.uint8
    assert result.tobytes() == expected
