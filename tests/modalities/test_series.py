"""Series: what is read of cells, resampling, damage, views, encoders, and the exported file."""

import json
import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmkd_tf import from_table
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.series import SeriesReader, read_series, resized
from mmkd_tf.export.tflite import export_tflite
from mmkd_tf.modalities.draws import turns, uniform_draws
from mmkd_tf.modalities.series import Series, SeriesOptions
from mmkd_tf.models import build_student
from mmkd_tf.models.seeding import seeded

NAN = float("nan")


def read(cells, **options):
    folder = options.pop("folder", None)
    return Series.read(cells, SeriesOptions(**options), folder=folder)


def wave(steps=8, channels=2):
    return np.sin(np.arange(steps * channels, dtype=np.float32)).reshape(steps, channels)


def known(values):
    return np.concatenate([values, np.ones([len(values), 1])], axis=1).astype(np.float32)


# Reading.


def test_arrays_lists_json_and_files_are_the_same_series(tmp_path):
    expected = known(wave())
    np.save(tmp_path / "a.npy", wave())
    pd.DataFrame(wave(), columns=["ax", "ay"]).to_csv(tmp_path / "a.csv", index=False)
    of_parquet = np.empty(8, object)
    of_parquet[:] = list(wave())
    lists = wave().tolist()
    cells = [wave(), wave().astype("float64"), lists, of_parquet, json.dumps(lists), "a.npy"]
    cells += ["a.csv", (tmp_path / "a.npy").read_bytes()]
    values, problems = read(cells, folder=tmp_path)
    assert not problems
    for value in values:
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_one_channel_may_stand_without_brackets():
    np.testing.assert_array_equal(read_series([1, 2, None]), [[1, 1], [2, 1], [0, 0]])


def test_empty_cells_and_series_without_a_number_are_absent():
    values, problems = read([None, NAN, "", [[NAN, NAN]], wave()])
    assert not problems
    assert Series.absent(values).tolist() == [True, True, True, True, False]


