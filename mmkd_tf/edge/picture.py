"""Reads a picture, however it is stored, as the uint8 RGB array that models take."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np

from mmkd_tf.edge.pixels import FORMATS, PictureError, check_pixels

# Pillow is imported inside the functions: importing mmkd_tf.edge must be quick.

MAX_PIXELS = 64_000_000


def read_picture(source, *, height: int, width: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a picture as upright RGB, stretched to the size that a model takes.

    Transparent parts become white, grey and palette pictures RGB, 16-bit values 8-bit ones; of an
    animation the first frame counts. The size is changed by bilinear interpolation with
    antialiasing; `tf.image.resize(..., antialias=True)` gives the same within two levels.

    All zeros is the contract's sign for an absent picture. A file or a Pillow image that is all
    black is nevertheless there, so its values become 1, a difference that no eye sees. An array
    of zeros may come from a dataset, where it means absent, and stays as it is.

    Args:
        source: A path; the bytes of a picture file; a Pillow image; or an array `[h, w]`,
            `[h, w, 1]`, `[h, w, 3]` or `[h, w, 4]` (the fourth channel is opacity) of any number
            type with values 0 to 255.
        height: Rows of the result in pixels.
        width: Columns of the result in pixels.
        max_pixels: Largest number of pixels to decode: a file of a few bytes can claim billions.
            The file's header is asked, so nothing is decoded in vain.

    Returns:
        uint8 `[height, width, 3]`, 0 to 255.

    Raises:
        PictureError: A `ValueError`: the picture is missing, unreadable, cut off, empty, larger
            than `max_pixels`, or has other values than 0 to 255.
        TypeError: If `source` is none of the above.
    """
    from PIL import Image

    if isinstance(source, (str, os.PathLike)):
        received, file = f"'{os.fspath(source)}'", Path(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        received, file = f"{len(source):,} bytes", BytesIO(source)
    elif isinstance(source, Image.Image):
        received, file = f"a Pillow image of mode {source.mode}", None
    else:
        image = Image.fromarray(check_pixels(source))
        return np.array(_to_rgb(image).resize((width, height), Image.Resampling.BILINEAR))
    try:
        if file is None:
            pixels = _decode(source, height, width, max_pixels)
        else:
            with _open(file) as image:
                pixels = _decode(image, height, width, max_pixels, shrink=True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # decoders meet damage with errors of a dozen types
        raise PictureError(_explain(error), received=received) from error
    return pixels if pixels.any() else pixels + 1


class _Unusable(Exception):
    """Carries a reason that is already in words for people."""


def _open(file: Path | BytesIO):
    from PIL import Image

    if isinstance(file, Path) and not file.is_file():
        # Not left to open(), which would wait for ever on a pipe.
        raise _Unusable("it is not a file" if file.exists() else "there is no such file")
    size = file.stat().st_size if isinstance(file, Path) else file.getbuffer().nbytes
    if size == 0:
        raise _Unusable("it is empty (0 bytes); save or copy it again")
    return Image.open(file, formats=FORMATS)


def _decode(image, height: int, width: int, max_pixels: int, *, shrink: bool = False) -> np.ndarray:
    """Turns a Pillow image into uint8 `[height, width, 3]`; `shrink` may change the image."""
    from PIL import Image

    if 0 in image.size:
        raise _Unusable(f"it has no pixels ({image.width} x {image.height})")
    if image.width * image.height > max_pixels:
        raise _Unusable(
            f"it is enormous: {image.width:,} x {image.height:,} pixels, "
            f"more than max_pixels={max_pixels:,}; make it smaller"
        )
    if shrink:
        # A JPEG photograph decoded at 1/2 to 1/8 of its size, yet at least 8 times the size wanted:
        # a third of the time and within a level of the same result. Other formats ignore it.
        image.draft(None, (8 * max(height, width),) * 2)
    rgb = _to_rgb(_upright(image))
    return np.array(rgb.resize((width, height), Image.Resampling.BILINEAR))


def _upright(image):
    """Turns a photograph as its EXIF orientation says."""
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged note about a picture doesn't make the picture unreadable
        return image


def _to_rgb(image):
    """Gives mode RGB: transparency on white, 16-bit values scaled, not clipped as Pillow does."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _Unusable("its values are beyond 16 bit; save it with 8 or 16 bit per pixel")
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    elif image.mode == "F":
        raise _Unusable("its values are floating-point; save it with 8 or 16 bit per pixel")
    elif image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image.convert("RGB")


def _explain(error: Exception) -> str:
    """Says in words for people why a picture can't be used."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "it is enormous, more pixels than Pillow agrees to decode; make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}, or its beginning is damaged"
    if isinstance(error, OSError) and error.errno:  # from the system, not from a decoder
        return f"it can't be read: {error.strerror}"
    return f"it is damaged or cut off ({error}); save or copy it again"
