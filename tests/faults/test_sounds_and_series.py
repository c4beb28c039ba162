"""Sounds and series with a fault: a clear error, or the samples and numbers that are meant."""

import io
import json
import struct

import numpy as np
import pytest

from mmkd_tf.edge.audio import STEP, SoundReader
from mmkd_tf.edge.series import SeriesReader

RATE, SAMPLES = 8000, 8
STEPS, CHANNELS = 4, 2
INF, NAN = float("inf"), float("nan")


def wav(data=b"", *, bits=16, channels=1, rate=RATE, form=1, size=None, before=b""):
    """A WAV file, its sizes as they are or as `size` claims."""
    frame = channels * bits // 8
    rates = (rate, rate * frame % 2**32)
    header = struct.pack("<HHIIHH", form, channels, *rates, frame, bits)
    parts = b"WAVEfmt " + struct.pack("<I", len(header)) + header + before
    size = len(data) if size is None else size
    parts += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", 36 + size % 2**31) + parts


def npy(values=None, *, header=None):
    stream = io.BytesIO()
    np.save(stream, np.zeros([STEPS, CHANNELS]) if values is None else values, allow_pickle=True)
    content = stream.getvalue()
    if header is not None:
        text = header.encode().ljust(118 - 1) + b"\n"
        content = content[:8] + struct.pack("<H", len(text)) + text + content[128:]
    return content


SHORTS = np.array([0, 16384, -16384, 8192], "<i2")
WAVE = SHORTS / 2**15
SILENT = np.full(4, STEP)

# What a reader is given, and a piece of the error or the samples, 0 behind them.
SOUNDS = {
    "16 bit": (wav(SHORTS.tobytes()), WAVE),
    "8 bit": (wav(bytes([128, 192, 64, 160]), bits=8), WAVE),
    "24 bit": (wav(b"".join(b"\0" + x.tobytes() for x in SHORTS), bits=24), WAVE),
    "32 bit": (wav((SHORTS.astype("<i4") << 16).tobytes(), bits=32), WAVE),
    "two channels": (wav(np.repeat(SHORTS, 2).tobytes(), channels=2), WAVE),
    "chunks before the samples": (
        wav(SHORTS.tobytes(), before=b"LIST" + struct.pack("<I", 4) + b"abcd"),
        WAVE,
    ),
    "half a sample at the end": (wav(SHORTS.tobytes() + b"\x01"), WAVE),
    "a claim of 4 GB": (wav(SHORTS.tobytes(), size=2**32 - 2), WAVE),
    "a claim of more than there is": (wav(SHORTS.tobytes(), size=2000), WAVE),
    "silence": (wav(bytes(8)), SILENT),
    "no samples": (wav(), "it has no samples"),
    "a claim of no samples": (wav(SHORTS.tobytes(), size=0), "it has no samples"),
    "64 bit": (wav(bytes(64), bits=64), "none of WAV|no WAV of 8, 16, 24 or 32 bit"),
    "no bits": (wav(bytes(8), bits=0), "none of WAV|no WAV|breaks off"),
    "no channels": (wav(bytes(8), channels=0), "none of WAV|no WAV|breaks off"),
    "60,000 channels": (wav(bytes(8), channels=60_000, bits=8), "no samples|none of WAV|no WAV"),
    "a rate of 0": (wav(bytes(8), rate=0), "its rate is 0|none of WAV"),
    "a rate of 4 GHz": (wav(bytes(8), rate=2**32 - 1), "its rate is 4,294,967,295|none of WAV"),
    "cut within its header": (wav(SHORTS.tobytes())[:30], "breaks off before its samples"),
    "another format": (wav(bytes(8), form=0x0055), "none of WAV|no WAV"),
    "a header of zeros": (b"RIFF" + bytes(60), "breaks off|damaged"),
    "RIFF of another kind": (b"RIFF\x24\0\0\0AVI LIST" + bytes(40), "breaks off|damaged"),
    "nothing": (b"", "it is empty"),
    "words": (b"This is no sound at all.", "none of WAV|no WAV"),
    "an MP3's first bytes": (b"ID3\x03\0\0\0\0\0\0\xff\xfb\x90\0", "none of WAV|no WAV|no samples"),
    "a FLAC's first bytes": (
        b"fLaC\0\0\0\x22" + bytes(34),
        "none of WAV|no WAV|its rate|no samples",
    ),
    "an OGG's first bytes": (b"OggS" + bytes(60), "none of WAV|no WAV"),
    "no such file": ("nowhere.wav", "there is no such file"),
    "a folder": (".", "it is not a file"),
    "floats": (WAVE, WAVE),
    "whole numbers": (SHORTS, WAVE),
    "bytes of samples": (np.array([128, 192, 64, 160], np.uint8), WAVE),
    "channels first": (np.stack([WAVE] * 2), WAVE),
    "too loud": (np.array([0, 3.0]), "too large; scale them"),
    "as loud as int32": (SHORTS.astype(np.int32) << 16, "too large; scale them"),
    "an infinite sample": (np.array([0, INF]), "NaN or infinite"),
    "a sample of NaN": (np.array([0, NAN]), "NaN or infinite"),
    "no numbers": (np.array(["a"]), "no array of numbers"),
    "complex numbers": (np.array([1j]), "no array of numbers"),
    "a number": (0.5, "no array of numbers"),
    "an empty array": (np.zeros(0), "it has no samples"),
    "a cube": (np.zeros([2, 2, 2]), "its shape is none of"),
    "17 channels": (np.zeros([40, 17]), "its shape is none of"),
    "a dict without a rate": ({"array": WAVE}, "no array of numbers"),
    "a dict": ({"array": WAVE, "sampling_rate": float(RATE)}, WAVE),
    "a rate in words": ({"array": WAVE, "sampling_rate": "fast"}, "its rate is '?fast'?, no whole"),
    "an endless rate": ({"array": WAVE, "sampling_rate": INF}, "its rate is '?inf'?, no whole"),
    "a rate of nothing": ({"array": WAVE, "sampling_rate": None}, "its rate is '?None'?, no whole"),
    "a rate below 0": ({"array": WAVE, "sampling_rate": -8000}, "its rate is -8,000"),
}

