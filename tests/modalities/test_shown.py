"""How a report shows one value of an input."""

import base64
import io

import numpy as np
from PIL import Image as Picture

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text


def pixels_of(data):
    head, content = data.split(",")
    picture = Picture.open(io.BytesIO(base64.b64decode(content)))
    assert head == f"data:image/{picture.format.lower()};base64"
    return np.asarray(picture)


def test_a_picture_is_a_small_file_in_a_uri():
    rng = np.random.default_rng(0)
    flat = np.full([16, 16, 3], (200, 10, 30), np.uint8)
    shown = Image(height=16).shown(flat)
    assert shown["form"] == "picture" and np.array_equal(pixels_of(shown["data"]), flat)
    photo = rng.integers(0, 256, [300, 200, 3]).astype(np.uint8)
    data = Image(height=300, width=200).shown(photo)["data"]
    assert pixels_of(data).shape == (96, 64, 3) and len(data) < 20_000


def test_a_long_text_is_cut():
    text = Text(vocabulary=["<pad>", "<unk>"], length=4)
    assert text.shown("a cup") == {"form": "text", "words": "a cup"}
    words = text.shown("word " * 100)["words"]
    assert len(words) == 160 and words.endswith("...")
