import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import mmkd_tf
from mmkd_tf.config import make_config
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.points import spread
from mmkd_tf.modalities import input_options
from mmkd_tf.modalities.points import Points
from mmkd_tf.models import build_student
from mmkd_tf.report.progress import Reporter
from mmkd_tf.run import run
from mmkd_tf.runs.folder import RunFolder

RNG = np.random.default_rng(0)
CLOUDS = RNG.standard_normal([4, 16, 3]).astype("float32")


def made(values=CLOUDS, **options):
    options = input_options({"kind": "points", "points": values.shape[1], **options})
    return Points.fit("cloud", values, options)


def encoder(modality):
    data = type("Data", (), {"modalities": {"cloud": modality}, "num_classes": 3})
    model = build_student(data)
    return lambda values: model({"cloud": values}).numpy()


def seeds(number, view=0):
    return np.stack([np.arange(number), np.full(number, view)], 1).astype("int32")


def test_problems_are_listed_by_row_and_empty_cells_are_absent(tmp_path):
    (tmp_path / "a.xyz").write_text("0 0 0\n1 0 0")
    cells = ["a.xyz", "", None, "b.xyz", CLOUDS[0], b"nan 1 1", 5, float("nan")]
    options = input_options({"kind": "points", "points": 8})
    values, problems = Points.read(cells, options, folder=tmp_path)
    assert values.shape == (8, 8, 3) and sorted(problems) == [3, 5, 6]
    assert "point cloud 'b.xyz': there is no such file" in problems[3]
    assert problems[5] == (
        "point cloud: 1 of 1 points have numbers that are not finite, or above 1e+12; leave these "
        "points out"
    )
    assert Points.absent(values).nonzero()[0].tolist() == [1, 2, 3, 5, 6, 7]


def test_bad_rows_are_listed_or_left_out():
    frame = pd.DataFrame({"cloud": list(RNG.random([40, 9, 3])), "label": ["a", "b"] * 20})
    frame.at[3, "cloud"] = np.full([9, 3], np.inf)
    frame.at[7, "cloud"] = np.zeros([0, 3])
    inputs = {"cloud": {"kind": "points", "points": 8}}
    with pytest.raises(ValueError, match="(?s)row 3: .*9 of 9 points.*row 7: .*no points"):
        mmkd_tf.from_table(frame, inputs=inputs)
    options = mmkd_tf.DatasetOptions(skip_bad_rows=True)
    with pytest.warns(UserWarning, match="2 bad rows"):
        data = mmkd_tf.from_table(frame, inputs=inputs, options=options)
    assert sum(len(examples) for examples in data.splits.values()) == 38


def test_students_read_half_of_the_points_or_as_many_as_set():
    options = input_options({"kind": "points"})
    assert options.student_changes == {"points": 256}
    assert input_options({"kind": "points", "points": 10}).student_changes == {"points": 8}
    modality = made()
    student = modality.for_student(CLOUDS, points=8)
    np.testing.assert_array_equal(student.to_tensor(CLOUDS), CLOUDS[:, spread(16, 8)])
    assert modality.for_student(CLOUDS, points=16) is None
    with pytest.raises(ValueError, match="student.points`: at most `points`, 16. Received: 17"):
        modality.for_student(CLOUDS, points=17)
    with pytest.raises(ValueError, match="`student.points`: at most `points`, 20"):
        input_options({"kind": "points", "points": 20, "student": {"points": 30}})


def test_order_and_repetition_say_nothing_and_place_and_size_only_where_they_are_to():
    model = encoder(made())
    expected = model(CLOUDS)
    np.testing.assert_allclose(model(CLOUDS[:, ::-1]), expected, atol=1e-5)
    np.testing.assert_allclose(model(CLOUDS * 1000 - 300), expected, atol=1e-4)
    half = np.concatenate([CLOUDS[:, :8], CLOUDS[:, :8]], axis=1)
    once = np.concatenate([CLOUDS[:, :8], np.repeat(CLOUDS[:, 7:8], 8, axis=1)], axis=1)
    np.testing.assert_allclose(model(half), model(once), atol=1e-5)
    placed = encoder(made(normalize=False))
    assert np.abs(placed(CLOUDS + 1) - placed(CLOUDS)).max() > 1e-3


def test_the_model_scales_by_the_training_data():
    values = np.concatenate([CLOUDS, 5 + 2 * CLOUDS[:, :, :1]], axis=2)
    one = encoder(made(values, features=1, normalize=False))
    other = values * [10, 10, 10, 3] + [7, 7, 7, -2]
    two = made(other.astype("float32"), features=1, normalize=False)
    np.testing.assert_allclose(
        two.scale[1],
        made(values, features=1, normalize=False).scale[1] * [10, 10, 10, 3],
        rtol=1e-5,
    )
    assert two.scale[1, 0] == two.scale[1, 2] and np.isfinite(one(values)).all()
    alike = made(np.ones([4, 16, 4], "float32"), features=1)
    assert alike.scale.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
    assert alike.fingerprint() != two.fingerprint()


