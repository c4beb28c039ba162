"""Audio: sounds -> float32 samples -> energies by band and time -> a feature vector."""

import base64
import functools
import io
import wave
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from pydantic import Field

from mmkd_tf.edge.audio import STEP, read_sound, resampled
from mmkd_tf.modalities.cell_files import read_cells
from mmkd_tf.modalities.draws import normal_draws, uniform_draws
from mmkd_tf.modalities.modality import (
    Damage,
    InputOptions,
    Modality,
    StudentOptions,
    checked_changes,
    is_absent,
)
from mmkd_tf.modalities.tokens import SummaryAndTokens

LONGEST_AUTOMATIC = 10.0  # seconds
PARTS_A_SECOND = 200  # a window is five of them, and the next begins two later
# Convolution, filters, features of a step, and share of bands left out in training.
_TEACHER = (layers.Conv2D, (32, 64, 128, 256), 128, 0.1)
_STUDENT = (layers.SeparableConv2D, (16, 24, 48, 80), 48, 0.0)
Seconds = Annotated[float, Field(ge=0.1, le=60)]


class StudentAudioOptions(StudentOptions):
    """What is different for the students."""

    seconds: Seconds | None = Field(None, description="Seconds of a sound for the students.")


class AudioOptions(InputOptions):
    """What settings say of a sound."""

    kind: Literal["audio"] = "audio"
    rate: Annotated[int, Field(ge=4_000, le=48_000, multiple_of=PARTS_A_SECOND)] = Field(
        16_000, description="Samples a second that sounds are resampled to; a multiple of 200."
    )
    seconds: Seconds | None = Field(
        None, description="Seconds that are heard; by default what 99 % of sounds need, at most 10."
    )
    bands: int = Field(40, ge=8, le=128, description="Bands of frequencies, in mel steps.")
    student: StudentAudioOptions = StudentAudioOptions()
    no_larger = ("seconds",)


# Damage takes float32 `[samples]` from -1 to 1, not all zeros, and gives a new such sound.


