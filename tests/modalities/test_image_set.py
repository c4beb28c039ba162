"""Several pictures of one example as one input."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as Pillow

from mmkd_tf.edge.picture import PictureReader
from mmkd_tf.modalities import input_options
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.image_damage import lose
from mmkd_tf.modalities.image_set import ImageSet

PICTURES = np.random.default_rng(0).integers(1, 256, [4, 3, 16, 16, 3], np.uint8)
PICTURES[1, 2] = PICTURES[2, :2] = PICTURES[3] = 0
OPTIONS = {"kind": "image", "size": 8, "columns": ["one", "two"]}


def png(pixels):
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_fitting_gives_a_set_where_there_are_columns():
    options = input_options({**OPTIONS, "pool": "max", "student": {"size": 8}})
    one = Image.fit("photos", np.zeros([0, 2, 8, 8, 3], "uint8"), options)
    assert (type(one), one.name, one.views, one.height, one.pool) == (
        ImageSet,
        "photos",
        2,
        8,
        "max",
    )
    assert one.for_student(PICTURES, size=8) is None
    assert options.columns_of("photos") == ["one", "two"]
    assert Image.fit("photos", PICTURES, input_options(OPTIONS)).pool == "mean"
    assert type(Image.fit("photo", PICTURES, input_options({"kind": "image"}))) is Image


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kind": "image", "pool": "max"}, "`pool`: with `columns` alone"),
        ({**OPTIONS, "columns": ["a", "a"]}, "`columns`: each once"),
        ({**OPTIONS, "columns": []}, "at least 1 item"),
        ({**OPTIONS, "pool": "sum"}, "'mean', 'max' or 'attention'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        input_options(options)


def test_cells_come_in_tuples_and_problems_name_columns(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PICTURES[0, 0]))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    cells = [("a.png", ""), (None, png(PICTURES[0, 1])), ("bad.png", "gone.png"), ("", None)]
    options = input_options({**OPTIONS, "size": 16})
    values, problems = Image.read(iter(cells), options, folder=tmp_path)
    assert values.shape == (4, 2, 16, 16, 3)
    np.testing.assert_array_equal(values[0, 0], PICTURES[0, 0])
    np.testing.assert_array_equal(values[1, 1], PICTURES[0, 1])
    assert not values[0, 1].any() and not values[1, 0].any()
    assert Image.absent(values).tolist() == [False, False, True, True]
    assert list(problems) == [2]
    assert "one: picture 'bad.png': it is none of" in problems[2]
    assert "two: picture 'gone.png': there is no such file" in problems[2]
    assert Image.read([], options)[0].shape == (0, 2, 16, 16, 3)


def test_each_picture_is_changed_by_itself():
    photos = ImageSet("photos", views=3, height=16)
    same = np.repeat(PICTURES[:1, :1], 3, axis=1)
    for change in (photos.augment, photos.corrupt):
        changed = change(np.repeat(same, 8, axis=0), np.stack([np.arange(8)] * 2, 1)).numpy()
        assert changed.shape == (8, 3, 16, 16, 3) and changed.dtype == np.uint8
        assert len({picture.tobytes() for one in changed for picture in one}) > 12
    photos.strength = 0.0  # mirrored or not
    changed = photos.augment(PICTURES, np.zeros([4, 2], "int32")).numpy()
    np.testing.assert_array_equal(
        changed.any((2, 3, 4)), [[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    )


def test_sets_are_near_copies_where_all_of_their_pictures_are():
    keys = Image.copy_keys(np.concatenate([PICTURES, PICTURES[:1]]))
    assert keys.shape == (5, 12)
    np.testing.assert_array_equal(Image.are_copies(keys[:1], keys)[0], [1, 0, 0, 0, 1])
    single = Image.copy_keys(PICTURES[:, 0])
    np.testing.assert_array_equal(single, keys[:4, :4])


def test_what_does_not_learn_of_one_picture_does_not_of_a_set():
    given = keras.Input([16, 16, 3])
    norm = keras.layers.BatchNormalization()
    norm.trainable = False
    part = keras.Model(given, norm(keras.layers.Conv2D(2, 3, use_bias=False)(given)), name="part")
    made, pooled = ImageSet("photos", views=2, height=16).over_pictures([part])
    assert [len(model.trainable_weights) for model in (made, pooled)] == [1, 0]


def test_pictures_get_lost_but_one():
    for amount, left in ((0.25, 2), (0.5, 1), (1.0, 1)):
        kept = lose(PICTURES[0], amount, np.random.default_rng(1))
        assert kept.any((1, 2, 3)).sum() == left
    assert (lose(PICTURES[2], 1.0, np.random.default_rng(0)) == PICTURES[2]).all()


def test_a_report_shows_those_that_are_there_side_by_side():
    shown = ImageSet("photos", views=3, height=16).shown(PICTURES[1])
    data = tf.io.decode_base64(shown["data"].split(",")[1].replace("+", "-").replace("/", "_"))
    assert shown["form"] == "picture"
    with Pillow.open(io.BytesIO(data.numpy())) as picture:
        assert picture.size == (32, 16)


def test_a_saved_model_takes_a_file_for_each():
    photos = ImageSet("photos", views=3, height=16)
    assert photos.string_shape == (3,)
    files = tf.constant(photos.encode(PICTURES))
    assert files.shape == (4, 3)
    np.testing.assert_array_equal(photos.decode(files), PICTURES)


def reader():
    return PictureReader("photos", (3, 16, 16, 3), np.dtype("uint8"), {}, {})


def test_the_edge_takes_a_list(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(PICTURES[0, 0]))
    expected = np.zeros([3, 16, 16, 3], "uint8")
    expected[0] = PICTURES[0, 0]
    for value in ([path], [str(path), None], PICTURES[0, :1], f"{path}, ", [PICTURES[0, 0]]):
        np.testing.assert_array_equal(reader()(value), expected)
    expected[1] = expected[0]
    np.testing.assert_array_equal(reader()(f"{path},{path}"), expected)


@pytest.mark.parametrize(
    ("value", "error", "problem"),
    [
        (PICTURES[0, 0], TypeError, "`photos`: a list of pictures. Received: photos=ndarray"),
        (7, TypeError, "`photos`: a list of pictures"),
        ([PICTURES[0, 0]] * 4, ValueError, "`photos`: at most 3 pictures. Received: 4"),
        ([PICTURES[0, 0], b"x"], ValueError, r"`photos\[1\]`: a picture"),
    ],
)
def test_other_values_are_refused(value, error, problem):
    with pytest.raises(error, match=problem):
        reader()(value)
