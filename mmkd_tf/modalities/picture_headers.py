"""Reads the headers of picture files inside a TensorFlow graph, before anything is decoded.

TensorFlow's decoders trust what a file claims: one of WebP writes beyond its memory on animations,
one of GIF holds all frames at once, and all of them take what memory a header of 34 bytes asks for.
"""

import tensorflow as tf

from mmkd_tf.edge.picture import MAX_PIXELS

_MOST_WITH_OPACITY = MAX_PIXELS * 3 // 4
_HEAD = 34  # bytes, as many as a bitmap's size, depth and compression need
_PNG_HEADER = b"\0\0\0\rIHDR"
_ORIENTATION = 0x0112
_EXIF_BYTES = 65536  # the most that a JPEG holds
_UPRIGHT = 1


class Header:
    """What the first bytes of a file say; for use while a graph is traced.

    Args:
        content: The file, string scalar.

    Attributes:
        is_jpeg: Whether it begins as a JPEG, bool scalar; `is_png` and `is_bmp` alike.
    """

    def __init__(self, content: tf.Tensor):
        self._content = content
        self._head = tf.strings.substr(content, 0, _HEAD) + _HEAD * b"\0"
        self.is_jpeg = self._has(b"\xff\xd8\xff")
        self.is_png = self._has(b"\x89PNG\r\n\x1a\n") & self._has(_PNG_HEADER, at=8)
        self.is_bmp = self._has(b"BM")

    def refusal(self, *, longest: int) -> tf.Tensor:
        """Why the file is not decoded, string scalar; empty if it may be.

        `longest` is the longer side of the model's input: a strip is stretched to that on its way.
        """
        size = self._size()
        most = self._most_pixels(size)
        # The first condition keeps the product within 64 bit.
        enormous = tf.reduce_any(size > most)
        enormous |= tf.reduce_prod(tf.maximum(size, longest)) > most
        claim = tf.strings.reduce_join(tf.strings.as_string(size), separator=" x ")
        name = tf.case(
            [
                (self._has(b"RIFF") & self._has(b"WEBP", at=8), lambda: tf.constant("WebP")),
                (self._has(b"GIF8"), lambda: tf.constant("GIF")),
                (self._has(b"II*\0") | self._has(b"MM\0*"), lambda: tf.constant("TIFF")),
                (self.is_bmp, lambda: tf.constant("a bitmap of another form")),
            ],
            default=lambda: tf.constant("something else"),
        )
        return tf.case(
            [
                (
                    ~(self.is_jpeg | self.is_png | self._is_plain_bmp()),
                    lambda: tf.strings.join(
                        [
                            "a picture is a JPEG, PNG or BMP file (24 or 32 bit, not compressed). "
                            "Received: ",
                            name,
                            ". Save it as PNG or JPEG.",
                        ]
                    ),
                ),
                (
                    enormous | tf.reduce_any(size < 1),
                    lambda: tf.strings.join(
                        [
                            f"a picture has 1 to {MAX_PIXELS:,} pixels, of which may be "
                            f"transparent {_MOST_WITH_OPACITY:,}; a strip has them when it is "
                            f"stretched to {longest}. Received: one that claims ",
                            claim,
                            ". Make it smaller.",
                        ]
                    ),
                ),
            ],
            default=lambda: tf.constant(""),
        )

    def _most_pixels(self, size: tf.Tensor) -> tf.Tensor:
        """How many pixels may be decoded, int64 scalar: values of opacity take memory too."""
        most = tf.constant(MAX_PIXELS, tf.int64)
        few = tf.constant(_MOST_WITH_OPACITY, tf.int64)
        # The search for opacity takes time, which small pictures are spared.
        is_large = tf.reduce_prod(tf.cast(size, tf.float32)) > _MOST_WITH_OPACITY
        return tf.cond(
            self.is_png & is_large, lambda: tf.where(self.has_opacity(), few, most), lambda: most
        )

    def has_opacity(self) -> tf.Tensor:
        """Whether a PNG has values of opacity, for each pixel or for a colour."""

        def of_a_colour():
            chunk, pixels = self._first(b"tRNS"), self._first(b"IDAT")
            return (chunk >= 0) & (chunk < pixels)

        return tf.cond(self._number(25, 1) >= 4, lambda: tf.constant(True), of_a_colour)

    def orientation(self) -> tf.Tensor:
        """The EXIF orientation of a JPEG or PNG, int32 scalar, 1 to 8; 1 is upright."""
        place, mark = tf.cond(
            self.is_png,
            lambda: (self._first(b"eXIf"), tf.constant(4)),
            lambda: (self._first(b"Exif\0\0"), tf.constant(6)),
        )
        return tf.cond(
            place >= 0,
            lambda: _orientation(tf.strings.substr(self._content, place + mark, _EXIF_BYTES)),
            lambda: tf.constant(_UPRIGHT),
        )

    def _size(self) -> tf.Tensor:
        """Width and height, int64 `[2]`."""

        def jpeg():
            # By the library that decodes, so that both read the same.
            shape = tf.image.extract_jpeg_shape(self._content, output_type=tf.int32)
            return tf.cast(tf.stack([shape[1], shape[0]]), tf.int64)

        def png():
            return tf.stack([self._number(16, 4, big=True), self._number(20, 4, big=True)])

        def bmp():
            width, height = self._number(18, 4), self._number(22, 4)
            # Of a bitmap whose first row is the uppermost the height is negative.
            return tf.stack([width, tf.where(height >= 2**31, 2**32 - height, height)])

        return tf.case(
            [(self.is_jpeg, jpeg), (self.is_png, png), (self.is_bmp, bmp)],
            default=lambda: tf.ones([2], tf.int64),
        )

    def _is_plain_bmp(self) -> tf.Tensor:
        """Whether a bitmap is of the form that TensorFlow reads rightly."""
        depth = self._number(28, 2)
        of_colours = (depth == 24) | (depth == 32)
        return self.is_bmp & (self._number(14, 4) >= 40) & of_colours & (self._number(30, 4) == 0)

    def _has(self, magic: bytes, *, at: int = 0) -> tf.Tensor:
        return tf.strings.substr(self._head, at, len(magic)) == magic

    def _number(self, at: int, num_bytes: int, *, big: bool = False) -> tf.Tensor:
        """An unsigned number of the header, int64 scalar; the last byte is the first if `big`."""
        digits = tf.io.decode_raw(tf.strings.substr(self._head, at, num_bytes), tf.uint8)
        powers = [256**power for power in range(num_bytes)]
        powers = tf.constant(powers[::-1] if big else powers, tf.int64)
        return tf.reduce_sum(tf.cast(digits, tf.int64) * powers)

    def _first(self, mark: bytes) -> tf.Tensor:
        """Where `mark` begins first, int32 scalar; -1 if nowhere."""
        data = tf.io.decode_raw(self._content + len(mark) * b"\0", tf.uint8)
        places = tf.where(data[: -len(mark)] == mark[0])[:, 0]
        for index, byte in enumerate(mark[1:], start=1):
            places = tf.boolean_mask(places, tf.gather(data, places + index) == byte)
        return tf.concat([tf.cast(places[:1], tf.int32), [-1]], axis=0)[0]


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """The orientation that a note says, which begins as TIFF does; 1 of one that is damaged."""
    data = tf.cast(tf.io.decode_raw(exif + 8 * b"\0", tf.uint8), tf.int32)
    last = tf.shape(data)[0] - 2
    is_little = data[0] == ord("I")

    def short(at):
        """The number of two bytes at each place; of places beyond the end any."""
        at = tf.clip_by_value(at, 0, last)
        one, two = tf.gather(data, at), tf.gather(data, at + 1)
        return tf.where(is_little, one + 256 * two, 256 * one + two)

    # Of the four bytes of the first directory's place two are enough: a note has 64 KiB.
    begin = short(tf.where(is_little, 4, 6)) + 2
    number = tf.clip_by_value(short(begin - 2), 0, tf.maximum(0, (last - begin) // 12 + 1))
    entries = begin + 12 * tf.range(number)
    are_it = (short(entries) == _ORIENTATION) & (short(entries + 2) == 3)
    values = tf.boolean_mask(short(entries + 8), are_it)
    value = tf.concat([[_UPRIGHT], values], axis=0)[-1]
    return tf.where((value >= 1) & (value <= 8), value, _UPRIGHT)
