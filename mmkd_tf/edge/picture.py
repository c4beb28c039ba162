"""Reads a picture, however it is stored, as the uint8 RGB array that models take."""

import math
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np

# Pillow is imported inside the functions: importing mmkd_tf.edge must be quick.

MAX_PIXELS = 64_000_000
# Other decoders of Pillow start outside programs or serve no photographs and drawings.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_REFUSED_MODES = {
    "I": "its values are of 32 bit or signed, and nothing says which is white",
    "F": "its values are floating-point, and nothing says which is white",
    "LAB": "its colours are those of LAB",
}
_TIFF_BITS, _TIFF_WHITE = 258, 262  # tags: bits of a value; 0 where zero is white
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class PictureError(ValueError):
    """A picture that can't be used.

    Attributes:
        reason: What is wrong and what to do, without the picture's name; for lists of problems.
    """

    def __init__(self, reason: str, *, received: str):
        super().__init__(
            f"`source`: a picture ({', '.join(FORMATS)}) or its pixels. "
            f"Received: {received}: {reason}."
        )
        self.reason = reason


class PictureReader:
    """Reads pictures for one input of a model, see `mmkd_tf.edge.examples.Reader`.

    An input may be a set of pictures, `[views, height, width, 3]`.
    """

    items = "paths of pictures"
    reads_files = True
    absent = "An array of zeros counts as an absent picture."

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        description: Mapping,
        files: Mapping[str, str],
    ):
        if len(shape) not in (3, 4) or shape[-1] != 3 or dtype.name not in ("uint8", "float32"):
            raise ValueError(
                "pictures are uint8 or float32 [batch, height, width, 3], sets of them "
                "[batch, views, height, width, 3]"
            )
        self._name, self._height, self._width = name, shape[-3], shape[-2]
        self._views = shape[0] if len(shape) == 4 else None
        self.trial = np.zeros(shape, dtype)
        if self._views is not None:
            self.items = "lists of paths of pictures"

    def __call__(self, value) -> np.ndarray:
        """Gives uint8 `[height, width, 3]` of what `read_picture` takes.

        Of a set `[views, height, width, 3]` of a list, in which None is an absent picture, of an
        array `[number, h, w, 3]`, or of paths in one text with commas between.
        """
        if self._views is None:
            return self._read(value, f"`{self._name}`")
        if isinstance(value, str):
            value = [path.strip() or None for path in value.split(",")]
        numbers = isinstance(value, np.ndarray) and value.ndim == 4
        if not numbers and not isinstance(value, (list, tuple)):
            raise TypeError(
                f"`{self._name}`: a list of pictures. Received: {self._name}="
                f"{type(value).__name__}. Put a single one into a list."
            )
        if len(value) > self._views:
            raise ValueError(
                f"`{self._name}`: at most {self._views} pictures. Received: {len(value)}. Leave "
                "some out."
            )
        pictures = np.zeros(self.trial.shape, np.uint8)
        for index, one in enumerate(value):
            if one is not None:
                pictures[index] = self._read(one, f"`{self._name}[{index}]`")
        return pictures

    def _read(self, value, name: str) -> np.ndarray:
        try:
            return read_picture(value, height=self._height, width=self._width)
        except (PictureError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(str(error).replace("`source`", name, 1)) from error


def read_picture(source, *, height: int, width: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a picture as upright RGB, stretched to the size that a model takes.

    Transparent parts become white, grey and palette pictures RGB, 16-bit values 8-bit ones; of an
    animation the first frame counts. Values of 32 bit, signed or floating-point ones are refused:
    nothing says which of them is white. The size is changed by bilinear interpolation with
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
        image = Image.fromarray(_check_pixels(source))
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
    if math.prod(max(side, height, width) for side in image.size) > MAX_PIXELS:
        raise _Unusable(
            f"it is a strip of {image.width:,} x {image.height:,} pixels, which has more than "
            f"{MAX_PIXELS:,} once it is stretched; cut it into pictures"
        )
    tags = getattr(image, "tag_v2", {})  # of TIFF; an image that is turned has them no more
    if shrink:
        # A JPEG photograph decoded at 1/2 to 1/8 of its size, yet at least 8 times the size wanted:
        # a third of the time and within a level of the same result. Other formats ignore it.
        image.draft(None, (8 * max(height, width),) * 2)
    rgb = _to_rgb(_upright(image), tags)
    return np.array(rgb.resize((width, height), Image.Resampling.BILINEAR))


def _upright(image):
    """Turns a photograph as its EXIF orientation says."""
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged note about a picture doesn't make the picture unreadable
        return image


def _to_rgb(image, tags: Mapping = MappingProxyType({})):
    """Gives mode RGB: transparency on white, 16-bit values scaled, not clipped as Pillow does."""
    from PIL import Image

    if image.mode in _REFUSED_MODES:
        raise _Unusable(f"{_REFUSED_MODES[image.mode]}; save it as RGB or grey of 8 or 16 bit")
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_of_8_bits(image, tags))
    elif max(*_transparent_colour(image), 0, 0) > 255:
        raise _Unusable("it has 16-bit colours, one of them transparent; save it with 8 bit")
    elif image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image.convert("RGB")


def _transparent_colour(image) -> tuple[int, ...]:
    colour = image.info.get("transparency")
    return colour if image.mode == "RGB" and isinstance(colour, tuple) else ()


def _of_8_bits(image, tags: Mapping) -> np.ndarray:
    """Scales grey of 16 bit, or of the 9 to 15 that a TIFF says, and lays it on white: uint8."""
    values = np.asarray(image)
    most = 2 ** tags.get(_TIFF_BITS, (16,))[0] - 1
    if tags.get(_TIFF_WHITE) == 0:  # Pillow turns such pictures over where they have 8 bits alone
        values = most - values
    if isinstance(image.info.get("transparency"), int):
        values = np.where(values == image.info["transparency"], most, values)
    return np.round(values / (most / 255)).astype(np.uint8)


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


def _check_pixels(source) -> np.ndarray:
    """Gives uint8 `[h, w]`, `[h, w, 3]` or `[h, w, 4]` of what should be an array of pixels."""
    wanted = "`source`: a path, the bytes of a picture, a Pillow image or an array of numbers."
    received = f"Received: {type(source).__name__}"
    try:
        pixels = np.asarray(source)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise TypeError(f"{wanted} {received} that is no array ({error}).") from error
    if pixels.dtype.kind not in "uif":
        more = f" of {pixels.dtype}." if pixels.ndim else ". Leave an absent picture out."
        raise TypeError(f"{wanted} {received}{more}")
    received = f"an array of {pixels.dtype} {list(pixels.shape)}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise PictureError(
            "its shape is none of [h, w], [h, w, 1], [h, w, 3], [h, w, 4]; "
            "give one picture at a time, channels last",
            received=received,
        )
    if pixels.size == 0:
        raise PictureError("it has no pixels", received=received)
    if pixels.dtype != np.uint8:
        low, high, reason = pixels.min(), pixels.max(), None
        if not (low >= 0 and high <= 255):  # NaN fails both comparisons
            reason = f"its values go from {low:g} to {high:g}; scale them to 0 to 255"
        elif pixels.dtype.kind == "f" and 0 < high <= 1:
            reason = f"its largest value is {high:g}, as if they were 0 to 1; multiply them by 255"
        if reason:
            raise PictureError(reason, received=received)
        pixels = np.round(pixels).astype(np.uint8)
    return np.ascontiguousarray(pixels)
