"""Points: clouds and meshes -> float32 x, y, z -> dense layers they share -> a feature vector."""

import functools
import math
from collections.abc import Iterable
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from pydantic import Field

from mmkd_tf.edge.points import GOLDEN, SMALLEST, read_points, spread
from mmkd_tf.modalities.cell_files import read_cells
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.modality import (
    Damage,
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
)
from mmkd_tf.modalities.picture_files import THUMBNAIL, thumbnail

MIN_POINTS, MAX_POINTS = 8, 16_384
# By the axis that points up, those of the ground: right-handed, as seen from above.
_GROUND = {"x": [1, 2], "y": [2, 0], "z": [0, 1]}


class StudentPointsOptions(StudentOptions):
    """What is different for the students."""

    points: int | None = Field(None, ge=MIN_POINTS, le=MAX_POINTS, description="Half by default.")


class PointsOptions(InputOptions):
    """What settings say of a point cloud."""

    kind: Literal["points"] = "points"
    points: int = Field(512, ge=MIN_POINTS, le=MAX_POINTS, description="Points read of a cloud.")
    features: int = Field(0, ge=0, le=64, description="Columns behind x, y and z.")
    normalize: bool = Field(True, description="Whether a cloud is scaled to the unit sphere.")
    up: Literal["x", "y", "z"] = Field("y", description="Axis that points up.")
    turn: float = Field(180.0, ge=0, le=180, description="Largest turn in training, degrees.")
    student: StudentPointsOptions = StudentPointsOptions()
    no_larger = ("points",)

    @property
    def student_changes(self) -> dict[str, Any]:
        return {"points": self.student.points or max(self.points // 2, MIN_POINTS)}


# Damage takes float32 `[points, 3 + features]`, not all zeros, and gives a new such cloud.


def lose_points(cloud: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Loses a share `amount` of the points, 0 to 1, but never all; others take their rows."""
    left = rng.permutation(len(cloud))[: max(1, round((1 - amount) * len(cloud)))]
    return _moved(cloud[np.resize(left, len(cloud))], 0)


def add_outliers(cloud: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Moves a share `amount` of the points anywhere in a box 1.5 times as large as the cloud's."""
    chances, places = rng.random([len(cloud), 1]), rng.random([len(cloud), 3])
    low, high = cloud[:, :3].min(0), cloud[:, :3].max(0)
    places = (low + high) / 2 + 1.5 * (high - low) * (places - 0.5)
    return _moved(cloud, (chances < amount) * (places - cloud[:, :3]))


def add_noise(cloud: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise to x, y and z, of `amount` times half of the cloud's longest side."""
    unit = np.ptp(cloud[:, :3], axis=0).max() / 2
    return _moved(cloud, amount * unit * rng.standard_normal([len(cloud), 3]))


def _moved(cloud: np.ndarray, moves) -> np.ndarray:
    moved = cloud.copy()
    moved[:, :3] += moves
    moved[0, 0] += 0 if moved.any() else SMALLEST
    return moved


class Points(Modality[np.ndarray, PointsOptions]):
    """A point cloud as float32 `[points, 3 + features]`, x, y and z first; all zeros is absent.

    Points are in any order and unit: the model itself moves and scales each cloud to the unit
    sphere, with `normalize`, and else by the training data, as it does features.

    Args:
        name: Name of the input.
        options: What settings say of it.
        scale: Mean and standard deviation of each column in the training data, `[2, 3 + features]`.
    """

    kind = "points"
    Options = PointsOptions
    noun = "point cloud"
    form = "[batch, points, 3 + features]"
    damages = {
        "lost_points": Damage(lose_points, (0.5, 0.75, 0.9, 0.95, 0.98), "share of the points"),
        "outliers": Damage(add_outliers, (0.02, 0.05, 0.1, 0.2, 0.3), "share of the points"),
        "jitter": Damage(add_noise, (0.02, 0.04, 0.06, 0.08, 0.1), "deviation, of half the size"),
    }
    limits = "A point cloud or mesh is read as a number of its points."
    example = '"chair.obj"'

    def __init__(self, name: str, options: PointsOptions, scale: np.ndarray):
        self.name, self.options, self.scale = name, options, scale

    @classmethod
    def read(
        cls, cells: Iterable, options: PointsOptions, **where: Any
    ) -> tuple[np.ndarray, dict[int, str]]:
        own: dict = {"features": options.features, "normalize": options.normalize}
        read = functools.partial(read_points, num_points=options.points, **own)
        like = ([options.points, 3 + options.features], np.float32)
        return read_cells(cells, read, noun=cls.noun, like=like, **where)

    @classmethod
    def fit(cls, name: str, values: np.ndarray, options: PointsOptions) -> Self:
        rows = values[~cls.absent(values)].reshape(-1, 3 + options.features).astype(float)
        rows = rows if len(rows) else np.zeros([1, 3 + options.features])
        scale = np.stack([rows.mean(0), rows.std(0)])
        # One unit for all three, so that shapes stay as they are.
        scale[1, :3] = np.sqrt(np.square(scale[1, :3]).mean())
        if options.normalize:
            scale[:, :3] = [[0], [1]]
        scale[1, scale[1] == 0] = 1
        return cls(name, options, scale)

    def for_student(self, values: np.ndarray, **changes: Any) -> "Points | None":
        there = self.options.points
        changes = checked_changes(self.name, PointsOptions, points=there, student=changes)
        if changes["points"] == there:
            return None
        options = self.options.model_copy(update={**changes, "student": StudentPointsOptions()})
        return Points(self.name, options, self.scale)

    def to_tensor(self, raw) -> tf.Tensor:
        raw = tf.convert_to_tensor(raw)
        return _still_there(tf.gather(raw, spread(raw.shape[1], self.options.points), axis=1), raw)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Turns, stretches, moves and loses points; their features stay.

        By up to `turn` about the axis `up` through 0, 20 % along each axis, 2 % of the unit sphere
        or standard deviation, and half of the points, whose rows the first one takes (Qi, Yi, Su,
        Guibas: PointNet++, 2017); each times `strength`.
        """
        number, strength = self.options.points, self.strength
        draws = uniform_draws(seeds, 5 + 4 * number)
        turn, stretch, rate, moves, chances = tf.split(draws, [1, 3, 1, 3 * number, number], 1)
        angle = (2 * turn - 1) * math.radians(min(self.options.turn * strength, 180))
        cos, sin = tf.cos(angle), tf.sin(angle)
        xyz, (first, second) = tf.unstack(batch[:, :, :3], axis=2), _GROUND[self.options.up]
        a, b = xyz[first], xyz[second]
        xyz[first], xyz[second] = cos * a - sin * b, sin * a + cos * b
        moved = tf.stack(xyz, axis=2) * (1 + 0.2 * strength * (2 * stretch - 1))[:, tf.newaxis]
        moved += 0.02 * strength * self.scale[1, 0] * tf.reshape(2 * moves - 1, tf.shape(moved))
        changed = tf.concat([moved, batch[:, :, 3:]], axis=2)
        lost = chances < min(0.5 * strength, 1) * rate
        changed = tf.where(lost[:, :, tf.newaxis], changed[:, :1], changed)
        there = tf.reduce_any(batch != 0, axis=[1, 2], keepdims=True)
        return _still_there(tf.where(there, changed, batch), batch)

    def fingerprint(self) -> bytes:
        return f"{self.options.normalize} {self.scale.tolist()}".encode()

    def input(self) -> keras.KerasTensor:
        shape = [self.options.points, 3 + self.options.features]
        return keras.Input(shape, dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """PointNet without its transforms: `[batch, 256]`.

        References:
            Qi, Su, Mo, Guibas: PointNet: Deep Learning on Point Sets for 3D Classification and
            Segmentation, 2017.
        """
        x = self._most_of_points(inputs, (64, 64, 128, 1024))
        x = layers.Dropout(0.3, name=f"{self.name}_dropout")(x)
        return layers.Dense(256, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The same with three narrow layers: `[batch, 128]`."""
        x = self._most_of_points(inputs, (32, 64, 128))
        return layers.Activation("linear", name=f"{self.name}_features")(x)

    def _most_of_points(self, inputs, widths):
        """Scaling, dense layers that points share, and the largest of each of their numbers."""
        scale, offset = (1 / self.scale[1]).tolist(), (-self.scale[0] / self.scale[1]).tolist()
        # In float32, since half precision is too coarse for large coordinates.
        x = layers.Rescaling(scale, offset, dtype="float32", name=f"{self.name}_scaling")(inputs)
        if self.options.normalize:  # repeated points don't move the middle of the bounding box
            xyz = x[:, :, :3]
            xyz -= (ops.min(xyz, axis=1, keepdims=True) + ops.max(xyz, axis=1, keepdims=True)) / 2
            squares = ops.sum(ops.square(xyz), axis=2, keepdims=True)
            radius = ops.sqrt(ops.max(squares, axis=1, keepdims=True))
            x = ops.concatenate([xyz / ops.maximum(radius, 1e-9), x[:, :, 3:]], axis=2)
        for index, width in enumerate(widths):
            x = layers.Dense(width, use_bias=False, name=f"{self.name}_dense{index}")(x)
            # Keras' momentum of .99 needs more steps than a small table gives.
            x = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm{index}")(x)
            x = layers.ReLU(name=f"{self.name}_relu{index}")(x)
        return layers.GlobalMaxPooling1D(name=f"{self.name}_pooling")(x)

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Reads rows of x, y, z and features, little-endian float32, of any number of points."""
        number, width = self.options.points, 3 + self.options.features

        def one(raw):
            rows = tf.reshape(tf.io.decode_raw(raw, tf.float32, little_endian=True), [-1, width])
            count = tf.cast(tf.shape(rows)[0], tf.float64)
            places = np.arange(number, dtype=np.float64)  # those that `spread` chooses
            places += tf.cast(count > number, tf.float64) * (places * GOLDEN % 1)
            chosen = tf.cast(tf.floor(places * count / number), tf.int32)
            return tf.gather(tf.pad(rows, [[0, 1], [0, 0]]), chosen)

        spec = tf.TensorSpec([number, width], tf.float32)
        return tf.map_fn(one, tf.convert_to_tensor(content), fn_output_signature=spec)

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        return [row.tobytes() if row.any() else b"" for row in np.asarray(tensors, "<f4")]

    def file_description(self, dtype: str) -> dict:
        layout = "a row a point, in any order: x, y, z, features; repeat some to fill it up"
        return {"layout": layout, "normalize": self.options.normalize, "up": self.options.up}

    def shown(self, value: np.ndarray) -> dict[str, str]:
        """Drawn from the front, the right and above; what is near is dark."""
        first, second = _GROUND[self.options.up]
        xyz = value[:, :3] - (value[:, :3].min(0) + value[:, :3].max(0)) / 2
        xyz /= max(np.linalg.norm(xyz, axis=1).max(), 1e-9)
        front, right, height = xyz[:, first], xyz[:, second], xyz[:, "xyz".index(self.options.up)]
        right, front = 0.83 * right - 0.56 * front, 0.83 * front + 0.56 * right
        height, front = 0.92 * height - 0.39 * front, 0.92 * front + 0.39 * height
        order = np.argsort(front)  # later ones are drawn over earlier ones
        rows, columns = (47 + 44 * np.stack([-height, right])[:, order]).astype(int)
        picture = np.full([THUMBNAIL, THUMBNAIL, 3], 255, np.uint8)
        for down, over in ((0, 0), (0, 1), (1, 0), (1, 1)):
            picture[rows + down, columns + over] = (120 - 110 * front[order])[:, np.newaxis]
        return {"form": "picture", "data": thumbnail(picture)}

    def describe(self) -> str:
        return f"float32, {self.options.points} points of x, y, z, {self.options.features} features"


def _still_there(changed: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Moves the first point of clouds that became all zeros and were not."""
    lost = tf.reduce_any(before != 0, [1, 2]) & ~tf.reduce_any(changed != 0, [1, 2])
    first = np.eye(1, math.prod(changed.shape[1:]), dtype=np.float32).reshape(changed.shape[1:])
    return changed + SMALLEST * tf.cast(lost, tf.float32)[:, tf.newaxis, tf.newaxis] * first
