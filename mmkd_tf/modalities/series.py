"""Series: windows of a sensor -> evenly spaced steps -> 1-D convolutions -> a feature vector."""

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from pydantic import Field

from mmkd_tf.edge.series import from_columns, is_json, read_columns, read_series, resized
from mmkd_tf.modalities.cell_files import read_cells
from mmkd_tf.modalities.cells import cell_text, quote
from mmkd_tf.modalities.draws import normal_draws, turns, uniform_draws
from mmkd_tf.modalities.modality import (
    Damage,
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
)

Length = Annotated[int, Field(ge=4, le=4096)]


class StudentSeriesOptions(StudentOptions):
    """What is different for the students."""

    length: Length | None = Field(None, description="Steps of a series that the students read.")


class SeriesOptions(InputOptions):
    """What settings say of a series."""

    kind: Literal["series"] = "series"
    channels: Annotated[int, Field(ge=1, le=1024)] | list[str] | None = Field(
        None, description="How many channels a series has, or their columns in a file or `table`."
    )
    length: Length | None = Field(
        None,
        description="Steps that series are resampled to; by default their median, at most 256.",
    )
    encoder: Literal["convolution", "recurrent"] = Field(
        "convolution", description="Its last layer."
    )
    level: Literal["keep", "remove"] = Field("keep", description="Whether channels' means count.")
    turn: float = Field(
        0.0,
        ge=0,
        le=180,
        description="How far training turns channels that are three axes each, degrees.",
    )
    table: str | None = Field(None, description="Table of all series' steps; cells are ids in it.")
    id: str = Field("id", description="Column of ids of `table`.")
    time: str | None = Field(None, description="Column of times of files or `table`.")
    student: StudentSeriesOptions = StudentSeriesOptions()
    no_larger = ("length",)


# Damage takes float32 `[steps, channels + 1]`, not all zeros, and gives a new such series.