def noise(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white noise; `amount` is the ratio of the sound to it in decibels."""
    level = np.sqrt(np.mean(np.square(sound))) * 10 ** (-amount / 20)
    return np.clip(sound + np.float32(level) * rng.standard_normal(sound.shape, np.float32), -1, 1)


def clipping(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Cuts samples at a share `amount` of the loudest one, as an overdriven microphone does."""
    most = amount * np.abs(sound).max()
    return np.clip(sound, -most, most)


def band_limit(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Keeps the lower share `amount` of the frequencies, as a telephone does."""
    spectrum = np.fft.rfft(sound)
    spectrum[max(1, round(amount * len(spectrum))) :] = 0
    limited = np.fft.irfft(spectrum, len(sound)).clip(-1, 1).astype(np.float32)
    return limited if limited.any() else limited + np.float32(STEP)


class Audio(Modality[Sequence[np.ndarray], AudioOptions]):
    """A sound as float32 `[samples]`, mono, -1 to 1, zeros behind its end; all zeros is absent.

    Raw values are such arrays of any length, none for an absent sound. A silent sound is `STEP`
    throughout. `seconds`, those that are heard, are rounded to hundredths.
    """

    kind = "audio"
    Options = AudioOptions
    noun = "sound"
    form = "[batch, samples]"
    damages = {
        "noise": Damage(noise, (20, 10, 5, 0, -5), "decibels of sound over noise", "{}", "none"),
        "clipping": Damage(clipping, (0.5, 0.2, 0.1, 0.05, 0.02), "level cut at", clean="100%"),
        "band": Damage(band_limit, (0.5, 0.35, 0.25, 0.15, 0.1), "frequencies left", clean="100%"),
    }
    limits = "A sound is heard in mono, up to the input's length."
    example = '"sound.wav"'

    def __init__(self, name="audio", *, rate=16_000, seconds=1.0, bands=40):
        self.name, self.rate, self.bands = name, rate, bands
        self.samples = max(round(100 * seconds), 3) * (rate // 100)

    @classmethod
    def read(cls, cells: Iterable, options: AudioOptions, **where: Any) -> tuple[list, dict]:
        samples = round((options.seconds or LONGEST_AUTOMATIC) * options.rate)
        read = functools.partial(read_sound, rate=options.rate, samples=samples)
        values, problems = read_cells(cells, read, noun=cls.noun, like=([], object), **where)
        nothing = np.zeros([0], np.float32)
        return [one if isinstance(one, np.ndarray) else nothing for one in values], problems

    @classmethod
    def fit(cls, name: str, values: Sequence[np.ndarray], options: AudioOptions) -> Self:
        """Finds the length, if it is not set, from the training sounds."""
        lengths = [len(sound) for sound in values if len(sound)] or [options.rate]
        longest = float(np.quantile(lengths, 0.99)) / options.rate
        automatic = float(np.clip(np.ceil(10 * longest) / 10, 0.1, LONGEST_AUTOMATIC))
        form = {"rate": options.rate, "bands": options.bands}
        return cls(name, seconds=options.seconds or automatic, **form)

    def for_student(self, values: Sequence[np.ndarray], **changes: Any) -> "Audio | None":
        own = {"rate": self.rate, "bands": self.bands, "seconds": self.samples / self.rate}
        changes = checked_changes(self.name, AudioOptions, student=changes, **own)
        student = Audio(self.name, **{**own, **changes})
        return None if student.samples == self.samples else student

    def to_tensor(self, raw) -> tf.Tensor:
        made = np.zeros([len(raw), self.samples], np.float32)
        for row, sound in zip(made, raw, strict=True):
            row[: len(sound)] = sound[: self.samples]
        return _still_there(tf.constant(made), tf.constant(~self.absent(raw)))

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Moves, stretches and filters each sound, changes its gain, adds noise and leaves a gap.

        By up to 0.1 s, 10 %, half of its loudness and half of its own level, a gap of up to a tenth
        of the length, each times `strength`. The teacher leaves bands out (Park and others:
        SpecAugment, 2019).
        """
        draws = uniform_draws(seeds, 8)[:, :, tf.newaxis]
        move, pace, tilt, gain, loud, place, gap, start = tf.unstack(draws, axis=1)
        time = tf.range(self.samples, dtype=tf.float32)
        at = time + 0.1 * self.rate * self.strength * (2 * move - 1)
        at *= 1 + 0.1 * self.strength * (2 * pace - 1)
        before = tf.floor(at)
        # A zero in front and one behind stand for all that the sound does not reach.
        padded, last = tf.pad(batch, [[0, 0], [1, 1]]), self.samples + 1
        places = [tf.clip_by_value(tf.cast(before, tf.int32) + i, 0, last) for i in (1, 2)]
        left, right = (tf.gather(padded, place, batch_dims=1) for place in places)
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
        level = tf.sqrt(tf.reduce_mean(tf.square(batch), axis=1, keepdims=True))
        noise = normal_draws(place[:, 0], self.samples)
        return tf.clip_by_value(batch + share * level * noise, -1.0, 1.0)

    def fingerprint(self) -> bytes:
        return f"{self.rate} {self.bands}".encode()

    def input(self) -> keras.KerasTensor:
        return keras.Input([self.samples], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Four convolutions over bands and time, and a dense layer: `[batch, 128]`."""
        return self._pooled(self._steps(inputs, *_TEACHER))

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The same with separable convolutions: `[batch, 48]`."""
        return self._pooled(self._steps(inputs, *_STUDENT))

    def teacher_tokens(self, inputs, presence):
        """The features, and what they are pooled from, every 80 ms; see `Image.teacher_tokens`."""
        return self._with_features(self._steps(inputs, *_TEACHER)), presence

    def student_tokens(self, inputs, presence):
        return self._with_features(self._steps(inputs, *_STUDENT)), presence

    def _steps(self, inputs, convolution, filters, dim, dropout):
        """Features by time, `[batch, steps, dim]`: convolutions that halve bands and time."""
        name = self.name
        x = LogMel(self.rate, self.bands, name=f"{name}_log_mel")(inputs)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_scaling")(x)
        if dropout:  # of whole bands
            x = layers.SpatialDropout1D(dropout, name=f"{name}_band_dropout")(x)
        x = layers.Reshape([*x.shape[1:], 1], name=f"{name}_map")(x)
        for index, num_filters in enumerate(filters):
            make, size = (layers.Conv2D, 5) if index == 0 else (convolution, 3)
            form = {"strides": (1 if index == 3 else 2, 2), "padding": "same"}
            x = make(num_filters, size, use_bias=False, name=f"{name}_conv{index}", **form)(x)
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

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Decodes WAV of 16 bit at the input's rate, what TensorFlow can; others are errors."""

        def one(file):
            sound, rate = tf.audio.decode_wav(file, desired_samples=self.samples)
            message = f"`{self.name}`: WAV of {self.rate:,} samples a second."
            tf.debugging.assert_equal(rate, self.rate, message)
            mono = tf.reduce_mean(sound, axis=1)
            return mono + STEP * tf.cast(tf.reduce_all(mono == 0), tf.float32)

        there = tf.strings.length(content) > 0
        files = tf.where(there, content, _wave(np.zeros(1, "<i2"), self.rate))
        sounds = tf.map_fn(one, files, fn_output_signature=tf.TensorSpec([self.samples]))
        return sounds * tf.cast(there, tf.float32)[:, tf.newaxis]

    def encode(self, tensors: np.ndarray) -> list[bytes]:
        steps = np.clip(np.rint(np.asarray(tensors) / STEP), -1 / STEP, 1 / STEP - 1)
        steps[~steps.any(axis=1) & ~is_absent(tensors)] = 1
        return [_wave(one.astype("<i2"), self.rate) if one.any() else b"" for one in steps]

    def file_description(self, dtype: str) -> dict:
        samples = {"rate": self.rate, "layout": "mono samples", "range": [-1, 1]}
        return {**samples, "padding": "0, at the end", "silence": STEP}

    def shown(self, value: np.ndarray) -> dict[str, str]:
        end = min(np.flatnonzero(value)[-1] + 2, 2 * self.rate)
        value = resampled(value[:end], self.rate, 8_000)
        value = np.rint(128 + 127 * value / max(np.abs(value).max(), 0.01))
        data = base64.b64encode(_wave(value.astype(np.uint8), 8_000)).decode()
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


@keras.saving.register_keras_serializable("mmkd_tf")
class LogMel(layers.Layer):
    """Logarithms of energies: float32 `[batch, samples]` -> `[batch, steps, bands]`.

    Sounds of `rate` samples a second, a multiple of 200, are brought to one level. A step is the
    spectrum of 25 ms, the next begins 10 ms later; `bands` are triangles as wide as each other in
    mel, from 50 Hz to half of the rate. Its operators are in every LiteRT.
    """

    def __init__(self, rate: int, bands: int, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.rate, self.bands = rate, bands

    def call(self, inputs):
        sound = tf.cast(inputs, tf.float32)
        power = tf.reduce_mean(sound * sound, axis=1, keepdims=True)
        sound *= tf.math.rsqrt(power + 1e-8)
        part = self.rate // PARTS_A_SECOND
        parts = tf.reshape(sound, [-1, sound.shape[1] // part, part])
        steps = (parts.shape[1] - 5) // 2 + 1
        windows = tf.concat([parts[:, i : i + 2 * steps - 1 : 2] for i in range(5)], axis=2)
        windows *= tf.signal.hann_window(5 * part)
        size = 2 ** (5 * part - 1).bit_length()
        energies = tf.square(tf.abs(tf.signal.rfft(windows, [size])))
        form = (self.bands, size // 2 + 1, self.rate, 50.0, self.rate / 2)
        mel = tf.signal.linear_to_mel_weight_matrix(*form)
        # Products of 2**14 weights and more are computed in integers by quantised files, and
        # energies reach too far for these.
        rows = (2**14 - 1) // self.bands
        starts = range(0, mel.shape[0], rows)
        parts = [tf.tensordot(energies[:, :, i : i + rows], mel[i : i + rows], 1) for i in starts]
        return tf.cast(tf.math.log(tf.add_n(parts) + 1e-2), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        parts = input_shape[1] // (self.rate // PARTS_A_SECOND)
        return input_shape[0], (parts - 5) // 2 + 1, self.bands

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "bands": self.bands}
