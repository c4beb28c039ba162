"""Reads a sound, however it is stored, as the mono samples that models take."""

import math
import os
import wave
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

STEP = 2.0**-15  # of 16-bit samples; what a sample of a silent sound is
RATES = (1_000, 768_000)
MOST_CHANNELS = 16
_LOUDEST = 2.0  # decoders and mixers go a little beyond 1


class SoundError(ValueError):
    """A sound that can't be used.

    Attributes:
        reason: What is wrong and what to do, without the sound's name; for lists of problems.
    """

    def __init__(self, reason: str, *, received: str):
        super().__init__(
            "`source`: a sound (WAV, FLAC, OGG, MP3) or its samples. "
            f"Received: {received}: {reason}."
        )
        self.reason = reason


class SoundReader:
    """Reads sounds for one input of a model, see `mmkd_tf.edge.examples.Reader`."""

    items = "paths of sounds"
    reads_files = True
    absent = "A silent sound counts as one that is there."

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        description: Mapping,
        files: Mapping[str, str],
    ):
        if len(shape) != 1 or dtype.name != "float32" or type(description.get("rate")) is not int:
            raise ValueError("sounds are float32 [batch, samples], and mmkd.json says their rate")
        self._name, self._rate = name, description["rate"]
        self.trial = np.full(shape, STEP, np.float32)

    def __call__(self, value) -> np.ndarray:
        """Gives float32 `[samples]` of what `read_sound` takes, filled up with zeros."""
        tensor = np.zeros_like(self.trial)
        try:
            sound = read_sound(value, rate=self._rate, samples=len(tensor))
        except (SoundError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(str(error).replace("`source`", f"`{self._name}`", 1)) from error
        tensor[: len(sound)] = sound
        return tensor


def read_sound(source, *, rate: int, samples: int) -> np.ndarray:
    """Reads the beginning of a sound as mono samples at the rate that a model takes.

    Channels are averaged, and other rates resampled; of a long file no more is read than needed.
    WAV of 8, 16, 24 and 32 bit PCM is read without any package, other files by soundfile. A
    silent sound is there: its samples are `STEP` instead of 0, a difference that nobody hears.

    Args:
        source: A path; the bytes of a file; samples at the model's rate; or a dict with samples as
            `array` and their rate as `sampling_rate`. Samples are an array `[n]`, `[n, channels]`
            or `[channels, n]` of floats from -1 to 1, of uint8 (128 is silence), or of other whole
            numbers that fit in int16.
        rate: Samples a second of the result.
        samples: Most samples of the result.

    Returns:
        float32 `[n]`, multiples of `STEP` from -1 to below 1, `n` from 1 to `samples`.

    Raises:
        SoundError: A `ValueError`: the sound is missing, unreadable, empty, or has samples that
            are no numbers.
        TypeError: If `source` is none of the above.
    """
    seconds = (samples + 1) / rate
    file: Path | BytesIO | None = None
    if isinstance(source, (str, os.PathLike)):
        received, file = f"'{os.fspath(source)}'", Path(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        received, file = f"{len(source):,} bytes", BytesIO(source)
    if file is not None:
        try:
            values, own_rate = _decoded(file, seconds)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # decoders meet damage with errors of many types
            raise SoundError(_explain(error), received=received) from error
    else:
        values, own_rate, received = _given(source, rate)
    if not RATES[0] <= own_rate <= RATES[1]:
        reason = (
            f"its rate is {own_rate:,} samples a second, none from {RATES[0]:,} to {RATES[1]:,}"
        )
        raise SoundError(reason, received=received)
    if not len(values):
        raise SoundError("it has no samples; leave it out, or save it again", received=received)
    values = values[: math.ceil(seconds * own_rate)]
    if not np.isfinite(values).all():
        raise SoundError("some samples are NaN or infinite", received=received)
    mono = values.mean(axis=1, dtype=np.float64)
    if own_rate != rate:
        mono = resampled(mono, own_rate, rate)
    steps = np.clip(np.rint(mono[:samples] / STEP), -1 / STEP, 1 / STEP - 1)
    return ((steps if steps.any() else steps + 1) * STEP).astype(np.float32)


def resampled(values: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resamples `[n]` by cutting off, or filling up, its spectrum: exact below half of a rate."""
    common = math.gcd(rate, new_rate)
    whole = -(-len(values) // (rate // common))  # filled up with zeros, so that rates are exact
    spectrum = np.fft.rfft(values, whole * (rate // common))
    number = whole * (new_rate // common)
    made = np.fft.irfft(spectrum, number) * (new_rate / rate)
    return made[: max(1, round(len(values) * new_rate / rate))]


class _Unusable(Exception):
    """Carries a reason that is already in words for people."""


def _decoded(file: Path | BytesIO, seconds: float) -> tuple[np.ndarray, int]:
    """The first seconds of a file: float `[n, channels]`, and its rate."""
    if isinstance(file, Path) and not file.is_file():
        # Not left to open(), which would wait for ever on a pipe.
        raise _Unusable("it is not a file" if file.exists() else "there is no such file")
    with file if isinstance(file, BytesIO) else file.open("rb") as stream:
        head = stream.read(12)
        if not head:
            raise _Unusable("it is empty (0 bytes); save or copy it again")
        stream.seek(0)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            try:
                return _pcm(stream, seconds)
            except wave.Error:  # WAV of another form
                stream.seek(0)
        try:
            import soundfile
        except (ImportError, OSError) as error:  # OSError: its library is missing
            raise _Unusable(
                "it is no WAV of 8, 16, 24 or 32 bit PCM; to read FLAC, OGG, MP3 and other WAV: "
                "pip install 'mmkd-tf[sound]', or soundfile beside mmkd-tf-edge"
            ) from error
        with soundfile.SoundFile(stream) as sound:
            number = math.ceil(seconds * min(sound.samplerate, RATES[1]))
            return sound.read(number, dtype="float32", always_2d=True), sound.samplerate


def _pcm(stream, seconds: float) -> tuple[np.ndarray, int]:
    with wave.open(stream) as sound:
        rate, width, channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
        content = sound.readframes(math.ceil(seconds * min(rate, RATES[1])))
    raw = np.frombuffer(content, np.uint8)
    raw = raw[: len(raw) // (width * channels) * width * channels].reshape(-1, width)
    if width == 1:  # without a sign, unlike all others
        raw = raw ^ 128
    wide = np.zeros([len(raw), 4], np.uint8)
    wide[:, 4 - width :] = raw
    return wide.view("<i4").reshape(-1, channels) / np.float32(2**31), rate


def _explain(error: Exception) -> str:
    """Says in words for people why a file can't be used."""
    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return f"it can't be read: {error.strerror}"
    if "not recognised" in str(error):
        return "it is none of WAV, FLAC, OGG, MP3, or its beginning is damaged"
    return f"it is damaged or cut off ({error}); save or copy it again"


def _given(source, rate: int) -> tuple[np.ndarray, int, str]:
    """Float `[n, channels]` of what should be samples, their rate, and what was received."""
    what = "`source`: a path, the bytes of a sound file, an array of samples or a dict with one."
    received = f"Received: {type(source).__name__}"
    if isinstance(source, Mapping):
        if not {"array", "sampling_rate"} <= set(source):
            raise TypeError(f"{what} {received} with {list(source)}, not array and sampling_rate.")
        source, rate = source["array"], int(source["sampling_rate"])
    try:
        values = np.asarray(source)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise TypeError(f"{what} {received} that is no array ({error}).") from error
    if values.dtype.kind not in "iuf" or not values.ndim:
        raise TypeError(f"{what} {received} of {values.dtype}.")
    received = f"an array of {values.dtype} {list(values.shape)}"
    if values.ndim == 1:
        values = values[:, np.newaxis]
    elif values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim != 2 or values.shape[1] > MOST_CHANNELS:
        reason = "its shape is none of [n], [n, channels], [channels, n]; give one sound at a time"
        raise SoundError(reason, received=received)
    if values.dtype.kind == "f":
        loudest = np.abs(values).max(initial=0)
        if np.isfinite(loudest) and loudest > _LOUDEST:
            reason = f"its samples reach {loudest:g}; scale them to -1 to 1, or give int16"
            raise SoundError(reason, received=received)
        return values, rate, received
    if values.dtype == np.uint8:
        return (values - np.float32(128)) / 128, rate, received
    if not (values >= -(2**15)).all() or not (values < 2**15).all():
        reason = "its numbers do not fit in int16; give int16, or floats from -1 to 1"
        raise SoundError(reason, received=received)
    return values / np.float32(2**15), rate, received