def drop_out(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Loses a stretch of a share `amount` of the steps, 0 to 1, but never all that are known."""
    length = round(amount * len(series))
    start = round(rng.random() * (len(series) - length))
    damaged = series.copy()
    damaged[start : start + length] = 0
    return damaged if damaged.any() else series


def bias(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Moves each channel by `amount` of its standard deviation, up or down."""
    return _moved(series, amount * rng.choice([-1.0, 1.0], series.shape[1] - 1))


def noise(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of `amount` of each channel's standard deviation."""
    return _moved(series, amount * rng.standard_normal(series[:, 1:].shape, np.float32))


def permute(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Lets a share `amount` of the channels, 0 to 1, change places, as a device held otherwise."""
    order = rng.permutation(series.shape[1] - 1)[: round(amount * (series.shape[1] - 1))]
    damaged = series.copy()
    damaged[:, order] = series[:, np.roll(order, 1)]
    return damaged


def _moved(series: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Adds to the known steps, in standard deviations of the channels."""
    known, damaged = series[:, -1] > 0, series.copy()
    moves = moves * series[known, :-1].std(axis=0, dtype=np.float64)
    damaged[:, :-1] += np.where(known[:, np.newaxis], moves, 0)
    return damaged


class Series(Modality[Sequence[np.ndarray], SeriesOptions]):
    """A series as float32 `[length, channels + 1]`, in the sensor's units; all zeros is absent.

    The last channel is 1 where a step is known; where it is not, all of the step is 0. Raw values
    have the same form with as many steps as were measured, see `mmkd_tf.edge.series.read_series`.
    `mean` and `deviation`, above 0, are those of each channel over the training series.
    """

    kind = "series"
    Options = SeriesOptions
    noun = "series"
    form = "[batch, length, channels + 1]"
    damages = {
        "dropout": Damage(drop_out, (0.1, 0.2, 0.3, 0.4, 0.5), "share of the steps lost"),
        "bias": Damage(bias, (0.25, 0.5, 1, 2, 4), "standard deviations", "{}", "0"),
        "noise": Damage(noise, (0.1, 0.2, 0.4, 0.8, 1.6), "standard deviations", "{}", "0"),
        "permuted": Damage(permute, (0.35, 0.7, 1.0), "share of the channels that change places"),
    }
    limits = "A series is resampled to the input's number of steps, whatever time it takes."
    example = '"series.csv"'

    def __init__(self, name: str, options: SeriesOptions, *, length: int, mean, deviation):
        self.name, self.options, self.length = name, options, length
        self.mean, self.deviation = list(map(float, mean)), list(map(float, deviation))

    @classmethod
    def read(
        cls, cells: Iterable, options: SeriesOptions, *, folder: Path | None = None, **where: Any
    ) -> tuple[list[np.ndarray], dict[int, str]]:
        """Reads cells as `read_series` does, or from the long table; absent ones have no steps."""
        names = options.channels if isinstance(options.channels, list) else None
        by_id = _by_id((folder or Path()) / options.table, names, options) if options.table else {}

        def source(cell):  # bytes where `read_cells` would take a text for a path
            if options.table:
                return cell_text(cell).removesuffix(".0").encode() or None
            return cell.encode() if isinstance(cell, str) and is_json(cell) else cell

        def read_one(source) -> np.ndarray:
            if not options.table:
                return read_series(source, channels=names, time=options.time)
            if (identifier := source.decode()) not in by_id:
                raise ValueError(f"no rows of id {quote(identifier)} in {options.table}")
            return from_columns(by_id[identifier], options.time)

        like, nothing = ((), object), np.zeros([0, 1], np.float32)
        found, problems = read_cells(
            map(source, cells), read_one, noun=cls.noun, like=like, folder=folder, **where
        )
        values = [one if np.any(one) else nothing for one in found]
        widths = [one.shape[1] - 1 for one in values if len(one)]
        wanted = len(names or ()) or options.channels or np.bincount(widths or [0]).argmax()
        for row, one in enumerate(values):
            if len(one) and one.shape[1] - 1 != wanted:
                there = f"{len(one):,} steps of {one.shape[1] - 1} channels (steps come first)"
                problems[row] = f"series: {there}, where others or the settings have {wanted}"
                values[row] = nothing
        return values, problems

    @classmethod
    def fit(cls, name: str, values: Sequence[np.ndarray], options: SeriesOptions) -> Self:
        """Takes mean and deviation of the known steps, and the length if it is not set."""
        there = [one for one in values if one.any()]
        steps = np.concatenate([one[one[:, -1] > 0, :-1] for one in there] or [np.zeros([1, 1])])
        mean = steps.mean(axis=0, dtype=np.float64)
        deviation = steps.std(axis=0, dtype=np.float64)
        # Of a channel that is always the same, what is left of it is rounding.
        if options.turn and len(mean) % 3:
            raise ValueError(
                f"`{name}.turn`: 0 unless each three channels are the axes of a sensor. Received: "
                f"{options.turn:g}, with {len(mean)} channels. Leave it out."
            )
        deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
        median = np.median([len(one) for one in there] or [0])
        length = options.length or int(np.clip(median, 4, 256))
        return cls(name, options, length=length, mean=mean, deviation=deviation)

    def for_student(self, values: Sequence[np.ndarray], **changes: Any) -> "Series | None":
        own = {"length": self.length, "mean": self.mean, "deviation": self.deviation}
        changes = checked_changes(self.name, SeriesOptions, length=self.length, student=changes)
        student = Series(self.name, self.options, **{**own, **changes})
        return None if student.length == self.length else student

    def to_tensor(self, raw) -> tf.Tensor:
        shape = [self.length, len(self.mean) + 1]
        rows = [resized(np.asarray(one), *shape) for one in raw]
        return tf.reshape(tf.constant(rows, tf.float32), [-1, *shape])

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Shifts and stretches each series in time, changes its values, loses steps.

        By up to 10 % and 15 % of its time, alike for all series of an example; by up to 20 % of its
        values, 10 % of a channel's standard deviation, noise of 5 % of it, and a stretch of 10 % of
        the steps lost; and by up to `turn` in space, again alike, as a sensor is worn by others.
        Each times `strength`.
        """
        num_channels, strength = len(self.mean), self.strength
        shift, scale = tf.unstack(2 * uniform_draws(seeds, 2) - 1, axis=1)
        # Series of one example change otherwise alike only by chance.
        own = uniform_draws(seeds ^ zlib.crc32(self.name.encode()) % 2**31, 4 + num_channels)
        steps, centre = tf.range(self.length, dtype=tf.float32), (self.length - 1) / 2
        scale, shift = 1 + 0.15 * strength * scale, 0.1 * strength * self.length * shift
        places = centre + (steps - centre) * scale[:, tf.newaxis] + shift[:, tf.newaxis]
        values, known = tf.split(_at_places(batch, places), [num_channels, 1], axis=2)
        if self.options.turn:
            turned = turns(uniform_draws(seeds, 5)[:, 2:], np.radians(self.options.turn) * strength)
            axes = tf.reshape(values, [-1, self.length, num_channels // 3, 3])
            values = tf.reshape(tf.einsum("btkj,bij->btki", axes, turned), tf.shape(values))
        values = (values - self.mean) * (1 + 0.2 * strength * (2 * own[:, :1, tf.newaxis] - 1))
        noise = tf.reshape(normal_draws(own[:, 1], self.length * num_channels), tf.shape(values))
        bias = 0.1 * strength * (2 * own[:, tf.newaxis, 4:] - 1) + 0.05 * strength * noise
        values = values + bias * self.deviation + self.mean
        start = (steps - own[:, 2:3] * self.length) / self.length
        lost = (start >= 0) & (start < 0.1 * strength * own[:, 3:4])
        known *= 1 - tf.cast(lost, tf.float32)[:, :, tf.newaxis]
        changed = tf.concat([tf.where(known > 0, values, 0), known], axis=2)
        there = tf.reduce_any(known > 0, axis=1, keepdims=True)
        return tf.where(there, changed, batch)

    def fingerprint(self) -> bytes:
        turn = [self.options.turn] if self.options.turn else []
        return str([self.options.level, self.mean, self.deviation, *turn]).encode()

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.length, len(self.mean) + 1], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions, the last with an LSTM in its place if recurrent: `[batch, 128]`."""
        x = self._steps(inputs, layers.Conv1D, (64, 96, 128, 192), 192)
        x = layers.GlobalAveragePooling1D(name=f"{self.name}_pooling")(x)
        return layers.Dense(128, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The same of separable convolutions, and narrow: `[batch, 48]`."""
        filters = (32, 40, 48, 48)
        x = self._steps(inputs, layers.SeparableConv1D, filters, 24, depth_multiplier=4)
        return layers.GlobalAveragePooling1D(name=f"{self.name}_features")(x)

    def _steps(self, inputs, convolution, filters, units, **first):
        """Convolution, normalisation and relu, some halving the steps; or an LSTM as the last."""
        x = self._standardised(inputs)
        recurrent = self.options.encoder == "recurrent"
        first_stride = 4 if self.length >= 64 else 2 if self.length >= 16 else 1
        for index, num_filters in enumerate(filters[:-1] if recurrent else filters):
            own = {"name": f"{self.name}_conv{index}", **(first if index == 0 else {})}
            stride = first_stride if index == 0 else 2 if x.shape[1] > 8 else 1
            own |= {"strides": stride, "padding": "same", "use_bias": False}
            x = convolution(num_filters, 9 if index == 0 else 5, **own)(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm{index}")(x)
            x = layers.ReLU(name=f"{self.name}_relu{index}")(x)
        if recurrent:
            x = layers.LSTM(units, return_sequences=True, name=f"{self.name}_lstm")(x)
        return x

    def _standardised(self, inputs):
        """By channel, 0 where unknown; in float32, since half precision ends at 65,504."""
        # Sensors have peaks without meaning: those above 10 standard deviations count as 10.
        mean, deviation = np.float32(self.mean), np.float32(self.deviation)
        known = inputs[:, :, -1:]
        values = ops.clip((inputs[:, :, :-1] - mean) / deviation, -10, 10) * known
        if self.options.level == "remove":
            number = ops.maximum(ops.sum(known, axis=1, keepdims=True), 1)
            values = (values - ops.sum(values, axis=1, keepdims=True) / number) * known
        return ops.concatenate([values, known], axis=2)

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Takes the tensor's bytes, float32 little-endian, step by step."""
        shape = [self.length, len(self.mean) + 1]
        flat = tf.io.decode_raw(content, tf.float32, fixed_length=4 * shape[0] * shape[1])
        return tf.reshape(flat, [-1, *shape])

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        return [one.tobytes() if one.any() else b"" for one in np.asarray(tensors, "<f4")]

    def file_description(self, dtype: str) -> dict:
        names, time = self.options.channels, self.options.time
        layout = "steps x channels, evenly spaced over the series, in the sensor's units"
        known = "last channel: 1; of a step that is not known all is 0"
        channels = names if isinstance(names, list) else len(self.mean)
        described = {"channels": channels, "layout": layout, "known": known}
        return {**described, "time": time} if time else described

    def describe(self) -> str:
        return f"float32, {self.length} steps x {len(self.mean)} channels and which are known"


def _by_id(path: Path, names: Sequence[str] | None, options: SeriesOptions) -> dict[str, dict]:
    """Reads a long table: by id, cells of its rows by column."""
    columns, rows = read_columns(path, names, options.id, options.time), dict[str, list]()
    for cell, *row in zip(*columns.values(), strict=True):
        # 7.0, as a column with gaps has it, is 7.
        rows.setdefault(cell_text(cell).removesuffix(".0"), []).append(row)
    names = list(columns)[1:]  # behind the ids
    return {one: dict(zip(names, zip(*rows[one], strict=True), strict=True)) for one in rows}


def _at_places(batch: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The steps of series at float `places`, `[batch, length]`, beyond the ends these."""
    places = tf.clip_by_value(places, 0, batch.shape[1] - 1)
    low = tf.cast(places, tf.int32)
    share = (places - tf.cast(low, tf.float32))[:, :, tf.newaxis]
    ends = [low, tf.minimum(low + 1, batch.shape[1] - 1)]
    first, second = (tf.gather(batch, end, batch_dims=1) for end in ends)
    weights = (1 - share) * first[:, :, -1:], share * second[:, :, -1:]
    whole = weights[0] + weights[1]
    made = (weights[0] * first + weights[1] * second) / tf.maximum(whole, 1e-6)
    return tf.where(whole >= 0.5, made, 0)