@pytest.mark.parametrize("up", "xyz")
def test_clouds_are_turned_about_the_axis_that_points_up(up):
    axis = "xyz".index(up)
    post = np.zeros([20, 16, 3], "float32")
    post[:, :, axis] = np.linspace(0, 1, 16)
    changed = made(post, up=up).augment(post, seeds(20)).numpy()
    off = np.delete(changed, axis, axis=2)
    assert 0.01 < np.abs(off).max() < 0.021  # moved, not turned
    beam = np.roll(post, 1, axis=2)
    ends = made(beam, up=up).augment(beam, seeds(20)).numpy()[:, -1]
    assert np.abs(np.delete(ends, axis, axis=1)).min(0).max() < 0.4  # in all directions
    still = made(beam, up=up, turn=0).augment(beam, seeds(20)).numpy()
    assert np.abs(still - beam).max() < 1.05 and still[:, 1:].max() > 0.8


def test_features_stay_with_their_points():
    values = np.concatenate([CLOUDS, np.tile(np.arange(16.0)[:, None], [4, 1, 1])], axis=2)
    values = values.astype("float32")
    modality = made(values, features=1, turn=0)
    modality.strength = 0.5
    for view in range(5):
        changed = modality.augment(values, seeds(4, view)).numpy()
        origin = changed[:, :, 3].astype(int)
        for cloud, before, rows in zip(changed, values, origin, strict=True):
            assert np.abs(cloud[:, :3] - before[rows, :3]).max() < 0.1 * 3 + 0.02
            assert set(rows) <= set(range(16)) and len(set(rows)) > 8


def test_more_damage_is_the_same_gone_further():
    for name, damage in Points.damages.items():
        few, many = (
            damage.change(CLOUDS[0], amount, np.random.default_rng(3)) for amount in (0.05, 0.5)
        )
        np.testing.assert_array_equal(few, damage.change(CLOUDS[0], 0.05, np.random.default_rng(3)))
        if name == "lost_points":
            assert len(np.unique(many, axis=0)) == 8
            assert {tuple(row) for row in many} <= {tuple(row) for row in few}
        elif name == "outliers":
            kept = (many == CLOUDS[0]).all(1)
            assert 0 < kept.sum() < 16 and (few[kept] == CLOUDS[0][kept]).all()
        else:
            np.testing.assert_allclose(many - CLOUDS[0], 10 * (few - CLOUDS[0]), atol=1e-5)


def test_a_saved_model_takes_any_number_of_points():
    modality = made()
    rows = RNG.random([100, 3]).astype("<f4")
    found = modality.decode([rows.tobytes(), rows[:5].tobytes(), b""]).numpy()
    np.testing.assert_array_equal(found[0], rows[spread(100, 16)])
    np.testing.assert_array_equal(found[1], rows[spread(5, 16)])
    assert not found[2].any()


def test_a_cloud_is_drawn():
    shown = made().shown(CLOUDS[0])
    assert shown["form"] == "picture" and shown["data"].startswith("data:image/png;base64,")
    assert made().shown(np.ones([16, 3], "float32"))["data"] != shown["data"]


def test_from_files_to_a_file(tmp_path):
    """Spheres and boxes, an input named as its kind: a run, and its file without TensorFlow."""
    rows = []
    for index in range(48):
        cloud = RNG.standard_normal([40, 3])
        norm = np.linalg.norm if index % 2 else lambda x, **how: np.abs(x).max(**how)
        cloud = cloud / norm(cloud, axis=1, keepdims=True) * RNG.uniform(1, 9) + RNG.normal(0, 9, 3)
        np.savetxt(tmp_path / f"{index}.xyz", cloud)
        rows.append(
            ("" if index in (5, 8) else f"{index}.xyz", f"box ball {index}", "ab"[index % 2])
        )
    pd.DataFrame(rows, columns=["cloud", "title", "label"]).to_csv(tmp_path / "t.csv", index=False)
    settings = {
        "data.source": str(tmp_path / "t.csv"),
        "inputs": {
            "points": {"kind": "points", "points": 32, "column": "cloud"},
            "title": {"kind": "text"},
        },
        "training.epochs": 1,
        "teacher.encoders": "scratch",
        "student.inherit": "none",
        "export.quantize": "dynamic",
    }
    folder = RunFolder(tmp_path / "run")
    config = make_config(settings)
    folder.begin(config)
    results = run(config, folder, Reporter(Console(file=io.StringIO())))
    assert set(results["robustness"]["damage"]) >= {"lost_points", "outliers", "jitter"}
    for one in results["exports"]:
        assert one["max_abs_logit_difference"] < 1e-4 or one["quantize"] != "float32"
    classifier = Classifier(folder.path / "student.tflite")
    path = str(tmp_path / "3.xyz")
    answer = classifier.predict(points=path, title="box").probabilities
    given = classifier.predict(points=np.loadtxt(path) * 7 + 1, title="box").probabilities
    assert given == pytest.approx(answer, abs=1e-3)
    assert classifier.predict(title="box").probabilities != answer
    with pytest.raises(ValueError, match="`points`: a point cloud or mesh"):
        classifier.predict(points="no.obj")
