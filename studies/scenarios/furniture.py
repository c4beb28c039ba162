"""Builds tables of furniture: a picture and a name, and the category to sort it into.

    python studies/scenarios/furniture.py studies/scenarios/sets

A row is a model of the catalogs that come with Sweet Home 3D: its icon on white (128 x 128 pixels)
and its English name, such as "Coffee table". Of the 820 models 818 are left, in 11 categories;
Staircases, with 2, is dropped. "Miscellaneous" is a class like the others, and one that means
little: musical instruments, clothes, sports. The train-languages, validation-languages and
test-languages tables have the same models six times, each with its name in one of six languages.

The split is by model, and models that are alike are in one split: those of one English name, with
one name of the file but for a number, with equally many corners and faces (one form in several
colours), or with nearly the same icon. So no English name of test is one of training, and a model
must know what a word means. In another language two words may be one: of 1,242 rows of
test-languages 147 have a name that some row of train-languages has.

Debian's sweethome3d-furniture 1.8 (apt-get download, 120 MB). Licences by catalog: Scopia (395
models) and Blend Swap CC-BY (135) CC BY 3.0, Kator Legaz (90) and Reallusion (25) CC BY 3.0 US,
Blend Swap CC-0 (175) CC0; the makers are in the column `creator`. Names: Emmanuel Puybaret / eTeks,
as the catalogs. Icons and tables are changed works: the former were laid on white.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from common import Package, fetch, join_groups, members, on_white, picture_keys, split, write

FURNITURE = Package(
    "apt",
    "sweethome3d-furniture=1.8-1",
    "sweethome3d-furniture_1.8-1_all.deb",
    "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
)
LANGUAGES = {"en": "", "de": "_de", "es": "_es", "fr": "_fr", "ru": "_ru", "zh": "_zh_CN"}
FEWEST = 10  # models of a category
ICON_SIZE = 128  # pixels


class Model(NamedTuple):
    """A model of a catalog: what the catalog says of it, its names and its catalog's files."""

    values: dict[str, str]
    names: dict[str, str]
    files: dict[str, bytes]

    @property
    def category(self) -> str:
        """Its class, in English."""
        return self.values["category"]

    @property
    def shape(self) -> bytes:
        """Its form as an OBJ file."""
        return self.file("model")

    def file(self, name: str) -> bytes:
        """A file that the catalog names."""
        return self.files[self.values[name].lstrip("/")]


def read_models(archives: Path) -> list[Model]:
    """Reads the models of all catalogs whose category has enough of them, always in one order."""
    models = []
    for path, content in sorted(members(fetch(FURNITURE, archives)).items()):
        if path.endswith(".sh3f"):
            models += _read_catalog(members(content))
    categories = pd.Series([model.category for model in models])
    kept = (categories.map(categories.value_counts()) >= FEWEST).to_numpy()
    typer.echo(f"{len(models)} models, {kept.sum()} of categories with {FEWEST} or more")
    return [model for model, keep in zip(models, kept, strict=True) if keep]


def _read_catalog(files: dict[str, bytes]) -> list[Model]:
    texts = {
        language: _properties(files[f"PluginFurnitureCatalog{suffix}.properties"])
        for language, suffix in LANGUAGES.items()
    }
    models = []
    for number, values in sorted(texts["en"].items()):
        names = {language: own[number]["name"] for language, own in texts.items()}
        models.append(Model(values, names, files))
    return models


def _properties(content: bytes) -> dict[int, dict[str, str]]:
    r"""Reads a file of Java properties, NAME#NUMBER=VALUE, with characters such as \u00e9."""
    found: dict[int, dict[str, str]] = {}
    for line in content.decode("latin-1").splitlines():
        if match := re.match(r"(\w+)#(\d+)\s*=\s*(.*)", line):
            name, number, value = match.groups()
            value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)
            found.setdefault(int(number), {})[name] = value.replace("\\", "").strip()
    return found


def likeness(model: Model) -> set:
    """Gives what models share that are alike, icons apart."""
    stem = model.values["id"].casefold()
    while (shorter := re.sub(r"[-_ ]*\d+$", "", stem)) != stem:
        stem = shorter
    lines = model.shape.splitlines()
    counts = tuple(sum(line.startswith(start) for line in lines) for start in (b"v ", b"f "))
    return {("name", model.names["en"].casefold()), ("id", stem), ("form", *counts)}


def split_models(models: Sequence[Model], icons: Sequence[Path]) -> np.ndarray:
    """Gives each model its split; the same in every table of furniture."""
    pairs = zip(models, picture_keys(icons), strict=True)
    groups = join_groups([likeness(model) | alike for model, alike in pairs])
    sizes = np.unique(groups, return_counts=True)[1]
    typer.echo(f"{len(sizes)} groups of models that are alike, the largest of {sizes.max()}")
    return split([model.category for model in models], groups)


def write_icons(models: Sequence[Model], folder: Path) -> list[str]:
    """Writes the icons as PNG files; gives their paths in the folder."""
    (folder / "icons").mkdir(parents=True, exist_ok=True)
    names = [f"icons/{row:03d}.png" for row in range(len(models))]
    for name, model in zip(names, models, strict=True):
        on_white(model.file("icon"), ICON_SIZE).save(folder / name)
    return names


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the tables of furniture with icons and names."""
    folder = output / "furniture"
    models = read_models(archives or output / "archives")
    icons = write_icons(models, folder)
    part = split_models(models, [folder / icon for icon in icons])
    rows = pd.DataFrame(
        {
            "image": icons,
            "text": [model.names["en"] for model in models],
            "label": [model.category for model in models],
            "creator": [model.values["creator"] for model in models],
        }
    )
    write(rows, part, folder, label="label")
    by_language = [
        rows.assign(text=[model.names[language] for model in models], language=language)
        for language in LANGUAGES
    ]
    write(pd.concat(by_language), np.tile(part, len(LANGUAGES)), folder, suffix="-languages")


if __name__ == "__main__":
    typer.run(main)
