from io import BytesIO

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmkd_tf.edge.picture import read_picture
from mmkd_tf.modalities.picture_files import decode_picture

HEIGHT, WIDTH = 24, 20


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda content: decode_picture(content, height=HEIGHT, width=WIDTH),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )


@pytest.fixture(scope="module")
def picture():
    """RGBA, 40 x 60 pixels, smooth, with transparent parts."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype("uint8")
    return Image.fromarray(pixels).resize((60, 40), Image.Resampling.BICUBIC)


def encoded(picture, file_format, **options):
    stream = BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        *[(mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")],
        *[(mode, "JPEG") for mode in ("RGB", "L", "CMYK")],
        *[(mode, "BMP") for mode in ("RGB", "RGBA")],
    ],
)
def test_equals_pillow(decode, picture, mode, file_format):
    content = encoded(picture.convert(mode), file_format)
    expected = read_picture(content, height=HEIGHT, width=WIDTH).astype(int)
    assert np.ptp(expected) > 50
    assert np.abs(decode(content).numpy() - expected).max() <= 2


def test_palette_picture_with_one_transparent_colour(decode):
    pixels = np.repeat(np.arange(3, dtype="uint8"), 20).reshape(6, 10)
    picture = Image.fromarray(pixels, "P")
    picture.putpalette([200, 0, 0, 0, 150, 0, 0, 0, 90])
    content = encoded(picture, "PNG", transparency=1)
    expected = read_picture(content, height=HEIGHT, width=WIDTH).astype(int)
    assert expected.max() == 255
    assert np.abs(decode(content).numpy() - expected).max() <= 2


def test_sixteen_bits(decode):
    values = np.linspace(0, 65535, 30 * 30).reshape(30, 30).astype("uint16")
    content = encoded(Image.fromarray(values), "PNG")
    expected = read_picture(content, height=HEIGHT, width=WIDTH).astype(int)
    assert np.abs(decode(content).numpy() - expected).max() <= 2


def test_absent_is_zeros_and_black_is_not(decode):
    assert not decode(b"").numpy().any()
    black = decode(encoded(Image.new("RGB", (9, 9)), "PNG")).numpy()
    np.testing.assert_array_equal(black, np.ones([HEIGHT, WIDTH, 3]))


@pytest.mark.parametrize(
    "content",
    [b"no picture", b"x", b"\x89PNG", b"BM" + bytes(99), b"\xff\xd8\xff", b"RIFF1234WEBP"],
)
def test_what_is_no_picture_is_an_error(decode, content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(content)
