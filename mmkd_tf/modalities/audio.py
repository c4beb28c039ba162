"""Audio: sounds -> float32 samples -> energies by band and time -> a feature vector."""

import base64
import hashlib
import io
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from pydantic import Field, model_validator

from mmkd_tf.edge.audio import STEP, read_sound, resampled
from mmkd_tf.modalities.audio_damage import DAMAGES
from mmkd_tf.modalities.cell_files import read_cells
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.log_mel import PARTS_A_SECOND, LogMel
from mmkd_tf.modalities.modality import (
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
    is_absent,
)
from mmkd_tf.modalities.tokens import SummaryAndTokens

LONGEST_AUTOMATIC = 10.0  # seconds
MIN_SECONDS, MAX_SECONDS = 0.1, 60.0
_NOISES = 2**16
_SHOWN_RATE, _SHOWN_SECONDS = 8_000, 2


class StudentAudioOptions(StudentOptions):
    """What is different for the students."""

    seconds: float | None = Field(
        None, ge=MIN_SECONDS, le=MAX_SECONDS, description="Seconds of a sound for the students."
    )


class AudioOptions(InputOptions):
    """What settings say of a sound."""

    kind: Literal["audio"] = "audio"
    rate: int = Field(
        16_000,
        ge=4_000,
        le=48_000,
        multiple_of=PARTS_A_SECOND,
        description="Samples a second that sounds are resampled to; a multiple of 200.",
    )
    seconds: float | None = Field(
        None,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Seconds of a sound that are heard, from its beginning; by default what 99 % "
        f"of the training sounds need, at most {LONGEST_AUTOMATIC:g}.",
    )
    bands: int = Field(40, ge=8, le=128, description="Bands of frequencies, in mel steps.")
    student: StudentAudioOptions = StudentAudioOptions()

    @model_validator(mode="after")
    def _student_seconds_fit(self):
        own, most = self.student.seconds, self.seconds
        if own is not None and most is not None and own > most:
            raise ValueError(
                f"`student.seconds`: at most `seconds`, {most:g}. Received: {own:g}. "
                "Set `seconds` to the larger one."
            )
        return self


