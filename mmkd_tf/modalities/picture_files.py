"""Reads picture files: of many rows in threads, and inside a TensorFlow graph."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from mmkd_tf.edge.picture import read_picture
from mmkd_tf.modalities.cell_files import read_cells

THUMBNAIL = 96  # pixels, the longer side


def read_pictures(
    cells: Iterable, *, size: int, folder: Path | None = None, allow_outside: bool = False
) -> tuple[np.ndarray, dict[int, str]]:
    """Reads the picture of each row: uint8 `[rows, size, size, 3]`, and by row what is wrong.

    A cell is as in `read_cells`; the object may be a Pillow image or an array.
    """
    return read_cells(
        cells,
        lambda source: read_picture(source, height=size, width=size),
        noun="picture",
        like=([size, size, 3], np.uint8),
        folder=folder,
        allow_outside=allow_outside,
    )


def resized(pictures: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Stretches pictures, bilinear with antialiasing; uint8."""
    values = tf.image.resize(tf.cast(pictures, tf.float32), (height, width), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def thumbnail(pixels: np.ndarray, *, size: int = THUMBNAIL) -> str:
    """A small picture of uint8 `[height, width, 3]` as a data URI of PNG or JPEG, the shorter."""
    picture, files = Image.fromarray(np.ascontiguousarray(pixels)), {}
    picture.thumbnail((size, size))
    for form, options in (("png", {"optimize": True}), ("jpeg", {"quality": 85})):
        file = io.BytesIO()
        picture.save(file, form, **options)
        files[form] = file.getvalue()
    form, content = min(files.items(), key=lambda item: len(item[1]))
    return f"data:image/{form};base64,{base64.b64encode(content).decode()}"


def decode_picture(content: tf.Tensor, *, height: int, width: int) -> tf.Tensor:
    """Decodes JPEG, PNG, WebP, GIF (first frame) or BMP (24 or 32 bit), stretched to a size.

    What TensorFlow decodes, within two levels of what `mmkd_tf.edge.picture` gives. Transparency
    of PNG and WebP becomes white. A photograph's EXIF orientation is not honoured here, while
    `mmkd_tf.edge.picture` honours it: turn such files upright beforehand. Neither is transparency
    of GIF; bitmaps with a palette and other formats are errors. `content` is a string scalar, empty
    for an absent picture, which gives zeros; one that is all black gets values of 1.
    """

    def present():
        pixels = resized(_decoded(content), height, width)
        black = tf.cast(tf.reduce_all(pixels == 0), tf.uint8)
        return tf.ensure_shape(pixels + black, [height, width, 3])

    def absent():
        return tf.zeros([height, width, 3], tf.uint8)

    return tf.cond(tf.strings.length(content) > 0, present, absent)


def _decoded(content: tf.Tensor) -> tf.Tensor:
    """Gives uint8 `[h, w, 3]`; an unknown format is an error of `tf.io.decode_image`."""
    head = tf.strings.substr(content, 0, 26) + 26 * b"\0"

    def has(magic: bytes, at: int = 0):
        return tf.strings.substr(head, at, len(magic)) == magic

    def png():
        # Of grey with 1 to 4 bits TensorFlow would make the opacity 1 of 255.
        depth_and_colours = tf.io.decode_raw(tf.strings.substr(head, 24, 2), tf.uint8)
        is_coarse_grey = (depth_and_colours[0] < 8) & (depth_and_colours[1] == 0)
        return tf.cond(
            is_coarse_grey,
            lambda: tf.io.decode_png(content, channels=3),
            lambda: _on_white(tf.io.decode_png(content, channels=4)),
        )

    return tf.case(
        [
            # Less exact by default: more than two levels from Pillow.
            (
                has(b"\xff\xd8\xff"),
                lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
            ),
            (has(b"\x89PNG"), png),
            (has(b"WEBP", at=8), lambda: _on_white(tf.io.decode_webp(content)[0])),
            (has(b"BM"), lambda: tf.io.decode_bmp(content)[..., :3]),
        ],
        default=lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lays uint8 RGBA on white; RGB has no opacity and stays."""
    pixels = tf.cast(pixels, tf.float32)
    opacity = tf.concat([pixels, tf.fill(tf.shape(pixels[..., :1]), 255.0)], axis=-1)[..., 3:4]
    mixed = (pixels[..., :3] * opacity + 255 * (255 - opacity)) / 255
    return tf.cast(tf.round(mixed), tf.uint8)