LINES = [[1, 10], [2, 20], [3, 30], [4, 40]]
KNOWN = np.c_[np.array(LINES, float), np.ones(4)]
NOTHING = np.zeros([STEPS, CHANNELS + 1])

# The same of series.
SERIES = {
    "lists": (LINES, KNOWN),
    "JSON": (json.dumps(LINES), KNOWN),
    "JSON with white space": (f" \n{json.dumps(LINES)}\n", KNOWN),
    "an array": (np.array(LINES, np.int16), KNOWN),
    "numbers as texts": ([["1", "10"], ["2", "20"], ["3", "30"], ["4", "40"]], KNOWN),
    "a .npy file's bytes": (npy(np.array(LINES)), KNOWN),
    "a gap of one channel": ([[1, 10], [2, None], [3, 30], [4, 40]], KNOWN),
    "a gap": (
        [[1, 10], [None, None], [3, 30], [4, 40]],
        KNOWN * np.array([[1], [0], [1], [1]]),
    ),
    "a masked channel": (
        np.ma.masked_array(LINES, mask=[[0, 0], [0, 1], [0, 0], [0, 0]]),
        KNOWN,
    ),
    "a masked step": (
        np.ma.masked_array(LINES, mask=[[0, 0], [1, 1], [0, 0], [0, 0]]),
        KNOWN * np.array([[1], [0], [1], [1]]),
    ),
    "nothing measured": ([[None, None]] * 4, NOTHING),
    "no steps": ([], "its shape is"),
    "JSON without steps": ("[]", "its shape is"),
    "steps of no channels": ([[], []], "its shape is"),
    "a number": ("[1]", "1 channels, where the model reads 2"),
    "a channel too many": ([[1, 2, 3]] * 4, "3 channels, where the model reads 2"),
    "a cube": ([[[1, 2]]], "its shape is"),
    "unequal steps": ([[1, 2], [3]], "unequal numbers of channels"),
    "a channel without a number": ([[1, None], [2, None]], "no number in channel 1"),
    "an infinite number": ([[1, INF]] * 2, "an infinite number at step 0, channel 1"),
    "a number beyond float32": ([[1, 1e39]] * 2, "an infinite number at step 0"),
    "a number beyond float64": ([[1, 10**400]] * 2, "a number that is too large"),
    "JSON beyond float64": ("[[1, 1e999], [1, 2]]", "an infinite number"),
    "words": ([["a", "b"]], "could not convert string|no lists of numbers"),
    "complex numbers": (np.array([[1j, 2]]), "no numbers .* but complex128"),
    "complex numbers in lists": ([[1j, 2]], "complex"),
    "dates": (np.array([["2020-01-01"] * 2], "datetime64[D]"), "no numbers .* but datetime64"),
    "a dict": ({"x": 1}, "no numbers .* but dict"),
    "JSON cut off": ("[[1, 2], [3", "the mistake is at its end"),
    "JSON of words": ('[["a", "b"]]', "could not convert string"),
    "JSON of lists without end": (b"[" * 100_000, "lists of lists without end"),
    "JSON of another kind": (b'{"a": 1}', "no numbers .* but dict"),
    "bytes that are neither": (b"\xff\xfe\x00", "neither lists of numbers nor a .npy file"),
    "no bytes": (b"", "no lists of numbers"),
    ".npy: its first byte": (b"\x93", "damaged .npy"),
    ".npy: cut off": (npy()[:-8], "damaged .npy"),
    ".npy: of objects": (
        npy(np.array([[None, 1]], object)),
        "damaged .npy file, or one of objects",
    ),
    ".npy: of terabytes": (
        npy(header="{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000000, 2), }"),
        "damaged .npy",
    ),
    ".npy: of negative shape": (
        npy(header="{'descr': '<f8', 'fortran_order': False, 'shape': (-4, 2), }"),
        "damaged .npy|series",
    ),
    ".npy: with code in its header": (
        npy(header="__import__('os').system('true')"),
        "damaged .npy",
    ),
    ".npy: of another version": (b"\x93NUMPY\x09\x00" + npy()[8:], "damaged .npy"),
    "no such file": ("nowhere.npy", "No such file|no such file"),
    "no such table": ("nowhere.csv", "no such file"),
}
TABLES = {
    "a table": ("x,y\n1,10\n2,20\n3,30\n4,40\n", KNOWN),
    "semicolons and a mark": ("\ufeffx;y\r\n1;10\r\n2;20\r\n3;30\r\n4;40\r\n", KNOWN),
    "an empty cell": ("x,y\n1,10\n2,\n3,30\n4,40\n", KNOWN),
    "no rows": ("x,y\n", "series"),
    "nothing": ("", "an empty file"),
    "no header": ("1,10\n2,20\n", "its first row holds numbers"),
    "a word": ("x,y\n1,10\n2,red\n", "no numbers in 'y'"),
    "a cell too many": ("x,y\n1,10\n2,20,30\n", "row 3"),
    "a stray quotation mark": ('x,y\n1,10\n2,"20\n', "end of the file"),
    "a decimal comma": ('x;y\n"1,5";10\n2;20\n', "no numbers in 'x'"),
    "not UTF-8, nor latin": ("x,y\n1,10\n".encode("utf-16")[:-1], "series"),
}


def check(reader, value, expected):
    if not isinstance(expected, str):
        found = reader(value)
        assert found.dtype == np.float32 and np.isfinite(found).all()
        full = np.zeros(found.shape)
        full[: len(expected)] = expected
        np.testing.assert_allclose(found, full, atol=1.1 * STEP)
        return
    with pytest.raises((ValueError, TypeError), match=f"(?s)`x`: a s.*({expected})") as error:
        reader(value)
    assert len(str(error.value)) < 600


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", SOUNDS)
def test_sounds(case):
    reader = SoundReader("x", (SAMPLES,), np.dtype("float32"), {"rate": RATE}, {})
    check(reader, *SOUNDS[case])


@pytest.fixture
def series():
    return SeriesReader("x", (STEPS, CHANNELS + 1), np.dtype("float32"), {}, {})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", SERIES)
def test_series(series, case):
    check(series, *SERIES[case])


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_series(series, case, tmp_path):
    content, expected = TABLES[case]
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    check(series, str(path), expected)