class Audio(Modality[Sequence[np.ndarray], AudioOptions]):
    """A sound as float32 `[samples]`, mono, -1 to 1, zeros behind its end; all zeros is absent.

    Raw values are such arrays of any length, none for an absent sound. A silent sound is `STEP`
    throughout.

    Args:
        name: Name of the input.
        rate: Samples a second, a multiple of 200.
        seconds: Seconds that are heard; rounded to hundredths.
        bands: Bands of frequencies that the models make of it.
    """

    kind = "audio"
    Options = AudioOptions
    noun = "sound"
    form = "[batch, samples]"
    damages = DAMAGES
    limits = "A sound is heard in mono, up to the input's length."
    example = '"sound.wav"'

    def __init__(
        self, name: str = "audio", *, rate: int = 16_000, seconds: float = 1.0, bands: int = 40
    ):
        self.name, self.rate, self.bands = name, rate, bands
        self.samples = max(round(100 * seconds), 3) * (rate // 100)

    # Reading raw values.

    @classmethod
    def read(
        cls,
        cells: Iterable,
        options: AudioOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[list[np.ndarray], dict[int, str]]:
        samples = round((options.seconds or LONGEST_AUTOMATIC) * options.rate)
        values, problems = read_cells(
            cells,
            lambda source: read_sound(source, rate=options.rate, samples=samples),
            noun="sound",
            like=([], object),
            folder=folder,
            allow_outside=allow_outside,
        )
        nothing = np.zeros([0], np.float32)
        return [one if isinstance(one, np.ndarray) else nothing for one in values], problems

    @classmethod
    def absent(cls, values: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([not np.any(sound) for sound in values], bool)

    @classmethod
    def content_keys(cls, values: Sequence[np.ndarray]) -> list[bytes]:
        return [hashlib.sha256(np.ascontiguousarray(sound).data).digest() for sound in values]

    @classmethod
    def fit(cls, name: str, values: Sequence[np.ndarray], options: AudioOptions) -> Self:
        """Finds the length, if it is not set, from the training sounds."""
        seconds = options.seconds
        if seconds is None:
            lengths = [len(sound) for sound in values if len(sound)] or [options.rate]
            longest = float(np.quantile(lengths, 0.99)) / options.rate
            seconds = float(np.clip(np.ceil(10 * longest) / 10, MIN_SECONDS, LONGEST_AUTOMATIC))
        return cls(name, rate=options.rate, seconds=seconds, bands=options.bands)

    def for_student(self, values: Sequence[np.ndarray], **changes: Any) -> "Audio | None":
        own: dict[str, Any] = {"rate": self.rate, "bands": self.bands}
        there = self.samples / self.rate
        changes = checked_changes(self.name, AudioOptions, seconds=there, student=changes, **own)
        student = Audio(self.name, seconds=changes.get("seconds", there), **own)
        return None if student.samples == self.samples else student

    @classmethod
    def fits_feature(cls, connector) -> bool:
        import tensorflow_datasets as tfds

        is_sound = isinstance(connector, tfds.features.Audio) and connector.shape == (None,)
        return is_sound and connector.sample_rate is not None

    @classmethod
    def feature_decoder(cls, connector):
        import tensorflow_datasets as tfds

        @tfds.decode.make_decoder(output_dtype=tf.string)
        def as_wave(example, feature):  # which says its rate
            samples = tf.cast(feature.decode_example(example), tf.float32)
            scale = STEP if np.issubdtype(feature.np_dtype, np.integer) else 1.0
            return tf.audio.encode_wav(samples[:, tf.newaxis] * scale, feature.sample_rate)

        return as_wave()

    # Tensors.

    def to_tensor(self, raw) -> tf.Tensor:
        if isinstance(raw, list | tuple):
            there = ~self.absent(raw)
            cut = np.zeros([len(raw), self.samples], np.float32)
            for row, sound in zip(cut, raw, strict=True):
                row[: len(sound)] = sound[: self.samples]
            return _still_there(tf.constant(cut), tf.constant(there))
        raw = tf.cast(raw, tf.float32)
        cut = raw[:, : self.samples]
        cut = tf.pad(cut, [[0, 0], [0, self.samples - tf.shape(cut)[1]]])
        cut = tf.ensure_shape(cut, [None, self.samples])
        return _still_there(cut, tf.reduce_any(raw != 0, axis=1))

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Moves, stretches and filters each sound, changes its gain, adds noise and leaves a gap.

        By up to 0.1 s, 10 %, half of its loudness and half of its own level, a gap of up to a tenth
        of the length, each times `strength`. Bands are left out in the teacher's encoder.

        References:
            Park, Chan, Zhang, Chiu, Zoph, Cubuk, Le: SpecAugment: A Simple Data Augmentation
            Method for Automatic Speech Recognition, 2019.
        """
        draws = uniform_draws(seeds, 8)[:, :, tf.newaxis]
        move, pace, tilt, gain, loud, place, gap, start = tf.unstack(draws, axis=1)
        time = tf.range(self.samples, dtype=tf.float32)
        moved = 0.1 * self.rate * self.strength * (2 * move - 1)
        at = (time + moved) * (1 + 0.1 * self.strength * (2 * pace - 1))
        before = tf.floor(at)
        index = tf.cast(before, tf.int32)
        # A zero in front and one behind stand for all that the sound does not reach.
        padded = tf.pad(batch, [[0, 0], [1, 1]])

        def sample(index):
            return tf.gather(padded, tf.clip_by_value(index + 1, 0, self.samples + 1), batch_dims=1)

        left, right = sample(index), sample(index + 1)
        changed = left + (right - left) * (at - before)
        # A tilt of the spectrum: of each sample and the one before it.
        changed += 0.5 * self.strength * (2 * tilt - 1) * tf.pad(changed, [[0, 0], [1, 0]])[:, :-1]
        changed *= 1 + 0.5 * self.strength * (2 * gain - 1)
        changed = self._noisy(changed, self.strength * tf.maximum(loud - 0.5, 0), place)
        gap *= 0.1 * self.strength * self.samples
        from_gap = time - start * (self.samples - gap)
        changed = tf.where((from_gap >= 0) & (from_gap < gap), 0.0, changed)
        return _still_there(changed, tf.reduce_any(batch != 0, axis=1))

    def corrupt(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Adds noise, at most as loud as the sound, to half of the sounds."""
        amount, place = tf.unstack(uniform_draws(seeds, 2)[:, :, tf.newaxis], axis=1)
        noisy = self._noisy(batch, tf.maximum(2 * amount - 1, 0), place)
        return _still_there(noisy, tf.reduce_any(batch != 0, axis=1))

    def _noisy(self, batch, share, place):
        """Adds white noise, a share of each sound's level; `place` chooses it."""
        # Each takes another stretch of the same normal numbers: they cost much to draw.
        normal = tf.random.stateless_normal([_NOISES + self.samples], seed=[0, 0])
        noise = tf.gather(normal, tf.cast(place * _NOISES, tf.int32) + tf.range(self.samples))
        level = tf.sqrt(tf.reduce_mean(tf.square(batch), axis=1, keepdims=True))
        return tf.clip_by_value(batch + share * level * noise, -1.0, 1.0)

    def fingerprint(self) -> bytes:
        return f"{self.rate} {self.bands}".encode()

    # Models.

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.samples], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions over bands and time, and a dense layer: `[batch, 128]`."""
        return self._pooled(self._teacher_steps(inputs))

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The same with separable convolutions: `[batch, 48]`."""
        return self._pooled(self._student_steps(inputs))

    def teacher_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The features, and what they are pooled from, every 80 ms; see `Image.teacher_tokens`."""
        return self._with_features(self._teacher_steps(inputs)), presence

    def student_tokens(
        self, inputs: keras.KerasTensor, presence: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return self._with_features(self._student_steps(inputs)), presence

    def _teacher_steps(self, inputs):
        return self._steps(inputs, layers.Conv2D, (32, 64, 128, 256), 128, dropout=0.1)

    def _student_steps(self, inputs):
        return self._steps(inputs, layers.SeparableConv2D, (16, 24, 48, 80), 48)

    def _steps(self, inputs, convolution, filters, dim, dropout=0.0):
        """Features by time, `[batch, steps, dim]`: convolutions that halve bands and time."""
        name = self.name
        x = LogMel(self.rate, self.bands, name=f"{name}_log_mel")(inputs)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_scaling")(x)
        if dropout:  # of whole bands
            x = layers.SpatialDropout1D(dropout, name=f"{name}_band_dropout")(x)
        x = layers.Reshape([*x.shape[1:], 1], name=f"{name}_map")(x)
        for index, num_filters in enumerate(filters):
            x = (layers.Conv2D if index == 0 else convolution)(
                num_filters,
                5 if index == 0 else 3,
                strides=(1 if index == 3 else 2, 2),
                padding="same",
                use_bias=False,
                name=f"{name}_conv{index}",
            )(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{index}")(x)
            x = layers.ReLU(name=f"{name}_relu{index}")(x)
        steps, bands, channels = x.shape[1:]
        x = layers.Reshape([steps, bands * channels], name=f"{name}_steps")(x)
        return layers.Dense(dim, activation="relu", name=f"{name}_step_features")(x)

    def _pooled(self, steps):
        """The mean and the maximum over time, added."""
        mean = layers.GlobalAveragePooling1D(name=f"{self.name}_mean")(steps)
        most = layers.GlobalMaxPooling1D(name=f"{self.name}_maximum")(steps)
        return layers.Add(name=f"{self.name}_features")([mean, most])

    def _with_features(self, steps):
        return SummaryAndTokens(name=f"{self.name}_tokens")(self._pooled(steps), steps)

    # Exported files.

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Decodes WAV of 16 bit at the input's rate, what TensorFlow can; others are errors."""

        def one(file):
            sound, rate = tf.audio.decode_wav(file)
            message = f"`{self.name}`: WAV of {self.rate:,} samples a second."
            tf.debugging.assert_equal(rate, self.rate, message)
            mono = tf.reduce_mean(sound, axis=1)
            silent = tf.cast(tf.reduce_all(mono == 0), tf.float32)
            return self.to_tensor(mono[tf.newaxis] + STEP * silent)[0]

        nothing = tf.zeros([self.samples])
        return tf.map_fn(
            lambda file: tf.cond(tf.strings.length(file) > 0, lambda: one(file), lambda: nothing),
            tf.convert_to_tensor(content),
            fn_output_signature=tf.TensorSpec([self.samples], tf.float32),
        )

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        steps = np.clip(np.rint(np.asarray(tensors) / STEP), -1 / STEP, 1 / STEP - 1)
        steps[~steps.any(axis=1) & ~is_absent(tensors)] = 1
        return [_wave(one.astype("<i2"), self.rate) if one.any() else b"" for one in steps]

    def file_description(self, dtype: str) -> dict:
        return {
            "rate": self.rate,
            "layout": "mono samples",
            "range": [-1, 1],
            "padding": "0, at the end",
            "silence": STEP,
        }

    # Words.

    def shown(self, value: np.ndarray) -> dict[str, str]:
        value = value[: max(np.flatnonzero(value)[-1] + 1, 2)][: _SHOWN_SECONDS * self.rate]
        value = resampled(value, self.rate, _SHOWN_RATE)
        value = value / max(np.abs(value).max(), 0.01)
        file = _wave(np.rint(128 + 127 * value).astype(np.uint8), _SHOWN_RATE)
        data = base64.b64encode(file).decode()
        return {"form": "sound", "data": f"data:audio/wav;base64,{data}"}

    def describe(self) -> str:
        return f"{self.samples / self.rate:g} s of {self.rate:,} samples a second, mono"


def _wave(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of uint8 or int16 `[n]`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, samples.itemsize, rate, len(samples), "NONE", ""))
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _still_there(changed: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Makes silent sounds of those that are there, bool `[batch]`, and became all zeros."""
    lost = there & ~tf.reduce_any(changed != 0, axis=1)
    return changed + STEP * tf.cast(lost, changed.dtype)[:, tf.newaxis]
