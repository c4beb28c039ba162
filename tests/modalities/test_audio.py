"""Sounds as an input: length, energies by band, views, damage, and a file that takes samples."""

import base64
import io
import wave

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkd_tf
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.audio import STEP, read_sound
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.modalities import input_options
from mmkd_tf.modalities.audio import Audio, LogMel, band_limit, clipping, noise

RATE = 8000


def tone(pitch, seconds=0.5, rate=RATE, loudness=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return (loudness * np.sin(2 * np.pi * pitch * time)).astype("float32")


def options(**more):
    return input_options({"kind": "audio", "rate": RATE, **more})


def test_cells_of_all_forms_are_read_and_what_is_wrong_is_said(tmp_path):
    audio = Audio(rate=RATE)
    (tmp_path / "a.wav").write_bytes(audio.encode(tone(440)[np.newaxis])[0])
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(1000))
    (tmp_path / "empty.wav").touch()
    silent = np.zeros(30, "int16")
    cells = [
        "a.wav",
        (tmp_path / "a.wav").read_bytes(),
        {"bytes": None, "path": "a.wav"},
        {"array": tone(440), "sampling_rate": RATE, "path": "elsewhere.wav"},
        tone(440),
        silent,
        None,
        "",
        "film.mp4",
        "empty.wav",
        np.array([np.nan, 1.0]),
        3,
    ]
    values, problems = Audio.read(cells, options(), folder=tmp_path)
    for value in values[:5]:
        np.testing.assert_allclose(value, tone(440), atol=STEP)
    assert Audio.absent(values).tolist() == [False] * 6 + [True] * 6
    assert list(problems) == [8, 9, 10, 11]
    for row, reason in ((8, "none of WAV"), (9, "is empty"), (10, "NaN"), (11, "a int")):
        assert problems[row].startswith("sound") and reason in problems[row]


def test_the_length_is_what_most_training_sounds_need():
    sounds = [tone(300, 0.32)] * 200 + [tone(300, 5), np.zeros(0, "float32")]
    assert Audio.fit("cry", sounds, options()).samples == 0.4 * RATE
    assert Audio.fit("cry", [tone(300, 30)], options()).samples == 10 * RATE
    assert Audio.fit("cry", sounds, options(seconds=2)).samples == 2 * RATE
    assert Audio.fit("cry", [np.zeros(0, "float32")], options()).samples == RATE
    values, _ = Audio.read([tone(300, 30)], options(seconds=2))
    assert len(values[0]) == 2 * RATE


