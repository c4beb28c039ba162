"""Series: windows of a sensor -> evenly spaced steps -> 1-D convolutions -> a feature vector."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from pydantic import Field, model_validator

from mmkd_tf.edge.series import LongTable, id_text, is_json, read_series, resized
from mmkd_tf.modalities.cell_files import read_cells
from mmkd_tf.modalities.cells import cell_text
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.modality import (
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
)
from mmkd_tf.modalities.series_damage import DAMAGES

MIN_LENGTH, MAX_LENGTH = 4, 4096
LONGEST_AUTOMATIC_LENGTH = 256
# Standard deviations beyond which a value is taken for this: sensors have peaks without meaning.
LIMIT = 10.0
_NOISES = 2**16
Length = Annotated[int, Field(ge=MIN_LENGTH, le=MAX_LENGTH)]


class StudentSeriesOptions(StudentOptions):
    """What is different for the students."""

    length: Length | None = Field(None, description="Steps of a series that the students read.")


class SeriesOptions(InputOptions):
    """What settings say of a series."""

    kind: Literal["series"] = "series"
    channels: Annotated[int, Field(ge=1, le=1024)] | list[str] | None = Field(
        None,
        description="How many channels a series has, or their columns in a file or `table`; by "
        "default what the data have.",
    )
    length: Length | None = Field(
        None,
        description="Steps that a series is resampled to; by default the median of the training "
        f"series, at most {LONGEST_AUTOMATIC_LENGTH}.",
    )
    encoder: Literal["convolution", "recurrent"] = Field(
        "convolution", description="Form of the encoders; recurrent ends with an LSTM."
    )
    level: Literal["keep", "remove"] = Field(
        "keep",
        description="Whether a channel's mean over a series says something; remove it where it "
        "differs by device or speaker.",
    )
    table: str | None = Field(
        None, description="A long table with a row for each step; a cell is then an id in it."
    )
    id: str = Field("id", description="Column of ids of the long table.")
    time: str | None = Field(
        None, description="Column of times of files or the long table; evenly spaced by default."
    )
    student: StudentSeriesOptions = StudentSeriesOptions()

    @model_validator(mode="after")
    def _student_length_fits(self):
        if self.length and self.student.length and self.student.length > self.length:
            raise ValueError(
                f"`student.length`: at most `length`, {self.length}. Received: "
                f"{self.student.length}. Set `length` to the larger one."
            )
        return self


class Series(Modality[Sequence[np.ndarray], SeriesOptions]):
    """A series as float32 `[length, channels + 1]`, in the sensor's units; all zeros is absent.

    The last channel is 1 where a step is known; where it is not, all of the step is 0. Raw values
    have the same form with as many steps as were measured, see `mmkd_tf.edge.series.read_series`.

    Args:
        name: Name of the input.
        length: Number of steps, 4 to 4,096.
        mean: Of each channel over the training series.
        deviation: The same, standard deviation, above 0.
        options: What else settings say.
    """

    kind = "series"
    Options = SeriesOptions
    noun = "series"
    form = "[batch, length, channels + 1]"
    damages = DAMAGES
    limits = "A series is resampled to the input's number of steps, whatever time it takes."
    example = '"series.csv"'

    def __init__(
        self,
        name: str = "series",
        *,
        length: int,
        mean: Sequence[float],
        deviation: Sequence[float],
        options: SeriesOptions | None = None,
    ):
        self.name, self.length = name, length
        self.mean, self.deviation = list(map(float, mean)), list(map(float, deviation))
        self.options = options or SeriesOptions()

    # Reading raw values.

    @classmethod
    def read(
        cls,
        cells: Iterable,
        options: SeriesOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[list[np.ndarray], dict[int, str]]:
        """Reads cells as `read_series` does, or from the long table; absent ones have no steps."""
        names = options.channels if isinstance(options.channels, list) else None
        table = None
        if options.table is not None:
            path = (folder or Path()) / options.table
            changed = path.stat().st_mtime_ns if path.is_file() else 0
            columns = None if names is None else tuple(names)
            table = _read_once(path, changed, options.id, columns, options.time)

        def read_one(source) -> np.ndarray:
            if table is not None:
                return table.series(source[0])
            return read_series(source, channels=names, time=options.time)

        found, problems = read_cells(
            (_source(cell, is_id=table is not None) for cell in cells),
            read_one,
            noun=cls.noun,
            like=((), object),
            folder=folder,
            allow_outside=allow_outside,
        )
        values = [one if isinstance(one, np.ndarray) else np.zeros([0, 1]) for one in found]
        widths = Counter(one.shape[1] - 1 for one in values if one.any())
        wanted = (
            len(names)
            if names
            else options.channels or max(widths, key=lambda one: widths[one], default=0)
        )
        for row, one in enumerate(values):
            if one.any() and one.shape[1] - 1 != wanted:
                turned = " (steps come first: turn it round)" if len(one) == wanted else ""
                problems[row] = (
                    f"series: {len(one):,} steps of {one.shape[1] - 1} channels, where others or "
                    f"the settings have {wanted}{turned}"
                )
                values[row] = np.zeros([0, 1])
        return values, problems

    @classmethod
    def absent(cls, values: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([not one.any() for one in values], bool)

    @classmethod
    def content_keys(cls, values: Sequence[np.ndarray]) -> list[bytes]:
        return [
            hashlib.sha256(str(one.shape).encode() + np.ascontiguousarray(one).data).digest()
            for one in values
        ]

    @classmethod
    def fit(cls, name: str, values: Sequence[np.ndarray], options: SeriesOptions) -> Self:
        """Takes mean and deviation of the known steps, and the length if it is not set."""
        there = [one for one in values if one.any()]
        steps = np.concatenate([one[one[:, -1] > 0, :-1] for one in there] or [np.zeros([1, 1])])
        mean = steps.mean(axis=0, dtype=np.float64)
        deviation = steps.std(axis=0, dtype=np.float64)
        # Of a channel that is always the same, what is left of it is rounding.
        deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
        length = options.length
        if length is None:
            median = np.median([len(one) for one in there] or [MIN_LENGTH])
            length = int(np.clip(median, MIN_LENGTH, LONGEST_AUTOMATIC_LENGTH))
        sizes = {"mean": mean.tolist(), "deviation": deviation.tolist()}
        return cls(name, length=length, **sizes, options=options)

    def for_student(self, values: Sequence[np.ndarray], **changes: Any) -> "Series | None":
        changes = checked_changes(self.name, SeriesOptions, length=self.length, student=changes)
        if changes.get("length", self.length) == self.length:
            return None
        sizes = {"mean": self.mean, "deviation": self.deviation, **changes}
        return Series(self.name, **sizes, options=self.options)

    # Tensors.

    def to_tensor(self, raw) -> tf.Tensor:
        width = len(self.mean) + 1
        made = np.zeros([len(raw), self.length, width], np.float32)
        for row, one in enumerate(map(np.asarray, raw)):
            if one.any():
                if one.shape[1] != width:
                    raise ValueError(
                        f"`{self.name}`: series of {width - 1} channels, as in training. Received: "
                        f"one of {one.shape[1] - 1}."
                    )
                made[row] = resized(one, self.length)
        return tf.constant(made)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Shifts and stretches each series in time, changes its values, loses steps.

        By up to 10 % and 15 % of its time, alike for all series of an example; by up to 20 % of its
        values, 10 % of a channel's standard deviation, noise of 5 % of it, and a stretch of 10 % of
        the steps lost; each times `strength`.
        """
        num_channels, strength = len(self.mean), self.strength
        shift, scale = tf.unstack(2 * uniform_draws(seeds, 2) - 1, axis=1)
        # Series of one example change otherwise alike only by chance.
        own = uniform_draws(seeds ^ zlib.crc32(self.name.encode()) % 2**31, 4 + num_channels)
        steps, centre = tf.range(self.length, dtype=tf.float32), (self.length - 1) / 2
        scale, shift = 1 + 0.15 * strength * scale, 0.1 * strength * self.length * shift
        places = centre + (steps - centre) * scale[:, tf.newaxis] + shift[:, tf.newaxis]
        values, known = tf.split(_at_places(batch, places), [num_channels, 1], axis=2)
        values = (values - self.mean) * (1 + 0.2 * strength * (2 * own[:, :1, tf.newaxis] - 1))
        bias = 0.1 * strength * (2 * own[:, tf.newaxis, 4:] - 1) + self._noise(own[:, 1])
        values = values + bias * self.deviation + self.mean
        start = (steps - own[:, 2:3] * self.length) / self.length
        lost = (start >= 0) & (start < 0.1 * strength * own[:, 3:4])
        known *= 1 - tf.cast(lost, tf.float32)[:, :, tf.newaxis]
        changed = tf.concat([tf.where(known > 0, values, 0), known], axis=2)
        there = tf.reduce_any(known > 0, axis=1, keepdims=True)
        return tf.where(there, changed, batch)

    def _noise(self, place: tf.Tensor) -> tf.Tensor:
        """Normal numbers `[batch, length, channels]`: stretches of the same ones, as in `Image`."""
        size = self.length * len(self.mean)
        normal = tf.random.stateless_normal([_NOISES + size], seed=[0, 0])
        first = tf.cast(place * _NOISES, tf.int32)[:, tf.newaxis]
        noise = tf.gather(normal, first + tf.range(size))
        return 0.05 * self.strength * tf.reshape(noise, [-1, self.length, len(self.mean)])

    def fingerprint(self) -> bytes:
        form = [self.options.level, self.mean, self.deviation]
        return str(form).encode()

    # Models.

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.length, len(self.mean) + 1], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions, the last with an LSTM in its place if recurrent: `[batch, 128]`."""
        x = layers.GlobalAveragePooling1D(name=f"{self.name}_pooling")(self._teacher_map(inputs))
        return layers.Dense(128, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The same of separable convolutions, and narrow: `[batch, 48]`."""
        return layers.GlobalAveragePooling1D(name=f"{self.name}_features")(
            self._student_map(inputs)
        )

    def _teacher_map(self, inputs):
        return self._steps(inputs, layers.Conv1D, (64, 96, 128, 192), 192)

    def _student_map(self, inputs):
        return self._steps(inputs, layers.SeparableConv1D, (32, 40, 48, 48), 24, depth_multiplier=4)

    def _steps(self, inputs, convolution, filters, units, **first):
        """Convolution, normalisation and relu, some halving the steps; or an LSTM as the last."""
        x = StandardisedSeries(
            self.mean, self.deviation, self.options.level, name=f"{self.name}_standardised"
        )(inputs)
        recurrent = self.options.encoder == "recurrent"
        first_stride = 4 if self.length >= 64 else 2 if self.length >= 16 else 1
        for index, num_filters in enumerate(filters[:-1] if recurrent else filters):
            x = convolution(
                num_filters,
                9 if index == 0 else 5,
                strides=first_stride if index == 0 else 2 if x.shape[1] > 8 else 1,
                padding="same",
                use_bias=False,
                name=f"{self.name}_conv{index}",
                **(first if index == 0 else {}),
            )(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm{index}")(x)
            x = layers.ReLU(name=f"{self.name}_relu{index}")(x)
        if recurrent:
            name = f"{self.name}_lstm"
            x = layers.LSTM(units, return_sequences=True, name=name)(x)
        return x

    # Exported files.

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Takes the tensor's bytes, float32 little-endian, step by step."""
        shape = [self.length, len(self.mean) + 1]
        flat = tf.io.decode_raw(content, tf.float32, fixed_length=4 * shape[0] * shape[1])
        return tf.reshape(flat, [-1, *shape])

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        return [one.astype("<f4").tobytes() if one.any() else b"" for one in np.asarray(tensors)]

    def file_description(self, dtype: str) -> dict:
        names, table = self.options.channels, self.options.table
        described: dict[str, Any] = {
            "channels": names if isinstance(names, list) else len(self.mean),
            "layout": "steps x channels, evenly spaced over the series, in the sensor's units",
            "known": "last channel: 1; of a step that is not known all is 0",
        }
        described |= {"time": self.options.time} if self.options.time else {}
        described |= {"table": {"file": table, "id": self.options.id}} if table else {}
        return described

    # Words.

    def describe(self) -> str:
        return f"float32, {self.length} steps x {len(self.mean)} channels and which are known"


@keras.saving.register_keras_serializable("mmkd_tf")
class StandardisedSeries(layers.Layer):
    """Standardises a series float32 `[batch, length, channels + 1]` by channel, 0 where unknown.

    Args:
        mean: Of each channel.
        deviation: Of each channel, above 0.
        level: `remove` takes from each channel its mean over the series.
    """

    def __init__(self, mean, deviation, level="keep", **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # half precision ends at 65,504
        self.mean, self.deviation, self.level = list(mean), list(deviation), level

    def call(self, inputs):
        known = inputs[:, :, -1:]
        values = (inputs[:, :, :-1] - ops.array(self.mean)) / ops.array(self.deviation)
        values = ops.clip(values, -LIMIT, LIMIT) * known
        if self.level == "remove":
            number = ops.maximum(ops.sum(known, axis=1, keepdims=True), 1)
            values = (values - ops.sum(values, axis=1, keepdims=True) / number) * known
        return ops.cast(ops.concatenate([values, known], axis=2), self.compute_dtype)

    def get_config(self):
        own = {"mean": self.mean, "deviation": self.deviation, "level": self.level}
        return {**super().get_config(), **own}


def _source(cell, *, is_id: bool):
    """A cell as `read_cells` takes it, which takes texts for paths."""
    if is_id:
        return (id_text(cell),) if cell_text(cell) else None
    return cell.strip().encode() if isinstance(cell, str) and is_json(cell) else cell


@lru_cache(maxsize=2)
def _read_once(path: Path, changed: int, identifier: str, names, time) -> LongTable:
    """Reads a long table once for all splits, and anew when it has changed."""
    return LongTable(path, identifier, channels=names, time=time)


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
