"""Reads picture files: of many rows in threads, and inside a TensorFlow graph."""

import base64
import io
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import length_hint
from pathlib import Path, PureWindowsPath

import numpy as np
import tensorflow as tf
from PIL import Image

from mmkd_tf.edge.picture import PictureError, read_picture
from mmkd_tf.modalities.cells import cell_text, is_missing, quote
from mmkd_tf.progress import steps

# A decoded photograph takes up to 200 MB: no more threads than this, however many cores.
MAX_THREADS = 8
READ_AT_ONCE = 256
THUMBNAIL = 96  # pixels, the longer side
_NO_FILE = "there is no such file"
_MOST_SEARCHED = 20_000  # files and folders


def read_pictures(
    cells: Iterable, *, size: int, folder: Path | None = None, allow_outside: bool = False
) -> tuple[np.ndarray, dict[int, str]]:
    """Reads the picture of each row: uint8 `[rows, size, size, 3]`, and by row what is wrong.

    A cell is a path, the bytes of a picture file, a dict with one of them under `bytes` or `path`,
    a Pillow image or an array; missing or empty gives zeros. `cells` may be a generator: few are
    held at a time. Paths are relative to `folder`, and may lead out of it if `allow_outside`.
    """
    home = None if folder is None else folder.resolve()

    def read(cell) -> np.ndarray | str:
        try:
            source = _source(cell, home, allow_outside)
            if source is None:
                return np.zeros([size, size, 3], np.uint8)
            return read_picture(source, height=size, width=size)
        except TypeError:
            return f"picture: neither a path nor a picture but a {type(cell).__name__}"
        except (OSError, RuntimeError, ValueError) as error:
            name = f" {quote(cell)}" if isinstance(cell, (str, os.PathLike)) else ""
            return f"picture{name}: {getattr(error, 'reason', error)}"

    chunks, problems, num_rows = [np.zeros([0, size, size, 3], np.uint8)], {}, 0
    cells = iter(cells)
    told = steps("pictures from files", length_hint(cells))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool, told as advance:
        while chunk := list(islice(cells, READ_AT_ONCE)):
            pixels = np.zeros([len(chunk), size, size, 3], np.uint8)
            for index, result in enumerate(pool.map(read, chunk)):
                if isinstance(result, str):
                    problems[num_rows + index] = result
                else:
                    pixels[index] = result
            chunks.append(pixels)
            num_rows += len(chunk)
            advance(len(chunk))
    if home is not None and 1 < len(problems) == num_rows:
        _add_hint(problems, home)
    return np.concatenate(chunks), problems


def _add_hint(problems: dict[int, str], home: Path) -> None:
    """Says with the first path what may be wrong with all of them, where none leads to a file."""
    first = min(problems)
    if not all(_NO_FILE in reason for reason in problems.values()):
        return
    paths = [re.search(r"picture '(.*?)': ", reason) for reason in problems.values()]
    name = PureWindowsPath(paths[0][1]).name if paths[0] else ""
    hint = f"so it is with all {len(problems):,}; paths are relative to the table's folder"
    if name and (found := _find_below(home, name)):
        hint += f", and '{name}' lies in '{found.parent.relative_to(home)}' there"
    elif name:
        hint += f", and no '{name}' lies below it: put the table beside the pictures"
    problems[first] += f" ({hint})"


def _find_below(folder: Path, name: str) -> Path | None:
    """A file of a name somewhere below a folder; large trees are not searched to their end."""
    seen = 0
    for parent, folders, files in os.walk(folder):
        if name in files:
            return Path(parent) / name
        seen += len(files) + len(folders)
        if seen > _MOST_SEARCHED:
            return None
    return None


def _source(cell, home: Path | None, allow_outside: bool):
    """Gives what `read_picture` takes, or None if the cell is empty."""
    if isinstance(cell, dict):  # as Hugging Face's datasets write pictures to Parquet files
        content = cell.get("bytes")
        cell = cell.get("path") if content is None else content
    if not isinstance(cell, (str, os.PathLike)):
        return None if is_missing(cell) else cell
    text = cell_text(cell)
    if not text:
        return None
    if "://" in text:
        raise PictureError("it is an address, not a file; download it first", received=text)
    path = Path(text) if home is None else home / text
    if home is not None and not allow_outside and not path.resolve().is_relative_to(home):
        raise PictureError(
            f"it leads out of the folder '{home}'; move it there or set allow_outside=True",
            received=text,
        )
    if home is not None and not path.exists():
        hint = ""
        if "\\" in text:
            there = (home / text.replace("\\", "/")).exists()
            hint = "; with / in place of \\ it is there: " if there else "; "
            hint += "write paths with /, relative to the table"
        raise PictureError(f"{_NO_FILE} in '{home}'{hint}", received=text)
    return path


def resized(pictures: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Stretches pictures, bilinear with antialiasing; uint8."""
    values = tf.image.resize(tf.cast(pictures, tf.float32), (height, width), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def thumbnail(pixels: np.ndarray) -> str:
    """A small picture of uint8 `[height, width, 3]` as a data URI of PNG or JPEG, the shorter."""
    picture, files = Image.fromarray(np.ascontiguousarray(pixels)), {}
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
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
