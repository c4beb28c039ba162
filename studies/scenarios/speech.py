"""Builds tables of pictures with spoken descriptions, and the subject to sort them into.

    pip install resvg==0.2.0
    python studies/scenarios/speech.py studies/scenarios/sets

A row is a stamp of the drawing program Tux Paint: its picture on white (128 x 128 pixels), what a
French speaker says of it, such as "Un merle" (Ogg Vorbis, 0.4 to 7 seconds), the same written,
and as its class the folder that it is in: animals, vehicles, food and so on. Folders with fewer
than 10 stamps (medical, naturalforces) are left out.

Of 925 stamps with all three, 917 are left, in 14 classes: symbols, mostly letters and coins, are
249, military 11, sports 13. Sounds are short, half of them last less than 1.1 seconds.

Stamps that are alike are in one split: those of one French or English description, with one name of
the file but for numbers, with nearly the same picture or the very same sound, and the forms of a
letter in all alphabets. So a model hears sentences in test that it has not heard, by the voice that
it has: Jacques Chion, it seems, speaks all of them. Of words heard some hundred times at most a
model from scratch makes little; what the sounds are worth beside pictures is the question.

Debian's tuxpaint-stamps-default 2022.06.04 (apt-get download, 161 MB), GPL 2; the French sounds are
part of it. Pictures are changed works: laid on white, those in SVG rendered.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple

import pandas as pd
import typer
from common import Package, fetch, join_groups, members, on_white, picture_keys, split, write

STAMPS = Package(
    "apt",
    "tuxpaint-stamps-default=2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)
FOLDER = "usr/share/tuxpaint/stamps/"
LANGUAGE = "fr"  # that of which the most stamps have sounds
FEWEST = 10  # stamps of a class
SIZE = 128  # pixels


class Stamp(NamedTuple):
    """A stamp: its path without a suffix, descriptions by language, its sound and picture."""

    path: PurePosixPath
    texts: dict[str, str]
    sound: bytes
    picture: bytes
    is_svg: bool

    @property
    def label(self) -> str:
        """Its class."""
        return self.path.parts[0]


def read_stamps(files: Mapping[str, bytes]) -> list[Stamp]:
    """Reads the stamps with a picture, a description and its sound, in order of their paths."""
    stamps = []
    for name in sorted(files):
        if not (name.startswith(FOLDER) and name.endswith(".txt")):
            continue
        stem = name.removesuffix(".txt")
        sound = files.get(f"{stem}_desc_{LANGUAGE}.ogg")
        drawn = files.get(f"{stem}.png") or files.get(f"{stem}.svg")
        texts = _descriptions(files[name].decode("utf-8", errors="replace"))
        if sound and drawn and texts.get(LANGUAGE):
            path = PurePosixPath(stem.removeprefix(FOLDER))
            stamps.append(Stamp(path, texts, sound, drawn, f"{stem}.png" not in files))
    counts = pd.Series([stamp.label for stamp in stamps]).value_counts()
    kept = [stamp for stamp in stamps if counts[stamp.label] >= FEWEST]
    typer.echo(f"{len(stamps)} stamps, {len(kept)} in folders with {FEWEST} or more")
    return kept


def _descriptions(content: str) -> dict[str, str]:
    """By language what the lines of a description say; the first is in English."""
    first, *others = content.splitlines() or [""]
    texts = {"en": first.strip()}
    for line in others:
        if match := re.match(r"([\w@]+)\.utf8=(.*)", line):
            texts[match[1]] = match[2].strip()
    return texts


def likeness(stamp: Stamp) -> set:
    """Gives what stamps share that are alike, pictures apart."""
    keys = {(language, stamp.texts[language].casefold()) for language in ("en", LANGUAGE)}
    keys |= {("file", re.sub(r"[-_\d]", "", str(stamp.path)).casefold()), ("sound", stamp.sound)}
    if "alphabets" in stamp.path.parts:
        keys.add(("letter", stamp.path.name.partition("_")[0].casefold()))
    return keys


def draw(stamp: Stamp) -> bytes:
    """Gives the picture as a file that Pillow reads."""
    if not stamp.is_svg:
        return stamp.picture
    try:
        import resvg
    except ImportError:
        raise SystemExit("To render the drawings: pip install resvg==0.2.0") from None
    drawing = stamp.picture.decode("utf-8", errors="replace")
    tree = resvg.usvg.Tree.from_str(drawing, resvg.usvg.Options.default())
    return bytes(resvg.render(tree, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)))


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the tables of stamps with pictures, spoken and written descriptions."""
    folder = output / "speech"
    for name in ("images", "sounds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stamps = read_stamps(members(fetch(STAMPS, archives or output / "archives")))
    images = [f"images/{row:03d}.png" for row in range(len(stamps))]
    sounds = [f"sounds/{row:03d}.ogg" for row in range(len(stamps))]
    for stamp, image, sound in zip(stamps, images, sounds, strict=True):
        on_white(draw(stamp), SIZE).save(folder / image)
        (folder / sound).write_bytes(stamp.sound)
    alike = picture_keys([folder / image for image in images])
    groups = join_groups(
        [likeness(stamp) | keys for stamp, keys in zip(stamps, alike, strict=True)]
    )
    typer.echo(f"{len(set(groups))} groups of stamps that are alike")
    labels = [stamp.label for stamp in stamps]
    texts = [stamp.texts[LANGUAGE] for stamp in stamps]
    rows = pd.DataFrame({"image": images, "audio": sounds, "text": texts, "label": labels})
    write(rows, split(labels, groups), folder, label="label")


if __name__ == "__main__":
    typer.run(main)
