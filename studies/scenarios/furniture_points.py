"""Builds tables of furniture as point clouds, as virtual reality and scanners have them.

    pip install trimesh
    python studies/scenarios/furniture_points.py studies/scenarios/sets

The models, icons, categories and splits of furniture.py, where their source and licences are. In
place of the name there are 1,024 points on the model's surface, drawn by area from its OBJ file:
`points/NNN.npy`, float32 `[1024, 3]`, in metres at the model's real size, its base at 0 of the
second axis, which points up, its front towards plus on the third. Surfaces inside of a model, such
as a drawer's, get points too, as the OBJ files have them.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from common import write
from furniture import Model, read_models, split_models, write_icons

NUM_POINTS = 1024
GREY = (200, 200, 200, 255)  # of a surface without a material


class Surface(NamedTuple):
    """Points on a model's surface, one a row: place in metres, unit normal, red, green, blue."""

    points: np.ndarray  # float64 [n, 3]
    normals: np.ndarray  # float64 [n, 3]; which side is outside the OBJ files do not always say
    colours: np.ndarray  # uint8 [n, 3]


def sample_surface(model: Model, count: int, *, seed: int) -> Surface:
    """Draws points by area from all parts of a model; those where it is transparent are left out.

    The model is turned and stretched as its catalog says.
    """
    parts = _parts(model)
    areas = np.array([part.area for part in parts])
    counts = np.random.default_rng(seed).multinomial(count, areas / areas.sum())
    drawn = [_drawn(*each, seed=seed) for each in zip(parts, counts, strict=True) if each[1]]
    points, normals, colours = (np.concatenate(each) for each in zip(*drawn, strict=True))
    rotation = np.fromstring(model.values.get("modelRotation", "1 0 0 0 1 0 0 0 1"), sep=" ")
    points, normals = points @ rotation.reshape(3, 3).T, normals @ rotation.reshape(3, 3).T
    sizes = np.array([float(model.values[name]) for name in ("width", "height", "depth")]) / 100
    lowest, highest = points.min(0), points.max(0)
    scale = sizes / np.maximum(highest - lowest, 1e-9)
    points = (points - (lowest + highest) / 2) * scale
    points[:, 1] += sizes[1] / 2
    normals = normals / np.maximum(scale, 1e-9)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    opaque = colours[:, 3] >= 128
    opaque |= not opaque.any()
    return Surface(points[opaque], normals[opaque], colours[opaque, :3])


def _parts(model: Model) -> list:
    """Reads a model's OBJ file with its materials and textures: a mesh of trimesh for each."""
    try:
        import trimesh
    except ImportError:
        raise SystemExit("To read the models: pip install trimesh") from None
    folder = model.values["model"].lstrip("/").rpartition("/")[0]
    beside = {n: io.BytesIO(c) for n, c in model.files.items() if n.startswith(f"{folder}/")}
    resolver = trimesh.resolvers.ZipResolver(beside, namespace=folder)
    scene = trimesh.load_scene(
        io.BytesIO(model.shape), file_type="obj", resolver=resolver, process=False
    )
    return [part for part in scene.geometry.values() if part.area > 0]


def _drawn(part, count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws points of a mesh with their normals and colours."""
    import trimesh

    points, faces = trimesh.sample.sample_surface(part, count, seed=seed)
    material = getattr(part.visual, "material", None)
    picture = getattr(material, "image", None)
    colours = np.tile(np.asarray(getattr(material, "main_color", GREY), np.uint8), (count, 1))
    if picture is not None and getattr(part.visual, "uv", None) is not None:
        corners = part.triangles[faces]
        weights = trimesh.triangles.points_to_barycentric(corners, points)
        uv = np.einsum("nk,nkc->nc", weights, part.visual.uv[part.faces[faces]])
        colours = trimesh.visual.color.uv_to_color(np.nan_to_num(uv), picture)
    return points, part.face_normals[faces], colours


def write_points(models: Sequence[Model], folder: Path) -> list[str]:
    """Writes the points of each model; gives the files' paths in the folder."""
    (folder / "points").mkdir(parents=True, exist_ok=True)
    names = [f"points/{row:03d}.npy" for row in range(len(models))]
    with typer.progressbar(list(zip(names, models, strict=True)), label="points") as progress:
        for row, (name, model) in enumerate(progress):
            # Some are left out where the surface is transparent.
            drawn = sample_surface(model, 4 * NUM_POINTS, seed=row).points
            chosen = np.random.default_rng(row).permutation(len(drawn))[:NUM_POINTS]
            np.save(folder / name, drawn[chosen].astype(np.float32))
    return names


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the tables of furniture with icons and points."""
    folder = output / "furniture_points"
    models = read_models(archives or output / "archives")
    icons = write_icons(models, folder)
    part = split_models(models, [folder / icon for icon in icons])
    rows = pd.DataFrame(
        {
            "image": icons,
            "points": write_points(models, folder),
            "label": [model.category for model in models],
            "creator": [model.values["creator"] for model in models],
        }
    )
    write(rows, part, folder, label="label")


if __name__ == "__main__":
    typer.run(main)
