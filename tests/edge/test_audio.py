"""Reading sounds for exported files: forms, rates, channels, and what is wrong with some."""

import io
import sys
import wave

import numpy as np
import pytest

from mmkd_tf.edge.audio import STEP, SoundReader, read_sound, resampled

RATE = 8000


def tone(seconds=0.5, rate=RATE, pitch=440, loudness=0.5):
    return loudness * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def wav(values, rate=RATE, width=2):
    """A WAV file of floats `[n]` or `[n, channels]`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1 if values.ndim == 1 else values.shape[1], width, rate, 0, "NONE", ""))
        steps = np.rint(values * (2.0 ** (8 * width - 1) - 1)).astype("<i4")
        steps = steps + 128 if width == 1 else steps
        content = steps.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
        sound.writeframes(content)
    return file.getvalue()


def read(source, samples=RATE):
    return read_sound(source, rate=RATE, samples=samples)


@pytest.mark.parametrize(("width", "bound"), [(1, 1e-2), (2, 1e-4), (3, 4e-5), (4, 4e-5)])
def test_pcm_of_any_width_is_read_without_a_package(width, bound, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    content = wav(tone(), width=width)
    np.testing.assert_allclose(read(content), tone(), atol=bound)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), read(content))
    assert read(str(tmp_path / "a.wav")).dtype == np.float32


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3", "WAV"])
def test_other_forms_are_read_by_a_package(form):
    import soundfile

    file = io.BytesIO()
    options = {"subtype": "FLOAT"} if form == "WAV" else {}
    soundfile.write(file, np.stack([tone(1, 16000)] * 2, 1), 16000, format=form, **options)
    found = read(file.getvalue())
    assert len(found) == RATE
    heard = slice(1000, -1000)  # MP3 is not exact at its ends
    np.testing.assert_allclose(np.abs(np.fft.rfft(found)).argmax(), 440, atol=1)
    np.testing.assert_allclose(np.std(found[heard]), 0.5 / np.sqrt(2), rtol=0.02)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ValueError, match=r"pip install 'mmkd-tf\[sound\]'"):
        read(b"fLaC" + bytes(100))


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100, 48000])
def test_other_rates_are_resampled(rate):
    found = read(wav(tone(rate=rate), rate=rate))
    assert len(found) == RATE // 2
    np.testing.assert_allclose(found[300:-300], tone()[300:-300], atol=2e-3)


def test_what_a_lower_rate_can_not_hold_is_cut_off():
    values = tone(rate=48000) + tone(rate=48000, pitch=9000, loudness=0.4)
    np.testing.assert_allclose(
        resampled(values, 48000, RATE)[300:-300], tone()[300:-300], atol=5e-3
    )


def test_channels_are_averaged():
    both = np.stack([tone(), np.zeros_like(tone())], 1)
    for source in (wav(both), both, both.T.astype("float32"), (both * 2**15).astype("int16")):
        np.testing.assert_allclose(read(source), tone() / 2, atol=1e-4)


def test_arrays_and_dicts_are_samples():
    steps = np.rint(tone() * 2**15).astype("int16")
    expected = steps / 2**15
    for source in (steps, steps.tolist(), steps.astype("int64"), expected, expected.tolist()):
        np.testing.assert_array_equal(read(source), expected)
    eight = np.rint(128 + 100 * tone()).astype("uint8")
    np.testing.assert_array_equal(read(eight), (eight - 128.0) / 128)
    found = read({"array": tone(rate=16000), "sampling_rate": 16000, "path": None})
    np.testing.assert_allclose(found[300:-300], tone()[300:-300], atol=2e-3)


@pytest.mark.parametrize(
    "silent", [np.zeros(9), np.zeros([2, 9], "int16"), wav(np.zeros(9)), wav(np.zeros(9), width=1)]
)
def test_silence_is_there(silent):
    np.testing.assert_array_equal(read(silent), np.full(9, STEP, "float32"))


def test_of_a_long_file_only_the_beginning_is_read(tmp_path):
    """The header claims three hours, the file holds a second; more is not asked for."""
    content = bytearray(wav(tone(1)))
    three_hours = 3 * 3600 * RATE * 2
    content[4:8] = (36 + three_hours).to_bytes(4, "little")
    content[40:44] = three_hours.to_bytes(4, "little")
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(44 + three_hours)  # holes take no room
    np.testing.assert_allclose(read(path, samples=100), tone()[:100], atol=1e-4)
    assert len(read(np.zeros([RATE * 100, 2]), samples=100)) == 100


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "empty"),
        ("nowhere.wav", "no such file"),
        (".", "not a file"),
        (b"\0\0\0\x20ftypisom" + bytes(range(256)) * 20, "none of WAV, FLAC, OGG, MP3"),
        (b"RIFF\0\0\0\0WAVE", "a WAV file that breaks off before its samples"),
        (wav(tone())[:20], "a WAV file that breaks off before its samples"),
        (wav(tone())[:40], r"breaks off|damaged or cut off \([^<>]+\)|pip install"),
        (wav(tone())[:44], "no samples"),
        (wav(tone(), rate=3), "its rate is 3"),
        (np.zeros(0), "no samples"),
        (np.array([0.1, np.nan]), "NaN or infinite"),
        (np.array([0.1, np.inf]), "NaN or infinite"),
        (np.array([0.1, 300.0]), "scale them to -1 to 1"),
        (np.array([0, 2**20]), "or give int16"),
        ([[1], [1, 2]], "inhomogeneous shape"),
        (np.zeros([2, 3, 4]), "its shape is none of"),
        (np.zeros([100, 50]), "its shape is none of"),
    ],
)
def test_what_can_not_be_used_is_said(source, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=reason):
        read(source)


@pytest.mark.parametrize("source", [None, 3, {"bytes": b""}, np.array(["a"])])
def test_other_types_are_refused(source):
    with pytest.raises(TypeError, match="no array of numbers, nor a dict"):
        read(source)


def test_a_reader_fills_up_with_zeros_and_names_its_input():
    reader = SoundReader("cry", (RATE,), np.dtype("float32"), {"rate": RATE}, {})
    found = reader(wav(tone()))
    assert found.shape == (RATE,) and not found[4000:].any()
    np.testing.assert_array_equal(found[:4000], read(wav(tone())))
    assert reader.trial.shape == (RATE,) and reader.trial.any()
    with pytest.raises(ValueError, match="`cry`: a sound"):
        reader(b"")
    with pytest.raises(TypeError, match="`cry`: a sound.*no array of numbers"):
        reader(3)
    for shape, dtype, description in (((9,), "float32", {}), ((9, 2), "float32", {"rate": 9})):
        with pytest.raises(ValueError, match="mmkd.json says their rate"):
            SoundReader("cry", shape, np.dtype(dtype), description, {})
