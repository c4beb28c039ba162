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
from mmkd_tf.modalities.picture_headers import Header

THUMBNAIL = 96  # pixels, the longer side
_PIXELS_AT_ONCE = 2**18


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
    if pictures.dtype != tf.uint8:  # which needs no copy of four times its size
        pictures = tf.cast(pictures, tf.float32)
    values = tf.image.resize(pictures, (height, width), antialias=True)
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


@tf.autograph.experimental.do_not_convert  # which has no statement to convert, and takes seconds
def decode_picture(content: tf.Tensor, *, height: int, width: int) -> tf.Tensor:
    """Decodes JPEG, PNG or BMP (24 or 32 bit, not compressed), stretched to a size.

    Within two levels of what `mmkd_tf.edge.picture` gives: transparency of PNG becomes white, the
    orientation that the EXIF note of a JPEG or PNG says is honoured, but none that is said in XMP
    alone. `content` is a string scalar, empty for an absent picture, which gives zeros; one that is
    all black gets values of 1.

    Nothing is decoded before the header is read: a file of another format, such as WebP, GIF or
    TIFF, or one that claims more than 64 million pixels, is an InvalidArgumentError, as damage is.
    """

    def present():
        header = Header(content)
        reason = header.refusal(longest=max(height, width))

        def refused():
            with tf.control_dependencies([tf.debugging.Assert(False, [reason])]):
                return tf.zeros([height, width, 3], tf.uint8)

        # A condition and not only an assertion: those may be taken out of a graph.
        return tf.cond(reason == "", lambda: _decoded(content, header, height, width), refused)

    def absent():
        return tf.zeros([height, width, 3], tf.uint8)

    return tf.cond(tf.strings.length(content) > 0, present, absent)


def _decoded(content: tf.Tensor, header: Header, height: int, width: int) -> tf.Tensor:
    """Gives uint8 `[height, width, 3]`, upright."""

    def png():
        # Without need of it, of grey with 1 to 4 bits TensorFlow would make the opacity 1 of 255.
        return tf.cond(
            header.has_opacity(),
            lambda: _on_white(tf.io.decode_png(content, channels=4)),
            lambda: tf.io.decode_png(content, channels=3),
        )

    pixels = tf.case(
        [
            # Less exact by default: more than two levels from Pillow.
            (
                header.is_jpeg,
                lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
            ),
            (header.is_png, png),
        ],
        default=lambda: tf.io.decode_bmp(content)[..., :3],
    )
    orientation = tf.cond(header.is_bmp, lambda: tf.constant(1), header.orientation)
    is_on_its_side = orientation >= 5
    small = tf.cond(
        is_on_its_side,
        lambda: tf.transpose(resized(pixels, width, height), [1, 0, 2]),
        lambda: resized(pixels, height, width),
    )
    for axis, orientations in ((1, (2, 3, 6, 7)), (0, (3, 4, 7, 8))):
        is_mirrored = tf.reduce_any(orientation == tf.constant(orientations))
        small = tf.where(is_mirrored, tf.reverse(small, [axis]), small)
    black = tf.cast(tf.reduce_all(small == 0), tf.uint8)
    return tf.ensure_shape(small + black, [height, width, 3])


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lays uint8 RGBA on white, some rows at a time: all would need eight times their memory."""
    size = tf.shape(pixels)
    rows = tf.maximum(1, _PIXELS_AT_ONCE // size[1])
    number = (size[0] + rows - 1) // rows

    def strip(index, strips):
        values = tf.cast(pixels[index * rows : (index + 1) * rows], tf.float32)
        opacity = values[..., 3:]
        mixed = (values[..., :3] * opacity + 255 * (255 - opacity)) / 255
        return index + 1, strips.write(index, tf.cast(tf.round(mixed), tf.uint8))

    strips = tf.TensorArray(tf.uint8, number, infer_shape=False, element_shape=[None, None, 3])
    loop = (tf.constant(0), strips)
    _, strips = tf.while_loop(lambda index, _: index < number, strip, loop, parallel_iterations=1)
    return strips.concat()