def test_a_student_may_hear_less():
    audio = Audio(rate=RATE, seconds=0.5)
    assert audio.for_student([]) is audio.for_student([], seconds=0.5) is None
    student = audio.for_student([], seconds=0.2)
    late = np.concatenate([np.zeros(RATE // 4, "float32"), tone(440, 0.25)])
    tensor = student.to_tensor(audio.to_tensor([late])).numpy()
    np.testing.assert_array_equal(tensor, np.full([1, RATE // 5], STEP))
    with pytest.raises(ValueError, match="`audio.student.seconds`: at most `seconds`, 0.5"):
        audio.for_student([], seconds=2)


@pytest.mark.parametrize("wrong", [{"rate": 44_100}, {"seconds": 0}, {"bands": 2}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)


def test_energies_are_where_a_spectrum_has_them():
    """Against NumPy, and by the band in which a tone lies."""
    layer = LogMel(RATE, 20)
    sound = tone(1000) + tone(3000, loudness=0.1)
    found = layer(sound[np.newaxis]).numpy()[0]
    assert found.shape == (48, 20) == layer.compute_output_shape((None, len(sound)))[1:]
    level = sound / np.sqrt(np.mean(sound**2) + 1e-8)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    power = np.abs(np.fft.rfft(level[7 * 80 :][:200] * window, 256)) ** 2
    mel = tf.signal.linear_to_mel_weight_matrix(20, 129, RATE, 50.0, RATE / 2).numpy()
    np.testing.assert_allclose(found[7], np.log(power @ mel + 1e-2), atol=2e-3)
    assert found[7].argmax() == mel[32].argmax()  # 1,000 Hz of 4,000 in 128 steps
    quiet = layer(sound[np.newaxis] / 50).numpy()[0]
    np.testing.assert_allclose(quiet, found, atol=0.01)  # loudness is taken out


def test_large_matrices_are_divided_and_give_the_same():
    sound = np.random.default_rng(0).normal(size=[1, 4800]).astype("float32") / 10
    found = LogMel(48_000, 64)(sound).numpy()[0, 0]
    level = sound[0] / np.sqrt(np.mean(sound**2))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1200) / 1200)
    power = np.abs(np.fft.rfft(level[:1200] * window, 2048)) ** 2
    mel = tf.signal.linear_to_mel_weight_matrix(64, 1025, 48_000, 50.0, 24_000).numpy()
    np.testing.assert_allclose(found, np.log(power @ mel + 1e-2), atol=1e-3)


def test_views_are_other_sounds_of_the_same_thing():
    audio = Audio(rate=RATE, seconds=0.5)
    batch = audio.to_tensor([tone(440)] * 20)
    seeds = np.stack([np.arange(20), np.zeros(20)], 1).astype("int32")
    views = audio.augment(batch, seeds).numpy()
    assert len(np.unique(views, axis=0)) == 20 and np.abs(views).max() <= 1
    pitch = 2 * np.abs(np.fft.rfft(views))[:, 1:].argmax(axis=1) + 2
    assert np.all(np.abs(pitch - 440) <= 0.15 * 440)
    audio.strength = 0.0
    np.testing.assert_allclose(audio.augment(batch, seeds), batch, atol=1e-6)


def test_damage_does_what_it_says():
    rng = np.random.default_rng(0)
    sound = tone(400) + tone(3500)
    added = noise(tone(400), 10, rng) - tone(400)
    np.testing.assert_allclose(np.std(added), 0.5 / np.sqrt(2) / 10**0.5, rtol=0.05)
    np.testing.assert_array_equal(clipping(sound, 0.5, rng), np.clip(sound, *_half_of(sound)))
    np.testing.assert_allclose(band_limit(sound, 0.5, rng), tone(400), atol=1e-5)


def _half_of(sound):
    most = np.float32(0.5) * np.abs(sound).max()
    return -most, most


def test_a_saved_model_takes_wav_at_its_rate_alone():
    audio = Audio(rate=RATE, seconds=0.5)
    stereo = io.BytesIO()
    with wave.open(stereo, "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.array([[300, 100], [0, -2]], "<i2").tobytes())
    decoded = audio.decode(tf.constant([stereo.getvalue(), b""])).numpy()
    assert decoded.shape == (2, 4000) and not decoded[1].any()
    np.testing.assert_allclose(decoded[0, :3], np.array([200, -1, 0]) * STEP)
    (other,) = Audio(rate=16_000).encode(tone(440)[np.newaxis])
    with pytest.raises(tf.errors.InvalidArgumentError, match="WAV of 8,000 samples a second"):
        audio.decode(tf.constant([other]))


def test_a_report_plays_the_beginning():
    sound = Audio(seconds=5).to_tensor([tone(440, 4, 16_000)]).numpy()[0]
    for value, seconds in ((sound, 2), (np.full(1000, STEP, "float32"), 0.0625)):
        shown = Audio().shown(value)
        head, data = shown["data"].split(",")
        assert shown["form"] == "sound" and head == "data:audio/wav;base64" and len(data) < 24_000
        file = base64.b64decode(data)
        found = read_sound(file, rate=8000, samples=10**6)
        assert len(found) == 8000 * seconds
    assert np.abs(found).max() < 0.01  # what was silent is not made loud


def test_a_teachers_file_takes_samples_and_answers_as_keras():
    audio = Audio(rate=RATE, seconds=0.5)
    inputs = audio.input()
    outputs = keras.layers.Dense(3, name="logits")(audio.teacher_encoder(inputs))
    model = keras.Model({"audio": inputs}, outputs)
    rng = np.random.default_rng(0)
    sounds = [tone(440), rng.normal(size=3000).clip(-1, 1), np.full(9, STEP), np.zeros(0)]
    tensors = audio.to_tensor(sounds).numpy()
    runner = TensorRunner(convert(model, {"audio": tensors}))
    logits = keras.ops.log_softmax(model({"audio": tensors}, training=False))
    np.testing.assert_allclose(np.log(runner({"audio": tensors})), logits, atol=1e-4)


def test_from_a_table_of_files_to_a_phone(tmp_path):
    """Sounds that are there, silent or absent, beside a text; the student's file reads paths."""
    rows = []
    for index in range(24):
        pitch = 300 if index % 2 else 1500
        path = tmp_path / f"{index}.wav"
        path.write_bytes(Audio(rate=RATE).encode(tone(pitch + 10 * index)[np.newaxis])[0])
        there = path.name if index % 6 else ""
        rows.append((there, f"no {index}", "low" if index % 2 else "high"))
    table = pd.DataFrame(rows, columns=["cry", "title", "label"])
    table.to_csv(tmp_path / "cries.csv", index=False)
    inputs = {"cry": {"kind": "audio", "rate": RATE}, "title": {"kind": "text"}}
    data = mmkd_tf.from_table(tmp_path / "cries.csv", inputs=inputs)
    assert data.modalities["cry"].samples == RATE // 2
    examples = data.splits["train"].inputs
    made = mmkd_tf.export_tflite(
        mmkd_tf.build_student(data),
        tmp_path / "student.tflite",
        class_names=data.class_names,
        examples=examples,
        modalities=data.modalities,
    )
    assert made.max_abs_logit_difference <= 1e-4
    classifier = Classifier(tmp_path / "student.tflite")
    path = str(tmp_path / "1.wav")
    alone = classifier.predict(cry=path)
    assert alone == classifier.predict(cry={"array": tone(310), "sampling_rate": RATE})
    silent = classifier.predict(cry=np.zeros(9), title="no 1")
    assert silent != classifier.predict(title="no 1") != classifier.predict(cry=path, title="no 1")
    with pytest.raises(ValueError, match="`cry`: a sound"):
        classifier.predict(cry=b"no sound")