def test_columns_are_taken_by_name_and_spaced_by_time(tmp_path):
    frame = pd.DataFrame({"t": [0.0, 1.0, 4.0, 5.0], "b": [0, 1, 4, 5], "a": [5, 4, 1, ""]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    # Evenly: at 0, 5/3, 10/3 and 5, each less than .9 of 5/3 from a measured one.
    expected = [[5, 0, 1], [10 / 3, 5 / 3, 1], [5 / 3, 10 / 3, 1], [1, 5, 1]]
    (value,), problems = read(["x.csv"], folder=tmp_path, channels=["a", "b"], time="t")
    assert not problems
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_a_long_gap_is_not_known(tmp_path):
    frame = pd.DataFrame({"t": [0, 1, 2, 3, 19, 20], "v": range(6)})
    frame.to_csv(tmp_path / "x.csv", index=False)
    made = read_series(tmp_path / "x.csv", time="t")
    assert made[:, 1].tolist() == [1, 1, 0, 0, 1, 1]  # at 0, 4, 8, 12, 16, 20 s; near is 3.6
    assert not made[2:4].any()


def test_what_one_channel_lacks_lies_between_its_neighbours():
    made = read_series([[1, 1], [NAN, 2], [3, 3], [NAN, NAN]])
    np.testing.assert_array_equal(made, [[1, 1, 1], [2, 2, 1], [3, 3, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([[1.0, np.inf]], "an infinite number at step 0, channel 1"),
        ([[1e39, 1.0]], "an infinite number"),
        ([], r"its shape is \[0, 1\]"),
        (np.zeros([0, 2]), r"its shape is \[0, 2\]"),
        (np.zeros([2, 2, 2]), r"its shape is \[2, 2, 2\]"),
        ([[1, 2], [3]], "unequal numbers of channels"),
        ([[1, "x"]], "could not convert string to float: 'x'"),
        ("[[1, 2], [3", r"no lists of numbers as JSON .*at its end, '\[\[1, 2\], \[3'"),
        ("[[1, 2], [3,]", r"near '\[\[1, 2\], \[3,\]' \(Expecting value"),
        ("0.5, 1, 2", "such as .* or .1, 2.; the mistake is near"),
        ("[1] walk.csv", "no such file"),
        ([[1, NAN], [2, NAN]], "no number in channel 1"),
        (5, r"its shape is \[\]"),
        ({1, 2}, "neither a path nor a series but a set"),
        ("gone.csv", "no such file"),
        ("notes.txt", "no column t among x"),
        ("bare.csv", "its first row holds numbers"),
        ("empty.csv", "an empty file"),
        ("cut.csv", "row 3: 1 of 2 cells"),
        ("back.csv", "its time goes back, .* at step 2"),
        ("still.csv", "stands still .* at step 1"),
        ("untimed.csv", "no column t among a"),
        ("dates.csv", "no numbers in 't' .*2026-01-01"),
    ],
)
def test_what_is_wrong_with_a_cell_is_said_of_its_row(tmp_path, cell, reason):
    files = {"dates.csv": "t,a\n2026-01-01,1\n", "bare.csv": "1.5,-2\n0,1e-3\n"}
    files |= {
        "notes.txt": "x\n1\n",
        "empty.csv": "",
        "cut.csv": "t,a\n1,2\n3\n",
        "untimed.csv": "a\n1\n",
    }
    files |= {"back.csv": "t,a\n1,2\n2,2\n1,2\n", "still.csv": "t,a\n1,2\n1,3\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    values, problems = read([wave(), cell], folder=tmp_path, time="t")
    assert list(problems) == [1] and problems[1].startswith("series")
    assert re.search(reason, problems[1]), problems[1]
    assert Series.absent(values).tolist() == [False, True]


def test_other_numbers_of_channels_are_listed_and_a_turned_series_is_recognised():
    cells = [wave(9, 2), wave(2, 9), wave(9, 3), wave(4, 2)]
    _, problems = read(cells)
    assert sorted(problems) == [1, 2]
    assert "2 steps of 9 channels" in problems[1] and "steps come first" in problems[1]
    _, problems = read(cells, channels=3)
    assert sorted(problems) == [0, 1, 3]


@pytest.fixture
def imu(tmp_path):
    """A long table: id 1 has six steps, 2 has three, 3 goes back, 4 has a word."""
    rows = [(1, t, t, -t) for t in range(6)] + [(2, t, 1, "") for t in range(2)] + [(2, 2, 1, 9)]
    rows += [(3, 1, 0, 0), (3, 0, 0, 0), (4, 0, "much", 0)]
    frame = pd.DataFrame(rows, columns=["id", "time", "ax", "ay"])
    frame.to_csv(tmp_path / "imu.csv", index=False)
    return tmp_path


def test_ids_are_looked_up_in_a_long_table(imu):
    cells = ["1", 2.0, "3", 4, "77", None]
    values, problems = read(cells, folder=imu, table="imu.csv", time="time", channels=["ay", "ax"])
    np.testing.assert_array_equal(values[0], [[-t, t, 1] for t in range(6)])
    np.testing.assert_array_equal(values[1], [[9, 1, 1]] * 3)
    assert sorted(problems) == [2, 3, 4]
    assert "its time goes back" in problems[2]
    assert "no numbers in 'ax'" in problems[3] and "'much'" in problems[3]
    assert "no rows of id '77' in imu.csv" in problems[4]
    (value,), problems = read([1], folder=imu, table="imu.csv", time="time")
    assert not problems and value.shape == (6, 3)  # all columns but id and time


def test_a_long_table_that_can_not_be_read_is_said_at_once(imu):
    with pytest.raises(ValueError, match="imu.csv: no column az among id, time, ax, ay"):
        read([1], folder=imu, table="imu.csv", channels=["az"])
    with pytest.raises(ValueError, match="no such file"):
        read([1], folder=imu, table="gone.csv")


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`student.length`: at most `length`, 8"):
        SeriesOptions(length=8, student={"length": 9})


# Resampling.


def test_fewer_steps_are_means_and_more_lie_on_lines():
    series = known(np.array([[0.0], [2], [4], [6]]))
    np.testing.assert_allclose(resized(series, 2, 2), [[1, 1], [5, 1]])
    np.testing.assert_allclose(resized(series, 7, 2)[:, 0], [0, 1, 2, 3, 4, 5, 6])
    assert resized(series, 4, 2) is series


def test_unknown_steps_count_for_nothing():
    series = known(np.array([[8.0], [0], [4], [6], [1], [1]]))
    series[1] = series[4:] = 0
    np.testing.assert_allclose(resized(series, 3, 2), [[8, 1], [5, 1], [0, 0]])
    alone = np.zeros([1000, 2], np.float32)
    alone[700] = [0, 1]
    assert resized(alone, 10, 2)[:, 1].tolist() == [0] * 7 + [1] + [0] * 2


# Damage and views.


def test_damage_is_of_the_amount_that_it_says():
    rng = np.random.default_rng
    series = known(np.random.default_rng(1).standard_normal([1000, 3]) * [1, 10, 100])
    lost = Series.damages["dropout"].change(series, 0.3, rng(0))
    assert (lost[:, -1] == 0).sum() == 300 and not lost[lost[:, -1] == 0].any()
    deviation = series[:, :3].std(axis=0)
    moved = (Series.damages["bias"].change(series, 2, rng(0)) - series)[:, :3] / deviation
    np.testing.assert_allclose(np.abs(moved), 2, rtol=1e-3)
    noisy = (Series.damages["noise"].change(series, 0.4, rng(0)) - series)[:, :3] / deviation
    np.testing.assert_allclose(noisy.std(axis=0), 0.4, rtol=0.1)
    turned = Series.damages["permuted"].change(series, 1.0, rng(0))
    assert sorted(turned.std(axis=0)) == sorted(series.std(axis=0))
    assert not np.any(np.all(turned[:, :3] == series[:, :3], axis=0))


def modality(name="acc", channels=2, **options):
    scale = {"mean": [1.0] * channels, "deviation": [2.0] * channels}
    return Series(name, SeriesOptions(**options), length=32, **scale)


def seeds(number):
    return np.stack([np.arange(number), np.full(number, 3)], 1).astype("int32")


def test_series_of_one_example_are_shifted_alike_and_noisy_by_themselves():
    ramp = np.repeat(known(np.arange(32.0)[:, None])[None], 64, axis=0).astype("float32")
    views = [modality(name, channels=1).augment(ramp, seeds(64)) for name in ("acc", "gyro")]
    first, second = (np.asarray(view)[:, 4] for view in views)
    kept = (first[:, 1] > 0) & (second[:, 1] > 0)
    assert np.abs(first - second)[kept].max() > 0.1
    assert np.corrcoef(first[kept, 0], second[kept, 0])[0, 1] > 0.8


def test_a_stronger_view_is_further_away():
    batch = np.repeat(known(wave(32))[None], 64, axis=0)
    weak, strong = modality(), modality()
    weak.strength, strong.strength = 0.1, 1.0
    near, far = (
        np.abs(np.asarray(one.augment(batch, seeds(64))) - batch).mean() for one in (weak, strong)
    )
    assert 0 < near < far / 3


# Models and files.


def test_units_of_a_channel_do_not_matter_and_unknown_steps_are_zeros():
    values = [known(wave(20) * [1, 1e6] + [0, 1e5]), known(np.full([20, 2], 5.0))]
    values[0][3] = 0
    one = Series.fit("acc", values, SeriesOptions())
    assert one.length == 20
    tensors = one.to_tensor(values)
    inputs = one.input()
    convolution = keras.Model(inputs, one.teacher_encoder(inputs)).get_layer("acc_conv0")
    standardised = keras.Model(inputs, convolution.input)(tensors).numpy()
    there = np.concatenate(values)[:, -1] > 0
    flat = standardised.reshape(-1, 3)[there]
    np.testing.assert_allclose(flat[:, :2].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(flat[:, :2].std(axis=0), 1, atol=1e-5)
    assert not standardised[0, 3].any()


def test_a_constant_channel_stays_finite():
    one = Series.fit("acc", [known(np.full([8, 2], 0.1))], SeriesOptions())
    assert one.deviation == [1.0, 1.0]


@pytest.mark.parametrize("encoder", ["convolution", "recurrent"])
def test_the_student_is_small_and_its_length_its_own(encoder):
    teacher = modality(encoder=encoder)
    student = teacher.for_student([], length=8)
    assert student.length == 8 and teacher.for_student([]) is None
    counts = []
    for one, encode in ((teacher, "teacher_encoder"), (student, "student_encoder")):
        inputs = one.input()
        counts.append(keras.Model(inputs, getattr(one, encode)(inputs)).count_params())
    assert 3_000 < counts[1] <= min(30_000, counts[0] / 20)


def test_another_number_of_channels_than_in_training_is_refused():
    with pytest.raises(ValueError, match="3 channels, where the model reads 2"):
        modality().to_tensor([known(wave(5, 3))])


def test_the_reader_gives_what_training_saw(imu):
    options = SeriesOptions(channels=["ax", "ay"], table="imu.csv", time="time")
    one = Series("acc", options, length=4, mean=[0, 0], deviation=[1, 1])
    shape = tuple(one.input().shape[1:])
    described = json.loads(json.dumps(one.file_description("float32")))
    reader = SeriesReader("acc", shape, np.dtype("float32"), described, {})
    values, _ = read([1], folder=imu, table="imu.csv", time="time", channels=["ax", "ay"])
    expected = one.to_tensor(values)[0]
    frame = pd.read_csv(imu / "imu.csv")
    frame[frame["id"] == 1].to_csv(imu / "first.csv", index=False)
    np.testing.assert_array_equal(reader(imu / "first.csv"), expected)
    np.testing.assert_array_equal(reader(values[0][:, :2]), expected)
    np.testing.assert_array_equal(reader(imu / json.dumps(values[0][:, :2].tolist())), expected)
    assert not reader([[NAN, NAN]]).any()
    with pytest.raises(ValueError, match="`acc`: a series.*3 channels, where the model reads 2"):
        reader(wave(4, 3))
    with pytest.raises(ValueError, match="`acc`: a series. Received: .*gone.csv.*no such file"):
        reader(imu / "gone.csv")
    with pytest.raises(TypeError, match="`acc`: a series. Received: '{1.5}'"):
        reader({1.5})
    with pytest.raises(ValueError, match="series are float32"):
        SeriesReader("acc", (4,), np.dtype("float32"), {}, {})


def test_a_saved_model_takes_the_tensors_bytes():
    one = modality()
    batch = np.zeros([2, 32, 3], np.float32)
    batch[0] = known(wave(32))
    content = one.encode(batch)
    assert content[1] == b""
    np.testing.assert_array_equal(tf.function(one.decode)(tf.constant(content)), batch)


@pytest.mark.parametrize("encoder", ["convolution", "recurrent"])
def test_an_exported_file_answers_as_keras_and_takes_series_as_they_are(tmp_path, encoder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"acc": list(rng.standard_normal([30, 12, 2])), "label": list("ab") * 15})
    options = {"kind": "series", "length": 16, "encoder": encoder}
    data = from_table(frame, inputs={"acc": options}, validation=0.2, test=0.2)
    student = seeded(build_student(data), seed=0)
    examples = data.splits["test"].inputs
    made = export_tflite(
        student,
        tmp_path / "student.tflite",
        class_names=data.class_names,
        examples=examples,
        modalities=data.modalities,
    )
    assert made.max_abs_logit_difference < 1e-4
    classifier = Classifier(tmp_path / "student.tflite")
    series = frame["acc"][0]
    expected = tf.nn.softmax(student({"acc": data.modalities["acc"].to_tensor([known(series)])}))
    for value in (series, series.tolist(), json.dumps(series.tolist())):
        found = classifier.predict(acc=value).probabilities
        found = [found[name] for name in data.class_names]  # it has the likeliest first
        np.testing.assert_allclose(found, expected[0], atol=1e-5)


def test_three_axes_are_turned_alike_in_all_series_of_an_example():
    values = [read_series(wave(channels=3))] * 5
    options = SeriesOptions(turn=90)
    first, second = (Series.fit(name, values, options) for name in ("acc", "gyro"))
    seeds = np.stack([np.arange(5), np.full(5, 3)], 1).astype("int32")
    plain = Series.fit("acc", values, SeriesOptions())
    batch = first.to_tensor(values)
    turned, kept = first.augment(batch, seeds).numpy(), plain.augment(batch, seeds).numpy()
    assert np.abs(turned - kept).max() > 0.1
    matrices = turns(uniform_draws(seeds, 5)[:, 2:], np.pi / 2).numpy()
    same = np.tile(np.eye(3), [5, 1, 1])
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), same, atol=1e-5)
    assert np.allclose(np.linalg.det(matrices), 1, atol=1e-5)
    assert (
        first.fingerprint() != plain.fingerprint() and first.fingerprint() == second.fingerprint()
    )
    with pytest.raises(ValueError, match="`acc.turn`: 0 unless each three channels"):
        Series.fit("acc", [read_series(wave())] * 5, options)
