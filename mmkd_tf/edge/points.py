"""Reads a point cloud or a mesh, however it is stored, as the float32 rows that models take."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

MAX_BYTES = 2**26  # of a file: a minute's work and 1 GiB of memory
LARGEST = 1e12  # of a coordinate: float32 holds sums of squares of such
SMALLEST = 1e-6  # the first coordinate of a present cloud that would be all zeros
FORMATS = "OBJ, PLY, OFF, NPY or text with a point a line"
GOLDEN = 0.6180339887  # whose multiples, less whole numbers, lie evenly
_OBJ = re.compile(rb"^\s*v\s+[-+.\d]", re.MULTILINE)


class PointsError(ValueError):
    """What is wrong with a cloud and what to do, without its name."""


class PointsReader:
    """Reads point clouds for one input of a model, see `mmkd_tf.edge.examples.Reader`."""

    items = "paths of point clouds"
    reads_files = True
    absent = "An array of zeros counts as an absent point cloud."

    def __init__(self, name: str, shape: tuple, dtype: np.dtype, description: Mapping, files):
        if len(shape) != 2 or shape[1] < 3 or dtype.name != "float32":
            raise ValueError("point clouds are float32 [batch, points, 3 or more]")
        self._name, self._normalize = name, bool(description.get("normalize", True))
        self.trial = np.ones(shape, dtype)

    def __call__(self, value) -> np.ndarray:
        """Gives float32 `[points, 3 + features]` of what `read_points` takes."""
        expected = f"`{self._name}`: a point cloud or mesh ({FORMATS}) or an array of points"
        how = {"features": self.trial.shape[1] - 3, "normalize": self._normalize}
        try:
            return read_points(value, num_points=len(self.trial), **how)
        except (PointsError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            received = repr(value) if isinstance(value, str) else type(value).__name__
            raise kind(f"{expected}. Received: {received}: {error}.") from error


def read_points(
    source, *, num_points: int, features: int = 0, normalize: bool = True
) -> np.ndarray:
    """Reads a point cloud, or points on a mesh, in the number that a model takes.

    A mesh is sampled by area, the same points each time; where no face has an area its corners are
    the points. More points than the model takes are thinned out by `spread`, fewer are repeated,
    which the models do not notice.

    Args:
        source: A path or the bytes of a file: OBJ, PLY and OFF, read by trimesh (extra `meshes`);
            NPY; or text, numbers apart by spaces, commas, semicolons or tabs, at most one line
            above them. Or an array of numbers `[n, 3 + features]`: x, y, z in any unit, and more;
            one of zeros is absent and gives zeros.
        num_points: Rows of the result.
        features: Columns behind x, y and z; of meshes none.
        normalize: Whether the middle of the bounding box of x, y and z is moved to 0 and the
            farthest point to distance 1.

    Returns:
        float32 `[num_points, 3 + features]`, all zeros of an absent cloud alone.

    Raises:
        PointsError: A `ValueError`: nothing is there or readable, the file is larger than 64 MiB,
            there are no points, other columns, numbers not finite or above 1e12, or, with
            `normalize`, all points in one place.
        TypeError: If `source` is none of the above.
    """
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        rows = _file_rows(_content(source), num_points)
    else:
        rows = _array(source)
        if rows.size and not rows.any():
            return np.zeros([num_points, 3 + features], np.float32)
    _check(rows, features)
    rows = rows[spread(len(rows), num_points)].astype(np.float64)
    if normalize:
        xyz = rows[:, :3]
        xyz -= (xyz.min(0) + xyz.max(0)) / 2
        if not (radius := np.linalg.norm(xyz, axis=1).max()):
            advice = "leave it out, or set `normalize: false` where places say something"
            raise PointsError(f"all its points lie in one place, so it has no shape; {advice}")
        xyz /= radius
    rows = rows.astype(np.float32)
    rows[0, 0] += 0 if rows.any() else SMALLEST
    return rows


def spread(num_rows: int, num_points: int) -> np.ndarray:
    """Indices of `num_points` of some rows in their order, int64: all if there are no more.

    Of more rows one is taken from each of `num_points` equal stretches, at changing places in them:
    even steps would meet the same ring of a lidar again and again.
    """
    places = np.arange(num_points, dtype=np.float64)
    places += (num_rows > num_points) * (places * GOLDEN % 1)
    return np.floor(places * num_rows / num_points).astype(np.int64)


def _array(source) -> np.ndarray:
    try:
        of_rows = np.ndim(source) == 1 and len(source) and isinstance(source[0], np.ndarray)
        source = np.asarray(list(source) if of_rows else source)
        if source.dtype.kind in "cmM":  # NumPy converts them
            raise TypeError(source.dtype.name)
        return np.atleast_1d(source.astype(np.float64))
    except (ValueError, TypeError) as error:  # rows of unequal lengths too
        raise TypeError(f"no array of numbers ({error}); leave an absent cloud out") from error


def _content(source) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not os.path.isfile(path):  # not left to open(), which would wait for ever on a pipe
            there = os.path.exists(path)
            raise PointsError("it is not a file" if there else "there is no such file")
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    if not len(source):
        raise PointsError("it is empty (0 bytes); save or copy it again")
    if len(source) > MAX_BYTES:
        raise PointsError(f"it is enormous, more than {MAX_BYTES:,} bytes; thin it out")
    return bytes(source)


def _file_rows(content: bytes, num_points: int) -> np.ndarray:
    """The points of a file, whose form its content tells, not its name."""
    try:
        if content.startswith(b"\x93NUMPY"):
            return np.load(io.BytesIO(content), allow_pickle=False)
        if content.startswith((b"ply", b"OFF")) or _OBJ.search(content):
            form = {b"ply": "ply", b"OFF": "off"}.get(content[:3], "obj")
            return _mesh_rows(content, form, num_points)
        lines = content.decode("utf-8-sig").translate(str.maketrans(",;", "  ")).splitlines()
        if all(not line.split("#")[0].strip() for line in lines):
            return np.zeros([0, 3])
        try:
            return np.loadtxt(lines, ndmin=2)
        except ValueError:  # above them stands how many they are, or what their columns are called
            return np.loadtxt(lines[1:], ndmin=2)
    except PointsError:
        raise
    except Exception as error:  # readers meet damage with errors of a dozen types
        reason = f"it is none of {FORMATS}, or damaged ({error}); save or copy it again"
        raise PointsError(reason) from error


def _mesh_rows(content: bytes, form: str, num_points: int) -> np.ndarray:
    try:
        import trimesh
    except ModuleNotFoundError:
        raise PointsError("meshes are read by trimesh: pip install 'mmkd-tf[meshes]'") from None
    file = io.BytesIO(content)
    scene = trimesh.load_scene(file, file_type=form, process=False, skip_materials=True)
    mesh = scene.to_mesh()
    if len(mesh.faces):
        _check(mesh.triangles.reshape(-1, 3), 0)
        if mesh.area > 0:
            return trimesh.sample.sample_surface(mesh, num_points, seed=0)[0]
    parts: list = scene.dump()
    return np.concatenate([np.zeros([0, 3]), *(part.vertices for part in parts)])


def _check(rows: np.ndarray, features: int) -> None:
    if rows.dtype.kind not in "uif" or rows.ndim != 2:
        raise PointsError(f"{rows.dtype} of shape {list(rows.shape)}, not numbers [points, 3]")
    if not len(rows):
        raise PointsError("it has no points; leave it out")
    if rows.shape[1] != 3 + features:
        advice = f"set `features: {rows.shape[1] - 3}`, or " if rows.shape[1] > 3 else ""
        found = f"{rows.shape[1]} columns, not x, y, z and {features} features"
        raise PointsError(f"{found}; {advice}write these")
    usable = (np.abs(rows.astype(np.float64)) <= LARGEST).all(axis=1)  # NaN fails the comparison
    if not usable.all():
        bad = f"{(~usable).sum():,} of {len(rows):,} points have numbers that are not finite"
        raise PointsError(f"{bad}, or above {LARGEST:g}; leave these points out")
