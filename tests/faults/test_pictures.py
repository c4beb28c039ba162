"""Faults of pictures, for the reader of tables and files and for that inside a SavedModel.

Pictures are written here byte by byte, so that what they mean is known without a decoder. Each is
read in its own size, 2 rows of 3 pixels.
"""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmkd_tf.edge.picture import PictureError, read_picture
from mmkd_tf.modalities.picture_files import decode_picture, read_pictures

pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data"),
]
HEIGHT, WIDTH = 2, 3
GREY = np.array([[0, 100, 255], [30, 60, 200]], np.uint8)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
OPACITY = np.array([[255, 128, 0], [1, 254, 77]], np.uint8)


def rgb(grey):
    return np.stack([grey] * 3, axis=-1).astype(int)


def on_white(colours, opacity):
    share = opacity[..., np.newaxis] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(int)


def bits(values, depth):
    """Rows of values of less than 8 bit, the first in the highest bits."""
    rows = ["".join(f"{value:0{depth}b}" for value in row) for row in values]
    rows = [row.ljust(-(-len(row) // 8) * 8, "0") for row in rows]
    return [int(row, 2).to_bytes(len(row) // 8, "big") for row in rows]


def chunk(name, content):
    content = name + content
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def png(rows, depth=8, colours=0, *, before=b"", size=(WIDTH, HEIGHT)):
    header = struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def rows(values, dtype=np.uint8):
    return [np.ascontiguousarray(row, dtype).tobytes() for row in np.asarray(values)]


def exif(orientation, order="<"):
    begin = b"II*\0" if order == "<" else b"MM\0*"
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return begin + struct.pack(f"{order}IH", 8, 2) + maker + entry + bytes(4)


def tiff(data, *, depth=8, white=1, samples=1, form=1, size=(WIDTH, HEIGHT), **more):
    """A TIFF of one strip, little end first; `white` 0 means that zero is white."""
    tags = {256: size[0], 257: size[1], 258: depth, 259: 1, 262: white, 277: samples}
    tags |= {278: size[1], 339: form, **{int(tag[1:]): value for tag, value in more.items()}}
    tags |= {273: 8 + 2 + 12 * (len(tags) + 2) + 4, 279: len(data)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + data


def bmp(lines, *, depth=24, size=(WIDTH, HEIGHT), compression=0, header=40, palette=b""):
    lines = [line.ljust(-(-len(line) // 4) * 4, b"\0") for line in lines]
    data, begin = b"".join(lines), 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin)
    return (
        head
        + struct.pack("<IiiHHIIiiII", header, *size, 1, depth, compression, len(data), 0, 0, 0, 0)
        + palette
        + data
    )


def saved(picture, form, **options):
    stream = BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def turned(pixels, orientation):
    """What a file must hold to be seen as `pixels`, written out from the definition of EXIF."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: pixels[:, ::-1].swapaxes(0, 1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: pixels[::-1].swapaxes(0, 1),
    }[orientation]


def oriented_png(orientation, order="<"):
    held = turned(RGB, orientation)
    note = chunk(b"eXIf", exif(orientation, order))
    return png(rows(held), 8, 2, before=note, size=held.shape[1::-1])


def oriented_jpeg(orientation):
    """Six patches of 16 x 16, which compression leaves as they are but for some levels."""
    held = patches(turned(GREY, orientation))
    note = b"Exif\0\0" + exif(orientation, ">")
    return saved(Image.fromarray(held), "JPEG", quality=100, exif=note)


def patches(grey):
    return np.kron(rgb(grey).astype("uint8"), np.ones([16, 16, 1], "uint8"))


def animated(form):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    return saved(frames[0], form, save_all=True, append_images=frames[1:], **options)


def webp_of_any_size(width, height):
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return (
        b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 2) + size + b"ANIM"
    )


def jpeg_of_any_size(width, height):
    content = saved(Image.fromarray(RGB), "JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def png_of_any_size(width, height):
    return png(rows(RGB), 8, 2, size=(width, height))


def bmp_of_any_size(width, height):
    return bmp(rows(RGB), size=(width, height))


DEEP = GREY.astype(int) * 257
COARSE = {1: GREY > 90, 2: GREY // 64, 4: GREY // 16}
PALETTE = np.array([[200, 0, 0], [0, 150, 0], [0, 0, 90]], np.uint8)
PLACES = np.array([[0, 1, 2], [2, 0, 1]])
INK = np.stack([GREY, GREY[::-1], GREY[:, ::-1], GREY // 3], axis=-1)
OF_INK = np.rint((255 - INK[..., :3].astype(int)) * (255 - INK[..., 3:].astype(int)) / 255)
WITH_OPACITY = np.concatenate([RGB, OPACITY[..., np.newaxis]], axis=-1)
BGR = RGB[::-1, :, ::-1]
TRANSPARENT_100 = np.where(GREY == 100, 255, GREY)
A_COLOUR_LESS = RGB.astype(int)
A_COLOUR_LESS[0, 1] = 255
SMALL = np.array(Image.fromarray(patches(GREY)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
NO_TIFF, NO_GIF, NO_WEBP = "Received: TIFF", "Received: GIF", "Received: WebP"
NO_BMP = "a bitmap of another form"
NO_WHITE = "nothing says which is white"

# What is read; what the reader of files gives, or a piece of its error; the same of the SavedModel,
# where that is something else.
CASES = {
    "grey": (png(rows(GREY)), rgb(GREY)),
    "grey of 16 bit": (png(rows(DEEP, ">u2"), 16), rgb(GREY)),
    "grey of 1 bit": (png(bits(COARSE[1] * 1, 1), 1), rgb(COARSE[1] * 255)),
    "grey of 2 bit": (png(bits(COARSE[2], 2), 2), rgb(COARSE[2] * 85)),
    "grey of 4 bit": (png(bits(COARSE[4], 4), 4), rgb(COARSE[4] * 17)),
    "grey, one value transparent": (
        png(rows(GREY), before=chunk(b"tRNS", b"\0\x64")),
        rgb(TRANSPARENT_100),
    ),
    "grey of 16 bit, one value transparent": (
        png(rows(DEEP, ">u2"), 16, before=chunk(b"tRNS", struct.pack(">H", 25700))),
        rgb(TRANSPARENT_100),
    ),
    "grey of 1 bit, black transparent": (
        png(bits(COARSE[1] * 1, 1), 1, before=chunk(b"tRNS", b"\0\0")),
        rgb(GREY * 0 + 255),
    ),
    "colours": (png(rows(RGB), 8, 2), RGB),
    "colours of 16 bit": (png(rows(RGB.astype(int) * 257, ">u2"), 16, 2), RGB),
    "colours, one transparent": (
        png(rows(RGB), 8, 2, before=chunk(b"tRNS", struct.pack(">HHH", *RGB[0, 1]))),
        A_COLOUR_LESS,
    ),
    "colours of 16 bit, one transparent": (
        png(
            rows(RGB.astype(int) * 257, ">u2"),
            16,
            2,
            before=chunk(b"tRNS", struct.pack(">HHH", *RGB[0, 1].astype(int) * 257)),
        ),
        "16-bit colours, one of them transparent",
        A_COLOUR_LESS,
    ),
    "a palette": (
        png(rows(PLACES), 8, 3, before=chunk(b"PLTE", PALETTE.tobytes())),
        PALETTE[PLACES],
    ),
    "a palette with opacities": (
        png(
            rows(PLACES),
            8,
            3,
            before=chunk(b"PLTE", PALETTE.tobytes()) + chunk(b"tRNS", b"\xff\x80"),
        ),
        on_white(PALETTE[PLACES], np.array([255, 128, 255])[PLACES]),
    ),
    "grey with opacity": (
        png(rows(np.stack([GREY, OPACITY], axis=-1)), 8, 4),
        on_white(rgb(GREY), OPACITY),
    ),
    "grey of 16 bit with opacity": (
        png(rows(np.stack([DEEP, OPACITY.astype(int) * 257], axis=-1), ">u2"), 16, 4),
        on_white(rgb(GREY), OPACITY),
    ),
    "colours with opacity": (png(rows(WITH_OPACITY), 8, 6), on_white(RGB, OPACITY)),
    **{f"PNG turned, {o}": (oriented_png(o), RGB) for o in range(1, 9)},
    **{f"PNG turned, big end first, {o}": (oriented_png(o, ">"), RGB) for o in (3, 6, 7)},
    **{f"JPEG turned, {o}": (oriented_jpeg(o), SMALL) for o in range(1, 9)},
    "an orientation that is none": (
        png(rows(RGB), 8, 2, before=chunk(b"eXIf", exif(9))),
        RGB,
    ),
    "a note of noise": (png(rows(RGB), 8, 2, before=chunk(b"eXIf", b"II*\0" + b"\xff" * 90)), RGB),
    "a note cut off": (png(rows(RGB), 8, 2, before=chunk(b"eXIf", exif(6)[:20])), RGB),
    "TIFF": (tiff(GREY.tobytes()), rgb(GREY), NO_TIFF),
    "TIFF, zero is white": (tiff((255 - GREY).tobytes(), white=0), rgb(GREY), NO_TIFF),
    "TIFF of 16 bit": (tiff(DEEP.astype("<u2").tobytes(), depth=16), rgb(GREY), NO_TIFF),
    "TIFF of 16 bit, zero is white": (
        tiff((65535 - DEEP).astype("<u2").tobytes(), depth=16, white=0),
        rgb(GREY),
        NO_TIFF,
    ),
    "TIFF of 16 bit, turned": (
        tiff(turned(DEEP, 6).astype("<u2").tobytes(), depth=16, size=(2, 3), t274=6),
        rgb(GREY),
        NO_TIFF,
    ),
    "TIFF of 12 bit": (
        tiff(b"".join(bits(np.rint(GREY * (4095 / 255)).astype(int), 12)), depth=12),
        rgb(GREY),
        NO_TIFF,
    ),
    "TIFF of 32 bit": (tiff(GREY.astype("<i4").tobytes(), depth=32, form=2), NO_WHITE, NO_TIFF),
    "TIFF of 32 bit, unsigned": (tiff(GREY.astype("<u4").tobytes(), depth=32), NO_WHITE, NO_TIFF),
    "TIFF of 16 bit, signed": (
        tiff(GREY.astype("<i2").tobytes(), depth=16, form=2),
        NO_WHITE,
        NO_TIFF,
    ),
    "TIFF of floating-point numbers": (
        tiff((GREY / 255).astype("<f4").tobytes(), depth=32, form=3),
        NO_WHITE,
        NO_TIFF,
    ),
    "TIFF of inks": (
        saved(Image.fromarray(INK, "CMYK"), "TIFF"),
        OF_INK,
        NO_TIFF,
    ),
    "TIFF of LAB": (saved(Image.fromarray(RGB, "LAB"), "TIFF"), "LAB", NO_TIFF),
    "a bitmap": (bmp(rows(BGR)), RGB),
    "a bitmap, uppermost row first": (bmp(rows(BGR[::-1]), size=(WIDTH, -HEIGHT)), RGB),
    "a bitmap of 32 bit": (
        bmp(rows(np.concatenate([BGR, BGR[..., :1] * 0], axis=-1)), depth=32),
        RGB,
    ),
    "a bitmap with a palette": (
        bmp(
            rows(PLACES[::-1]),
            depth=8,
            palette=np.pad(PALETTE[:, ::-1], [(0, 253), (0, 1)]).tobytes(),
        ),
        PALETTE[PLACES],
        NO_BMP,
    ),
    "an animated GIF": (animated("GIF"), RGB, NO_GIF),
    "an animated WebP": (animated("WEBP"), RGB, NO_WEBP),
    "a WebP": (saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB, NO_WEBP),
    # Headers that claim what no machine holds, and less than nothing.
    "a PNG of 10 gigapixels": (png_of_any_size(100_000, 100_000), "enormous", "100000 x 100000"),
    "a PNG as large as can be said": (
        png_of_any_size(2**32 - 1, 2**32 - 1),
        "damaged|enormous",
        "",
    ),
    "a PNG one row too large": (png_of_any_size(8000, 8001), "enormous", "8000 x 8001"),
    # Opacity takes a value more of each pixel.
    "a PNG with opacity, one row too large": (
        png([], 8, 6, size=(8000, 6001)),
        "damaged",
        "transparent 48,000,000.*8000 x 6001",
    ),
    "a PNG with a transparent colour, one row too large": (
        png([], 8, 2, before=chunk(b"tRNS", bytes(6)), size=(8000, 6001)),
        "damaged",
        "8000 x 6001",
    ),
    "a PNG without opacity of that size": (
        png([], 8, 2, size=(8000, 6001)),
        "damaged",
        "^(?!.*claims)",
    ),
    "a PNG of no rows": (png_of_any_size(3, 0), "damaged|no pixels", "3 x 0"),
    "a PNG strip": (png_of_any_size(30_000_000, 1), "strip", "30000000 x 1"),
    "a JPEG of 4 gigapixels": (jpeg_of_any_size(65500, 65500), "enormous", "65500 x 65500"),
    "a JPEG one row too large": (jpeg_of_any_size(8000, 8001), "enormous", "8000 x 8001"),
    "a bitmap of 4 exapixels": (bmp_of_any_size(2**31 - 1, 2**31 - 1), "enormous", "2147483647"),
    "a bitmap of the least height": (
        bmp_of_any_size(3, -(2**31)),
        "enormous|damaged",
        "2147483648",
    ),
    "a bitmap of negative width": (bmp_of_any_size(-3, 2), "damaged|enormous|none of", "1 to 64"),
    "a bitmap of no rows": (bmp_of_any_size(3, 0), "damaged|no pixels", "3 x 0"),
    "a bitmap with rows missing": (bmp_of_any_size(3, 2000), "damaged", "."),
    "a compressed bitmap": (bmp(rows(BGR), compression=1, depth=8), "damaged", NO_BMP),
    "a bitmap with another header": (bmp(rows(BGR), header=12), ".", NO_BMP),
    "a WebP of 268 megapixels": (webp_of_any_size(16_384, 16_384), "none of|enormous", NO_WEBP),
    "a GIF of 4 gigapixels": (b"GIF89a" + 4 * b"\xff" + bytes(90), "damaged|enormous", NO_GIF),
    # Damage.
    "a PNG cut off": (png(rows(RGB), 8, 2)[:-30], "damaged", "."),
    "a PNG with another first chunk": (
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") + png(rows(RGB), 8, 2)[8:],
        RGB,
        "something else",
    ),
    "a PNG with a wrong checksum": (png(rows(RGB), 8, 2).replace(b"IDAT", b"IDAU"), "damaged", "."),
    "a JPEG of two bytes more than none": (b"\xff\xd8\xff\xe0", "none of|damaged", "."),
    "a JPEG cut off": (oriented_jpeg(1)[:300], "damaged", "."),
    "words": (b"This is no picture at all.", "none of", "something else"),
    "one byte": (b"\x89", "none of", "something else"),
}


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda content: decode_picture(content, height=HEIGHT, width=WIDTH),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )


def close(found, expected, name):
    return np.abs(found.astype(int) - expected).max() <= (3 if "JPEG" in name else 1)


@pytest.mark.parametrize("name", CASES)
def test_the_reader_of_files(name):
    content, expected = CASES[name][:2]
    if isinstance(expected, str):
        with pytest.raises(PictureError, match=expected):
            read_picture(content, height=HEIGHT, width=WIDTH)
    else:
        assert close(read_picture(content, height=HEIGHT, width=WIDTH), expected, name)


def test_the_reader_of_tables():
    cells = [case[0] for case in CASES.values()]
    values, problems = read_pictures(cells, size=2)
    refused = {i for i, case in enumerate(CASES.values()) if isinstance(case[1], str)}
    assert set(problems) == refused
    assert all(values[i].any() for i in range(len(cells)) if i not in refused)


@pytest.mark.parametrize("name", CASES)
def test_the_reader_in_a_saved_model(name, decode):
    content, *expected = CASES[name]
    expected = expected[-1]
    if isinstance(expected, str):
        with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
            decode(content)
    else:
        assert close(decode(content).numpy(), expected, name)


def test_a_picture_of_no_bytes_is_none(decode):
    assert not decode(b"").numpy().any()
    with pytest.raises(PictureError, match="it is empty"):
        read_picture(b"", height=HEIGHT, width=WIDTH)
