"""Builds tables of several pictures, a few words and numbers: the form of a medical record.

    pip install trimesh
    python studies/scenarios/furniture_views.py studies/scenarios/sets

The models, icons, categories and splits of furniture.py, where their source and licences are. Each
model is rendered here from its OBJ file as seen from the front, from its right side and from above,
96 x 96 pixels, without perspective and at one scale for the three, `views/NNN-front.png` and so on.
The columns are `icon`, `front`, `side`, `top`, the English name as `text`, and numbers: `width`,
`depth`, `height` in centimetres, `elevation`, how far above the floor it hangs, in centimetres,
empty for the six of seven that stand, and `movable`, true or false.

The renderer shows 400,000 points of the surface, the nearest in each pixel, so that any mesh will
do, whichever side its faces show. What is transparent is either there or not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from common import write
from furniture import Model, read_models, split_models, write_icons
from furniture_points import Surface, sample_surface
from PIL import Image

SIZE = 96  # pixels
FINER = 2  # pixels are means of so many squared
NUM_POINTS = 400_000
# Of a view: the axes that go right and up in the picture, and the one towards who looks.
VIEWS = {
    "front": ((0, 1), (1, 1), (2, 1)),
    "side": ((2, -1), (1, 1), (0, 1)),
    "top": ((0, 1), (2, -1), (1, 1)),
}
LIGHT = (0.3, 0.5, 0.8)  # from the right, above and from who looks; 0.25 comes from everywhere
AMBIENT = 0.25


def render(surface: Surface, view: str) -> Image.Image:
    """Renders points from one side on white; see the module's docstring."""
    axes, signs = np.array(VIEWS[view]).T
    points = surface.points[:, axes] * signs
    normals = surface.normals[:, axes] * signs
    side = SIZE * FINER
    sizes = np.ptp(surface.points, axis=0).max()
    middle = (points.min(0) + points.max(0)) / 2
    place = (points[:, :2] - middle[:2]) / max(sizes, 1e-9) * (0.94 * side)
    columns, rows = np.floor(side / 2 + place * (1, -1)).astype(int).T.clip(0, side - 1)
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    shade = AMBIENT + (1 - AMBIENT) * np.abs(normals @ light)
    pixels = np.full((side, side, 3), 255, np.uint8)
    nearest_last = np.argsort(points[:, 2], kind="stable")
    rows, columns = rows[nearest_last], columns[nearest_last]
    pixels[rows, columns] = (surface.colours * shade[:, None])[nearest_last]
    return Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BOX)


def write_views(models: Sequence[Model], folder: Path) -> dict[str, list[str]]:
    """Writes the views of each model; gives by view the files' paths in the folder."""
    (folder / "views").mkdir(parents=True, exist_ok=True)
    names = {view: [f"views/{row:03d}-{view}.png" for row in range(len(models))] for view in VIEWS}
    with typer.progressbar(models, label="views") as progress:
        for row, model in enumerate(progress):
            surface = sample_surface(model, NUM_POINTS, seed=row)
            for view in VIEWS:
                render(surface, view).save(folder / names[view][row])
    return names


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the tables of furniture with four pictures, names and sizes."""
    folder = output / "furniture_views"
    models = read_models(archives or output / "archives")
    icons = write_icons(models, folder)
    part = split_models(models, [folder / icon for icon in icons])
    rows = pd.DataFrame(
        {
            "icon": icons,
            **write_views(models, folder),
            "text": [model.names["en"] for model in models],
            "width": [model.values["width"] for model in models],
            "depth": [model.values["depth"] for model in models],
            "height": [model.values["height"] for model in models],
            "elevation": [model.values.get("elevation", "") for model in models],
            "movable": [model.values["movable"] for model in models],
            "label": [model.category for model in models],
            "creator": [model.values["creator"] for model in models],
        }
    )
    write(rows, part, folder, label="label")


if __name__ == "__main__":
    typer.run(main)
