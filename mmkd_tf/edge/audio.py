"""Reads a sound, however it is stored, as the mono samples that models take."""

import io
import math
import os
import re
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmkd_tf.files.tables import quote

STEP = 2.0**-15  # of 16-bit samples; what a sample of a silent sound is
RATES = (1_000, 768_000)
_START = 2**12  # bytes, in which a WAV file's samples begin


class SoundReader:
    """Reads sounds for one input of a model, see `mmkd_tf.edge.examples.Reader`."""

    items = "paths of sounds"
    reads_files = True
    absent = "A silent sound counts as one that is there."

    def __init__(self, name: str, shape: tuple, dtype: np.dtype, description: Mapping, files):
        if len(shape) != 1 or dtype.name != "float32" or type(description.get("rate")) is not int:
            raise ValueError("sounds are float32 [batch, samples], and mmkd.json says their rate")
        self._name, self._rate = name, description["rate"]
        self.trial = np.full(shape, STEP, np.float32)

    def __call__(self, value) -> np.ndarray:
        """Gives float32 `[samples]` of what `read_sound` takes, filled up with zeros."""
        try:
            sound = read_sound(value, rate=self._rate, samples=len(self.trial))
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            expected = f"`{self._name}`: a sound (WAV, FLAC, OGG, MP3) or its samples"
            raise kind(f"{expected}. Received: {quote(value)}: {error}.") from error
        return np.pad(sound, (0, len(self.trial) - len(sound)))


def read_sound(source, *, rate: int, samples: int) -> np.ndarray:
    """Reads the beginning of a sound as at most `samples` mono samples, `rate` a second.

    Channels are averaged, and other rates resampled; of a long file no more is read than needed.
    WAV of 8, 16, 24 and 32 bit PCM is read without any package, other files by soundfile. A
    silent sound is there: its samples are `STEP` instead of 0, a difference that nobody hears.

    `source` is a path; the bytes of a file; samples at that rate; or a dict with samples as `array`
    and their rate as `sampling_rate`. Samples are an array `[n]`, `[n, channels]` or
    `[channels, n]` of floats from -1 to 1, of uint8 (128 is silence), or of other whole numbers
    that fit in int16. The result is float32 `[n]`, multiples of `STEP` from -1 to below 1, `n` from
    1 to `samples`. What can't be used is a ValueError, or a TypeError if it is none of the above.
    """
    seconds = (samples + 1) / rate
    is_file = isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview))
    values, own_rate = _decoded(source, seconds) if is_file else _given(source, rate)
    if not RATES[0] <= own_rate <= RATES[1]:
        raise ValueError(f"its rate is {own_rate:,}, none from {RATES[0]:,} to {RATES[1]:,}")
    values = values[: math.ceil(seconds * own_rate)]
    if not values.size:
        raise ValueError("it has no samples; leave it out, or save it again")
    if not np.isfinite(values).all():
        raise ValueError("some samples are NaN or infinite")
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
    made = np.fft.irfft(spectrum, whole * (new_rate // common)) * (new_rate / rate)
    return made[: max(1, round(len(values) * new_rate / rate))]


def _decoded(source, seconds: float) -> tuple[np.ndarray, int]:
    """The first seconds of a file: float `[n, channels]`, and its rate."""
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    if path and not os.path.isfile(path):  # not left to open(), which would wait for ever on a pipe
        raise ValueError("it is not a file" if os.path.exists(path) else "there is no such file")
    try:
        with path.open("rb") if path else io.BytesIO(source) as stream:
            if not stream.read(1):
                raise ValueError("it is empty (0 bytes); save or copy it again")
            stream.seek(0)
            try:
                return _pcm(stream, seconds)
            except (wave.Error, EOFError) as error:  # no WAV, or WAV of another form
                stream.seek(0)
                start = stream.read(_START)
                breaks_off = isinstance(error, EOFError) or b"data" not in start
                if start.startswith(b"RIFF") and breaks_off:
                    raise ValueError(
                        "it is a WAV file that breaks off before its samples, or a damaged one; "
                        "save or copy it again"
                    ) from None
                stream.seek(0)
            import soundfile

            with soundfile.SoundFile(stream) as sound:
                number = math.ceil(seconds * min(sound.samplerate, RATES[1]))
                return sound.read(number, dtype="float32", always_2d=True), sound.samplerate
    except ValueError:
        raise
    except ImportError:
        raise ValueError(
            "it is no WAV of 8, 16, 24 or 32 bit PCM; to read FLAC, OGG, MP3 and other WAV: "
            "pip install 'mmkd-tf[sound]', or soundfile beside mmkd-tf-edge"
        ) from None
    except Exception as error:  # decoders meet damage with errors of many types
        said = re.sub("^Error opening <.*?>: ", "", str(error)) or type(error).__name__
        reason = f"it is none of WAV, FLAC, OGG, MP3, or damaged or cut off ({said.rstrip('.')})"
        raise ValueError(f"{reason}; save or copy it again") from error


def _pcm(stream, seconds: float) -> tuple[np.ndarray, int]:
    with wave.open(stream) as sound:
        rate, width, channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
        if width > 4:
            raise wave.Error(f"{8 * width} bit")
        content = sound.readframes(math.ceil(seconds * min(rate, RATES[1])))
    raw = np.frombuffer(content, np.uint8)
    raw = raw[: len(raw) // (width * channels) * width * channels].reshape(-1, width)
    if width == 1:  # without a sign, unlike all others
        raw = raw ^ 128
    wide = np.zeros([len(raw), 4], np.uint8)
    wide[:, 4 - width :] = raw
    return wide.view("<i4").reshape(-1, channels) / np.float32(2**31), rate


def _given(source, rate: int) -> tuple[np.ndarray, int]:
    """Float `[n, channels]` of what should be samples, and their rate."""
    if isinstance(source, Mapping) and {"array", "sampling_rate"} <= set(source):
        source, given = source["array"], source["sampling_rate"]
        try:
            rate = int(given)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"its rate is {quote(given)}, no whole number") from None
    values = np.asarray(source)
    if values.dtype.kind not in "iuf" or not values.ndim:
        raise TypeError("no array of numbers, nor a dict with `array` and `sampling_rate`")
    values = np.atleast_2d(values)
    values = values.T if values.shape[0] < values.shape[1] else values
    if values.ndim != 2 or values.shape[1] > 16:
        raise ValueError("its shape is none of [n], [n, channels], [channels, n]")
    if values.dtype == np.uint8:
        values = values / np.float32(128) - 1
    elif values.dtype.kind != "f":
        values = values / np.float32(2**15)
    if 2 < np.abs(values).max(initial=0) < np.inf:  # decoders and mixers go a little beyond 1
        raise ValueError("its samples are too large; scale them to -1 to 1, or give int16")
    return values, rate
