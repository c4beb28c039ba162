"""Decodes a picture inside a TensorFlow graph as `mmkd_tf.edge.picture` does with Pillow."""

import tensorflow as tf

_EXIF_SEARCHED_BYTES = 65_536
_MAX_TAGS = 512
_ORIENTATION_TAG = 0x0112


def decode_picture(content: tf.Tensor, *, height: int, width: int) -> tf.Tensor:
    """Decodes JPEG, PNG, WebP, GIF (first frame) or BMP, upright, stretched to a size.

    Transparency of PNG and WebP pictures becomes white, JPEG pictures are turned as their EXIF
    orientation says, and the size is changed by bilinear interpolation with antialiasing: within
    two levels of what Pillow gives. Pictures that are all black get values of 1, since zeros mean
    an absent picture. What TensorFlow's decoders lack is lacking here: the transparency of GIF,
    the orientation of PNG and WebP, bitmaps of less than 8 bits, and TIFF (the last two are
    errors).

    Args:
        content: string scalar, the bytes of a file; empty for an absent picture.
        height: Rows of the result in pixels.
        width: Columns of the result in pixels.

    Returns:
        uint8 `[height, width, 3]`, all zeros for an absent picture.
    """

    def present():
        pixels = tf.cast(_decode(content), tf.float32)
        resized = tf.image.resize(pixels, (height, width), antialias=True)
        resized = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        black = tf.cast(tf.reduce_all(resized == 0), tf.uint8)
        return tf.ensure_shape(resized + black, [height, width, 3])

    def absent():
        return tf.zeros([height, width, 3], tf.uint8)

    return tf.cond(tf.strings.length(content) > 0, present, absent)


def _decode(content: tf.Tensor) -> tf.Tensor:
    """Gives uint8 `[h, w, 3]`; an unknown format is an error of `tf.io.decode_image`."""

    def starts(magic: bytes, at: int = 0):
        size = tf.minimum(len(magic), tf.maximum(tf.strings.length(content) - at, 0))
        start = tf.minimum(at, tf.strings.length(content))
        return tf.strings.substr(content, start, size) == magic

    def jpeg():
        pixels = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return _turn(pixels, exif_orientation(content))

    return tf.case(
        [
            (starts(b"\xff\xd8\xff"), jpeg),
            (starts(b"\x89PNG"), lambda: _on_white(_png(content))),
            (starts(b"WEBP", at=8), lambda: _on_white(tf.io.decode_webp(content)[0])),
            (starts(b"GIF8"), lambda: tf.io.decode_gif(content)[0]),
            (starts(b"BM"), lambda: _bitmap(content)),
        ],
        default=lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )


def _png(content: tf.Tensor) -> tf.Tensor:
    """Gives RGBA, or RGB where TensorFlow would make the opacity 1 of 255: 1 to 4 bits of grey."""
    depth, kind = tf.unstack(_bytes(content, 24, 2), num=2)
    return tf.cond(
        (depth < 8) & (kind == 0),
        lambda: tf.io.decode_png(content, channels=3),
        lambda: tf.io.decode_png(content, channels=4),
    )


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lays uint8 RGBA on white; RGB has no opacity and stays."""
    pixels = tf.cast(pixels, tf.float32)
    colour = pixels[..., :3]
    opacity = tf.cond(
        tf.shape(pixels)[-1] == 4,
        lambda: pixels[..., 3:],
        lambda: tf.fill(tf.shape(pixels[..., :1]), 255.0),
    )
    mixed = (colour * opacity + 255 * (255 - opacity)) / 255
    return tf.cast(tf.round(mixed), tf.uint8)


def _bitmap(content: tf.Tensor) -> tf.Tensor:
    """Decodes BMP: colours of a palette are looked up, a fourth channel is padding."""
    pixels = tf.io.decode_bmp(content)
    header = _bytes(content, 10, 8)
    first_pixel, header_size = (
        tf.reduce_sum(part * [1, 256, 65_536, 16_777_216]) for part in tf.split(header, 2)
    )
    start = 14 + header_size

    def coloured():
        num_colours = tf.clip_by_value((first_pixel - start) // 4, 1, 256)
        palette = _bytes(content, start, 4 * num_colours)
        palette = tf.reshape(palette, [-1, 4])[:, 2::-1]  # stored as blue, green, red, nothing
        index = tf.minimum(tf.cast(pixels[..., 0], tf.int32), tf.shape(palette)[0] - 1)
        return tf.cast(tf.gather(palette, index), tf.uint8)

    return tf.cond(tf.shape(pixels)[-1] == 1, coloured, lambda: pixels[..., :3])


def _bytes(content: tf.Tensor, start: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Gives some bytes as int32; zeros beyond the end, so that damage is left to the decoders."""
    start = tf.clip_by_value(start, 0, tf.strings.length(content))
    there = tf.minimum(size, tf.strings.length(content) - start)
    values = tf.io.decode_raw(tf.strings.substr(content, start, there), tf.uint8)
    return tf.cast(tf.pad(values, [[0, size - there]]), tf.int32)


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a JPEG file, int32 scalar 1 to 8; 1, upright, if it has none."""
    size = tf.minimum(tf.strings.length(content), _EXIF_SEARCHED_BYTES)
    data = _bytes(content, 0, size + 16)  # so that damaged offsets read zeros
    limit = tf.shape(data)[0] - 1
    found = tf.reduce_all(
        tf.stack([data[i : limit - 8 + i] == byte for i, byte in enumerate(b"Exif\0\0")]), axis=0
    )

    def tag_value():
        tiff = tf.cast(tf.where(found)[0, 0], tf.int32) + 6
        little = data[tf.minimum(tiff, limit)] == ord("I")

        def numbers(starts, size):
            places = tf.range(size)
            weights = tf.where(little, 256**places, 256 ** (size - 1 - places))
            at = tf.clip_by_value(tf.expand_dims(starts, -1) + places, 0, limit)
            return tf.reduce_sum(tf.gather(data, at) * weights, axis=-1)

        directory = tiff + tf.clip_by_value(numbers(tiff + 4, 4), 0, limit)
        count = tf.minimum(numbers(directory, 2), _MAX_TAGS)
        entries = directory + 2 + 12 * tf.range(count)
        values = tf.boolean_mask(numbers(entries + 8, 2), numbers(entries, 2) == _ORIENTATION_TAG)
        value = tf.reduce_max(tf.concat([values[:1], [0]], 0))
        return tf.where((value >= 1) & (value <= 8), value, 1)

    return tf.cond(tf.reduce_any(found), tag_value, lambda: tf.constant(1))


def _turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns `[h, w, 3]` upright: rows and columns are exchanged first, then mirrored."""

    def any_of(*values):
        return tf.reduce_any(orientation == tf.constant(values))

    for change, values in (
        (lambda x: tf.transpose(x, [1, 0, 2]), (5, 6, 7, 8)),
        (lambda x: tf.reverse(x, [1]), (2, 3, 6, 7)),
        (lambda x: tf.reverse(x, [0]), (3, 4, 7, 8)),
    ):
        pixels = tf.cond(
            any_of(*values), lambda p=pixels, change=change: change(p), lambda p=pixels: p
        )
    return pixels
