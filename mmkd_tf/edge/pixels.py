"""Checks arrays of pixels, and says what is wrong with a picture."""

import numpy as np

# Other decoders of Pillow start outside programs or serve no photographs and drawings.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


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


def check_pixels(source) -> np.ndarray:
    """Checks an array of pixels.

    Args:
        source: What should be an array, see `mmkd_tf.edge.picture.read_picture`.

    Returns:
        uint8 `[h, w]`, `[h, w, 3]` or `[h, w, 4]`, 0 to 255.

    Raises:
        PictureError: A `ValueError`, if its shape or its values are others.
        TypeError: If it isn't an array of numbers.
    """
    try:
        pixels = np.asarray(source)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise TypeError(
            "`source`: a path, the bytes of a picture, a Pillow image or an array of numbers. "
            f"Received: {type(source).__name__} that is no array ({error})."
        ) from error
    if pixels.dtype.kind not in "uif":
        raise TypeError(
            "`source`: a path, the bytes of a picture, a Pillow image or an array of numbers. "
            f"Received: {type(source).__name__}"
            + (f" of {pixels.dtype}." if pixels.ndim else ". Leave an absent picture out.")
        )
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
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= 255):  # NaN fails both comparisons
            raise PictureError(
                f"its values go from {low:g} to {high:g}; scale them to 0 to 255",
                received=received,
            )
        if pixels.dtype.kind == "f" and 0 < high <= 1:
            raise PictureError(
                f"its largest value is {high:g}, as if they were 0 to 1; multiply them by 255",
                received=received,
            )
        pixels = np.round(pixels).astype(np.uint8)
    return np.ascontiguousarray(pixels)
