import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.modalities.image import Image, ImageOptions


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, [4, 16, 16, 3], np.uint8)


def test_augmentation_belongs_to_the_seed_not_to_the_batch(pictures):
    image = Image(height=16)
    seeds = np.array([[0, 1], [1, 1], [2, 1], [3, 1]], "int32")
    together = image.augment(pictures, seeds).numpy()
    for row in range(4):
        alone = image.augment(pictures[row : row + 1], seeds[row : row + 1]).numpy()
        np.testing.assert_array_equal(together[row], alone[0])
    other_view = image.augment(pictures, seeds + np.array([0, 1])).numpy()
    assert all((together[row] != other_view[row]).any() for row in range(4))
    assert together.dtype == np.uint8


def test_an_absent_picture_stays_absent():
    absent = np.zeros([1, 16, 16, 3], np.uint8)
    assert not Image(height=16).augment(absent, np.array([[5, 6]], "int32")).numpy().any()


def test_augmentation_mirrors_about_half_and_keeps_the_colours():
    # Left half red, right half blue: mirrored or not, both colours remain.
    picture = np.zeros([16, 16, 3], np.uint8)
    picture[:, :8, 0] = 200
    picture[:, 8:, 2] = 200
    batch = np.repeat(picture[np.newaxis], 200, axis=0)
    seeds = np.stack([np.arange(200), np.zeros(200)], 1).astype("int32")
    changed = Image(height=16).augment(batch, seeds).numpy()
    mirrored = changed[:, 8, 1, 2] > changed[:, 8, 1, 0]
    assert 0.35 < mirrored.mean() < 0.65
    assert (changed[..., 0].max((1, 2)) > 150).all() and (changed[..., 2].max((1, 2)) > 150).all()
    upright = Image.fit("image", batch, ImageOptions(size=16, mirror=False))
    for form in (upright, upright.for_student(batch, size=8)):
        changed = form.augment(form.to_tensor(batch), seeds).numpy()
        assert (changed[:, 8 * len(changed[0]) // 16, 1, 0] > 0).all()  # red stays on the left


def test_half_of_the_pictures_get_noise():
    batch = np.full([200, 16, 16, 3], 128, np.uint8)
    batch[0] = 0
    seeds = np.stack([np.arange(200), np.full(200, 7)], 1).astype("int32")
    noise = Image(height=16).corrupt(batch, seeds).numpy() - batch.astype(float)
    deviations = noise.std((1, 2, 3))
    assert 0.4 < (deviations > 0).mean() < 0.6 and deviations[0] == 0
    assert 25 < deviations.max() < 33 and abs(noise.mean()) < 0.2
    loud = noise[deviations > 15].reshape(-1, 16 * 16 * 3)
    assert abs(np.corrcoef(loud) - np.eye(len(loud))).max() < 0.2  # another noise for each


def test_other_sizes_are_resized(pictures):
    assert Image(height=8, width=12).to_tensor(pictures).shape == (4, 8, 12, 3)
    np.testing.assert_array_equal(Image(height=16).to_tensor(pictures), pictures)


def test_encoders_give_named_features_and_the_student_is_20_times_smaller(pictures):
    image = Image(height=16)
    inputs = image.input()
    teacher = keras.Model(inputs, image.teacher_encoder(inputs))
    student = keras.Model(inputs, image.student_encoder(inputs))
    assert teacher.count_params() >= 20 * student.count_params()
    for model in (teacher, student):
        assert model.get_layer("image_features").output.shape[1:] == model.output.shape[1:]
        assert np.isfinite(model(pictures)).all()


def test_refuses_a_tiny_size():
    with pytest.raises(ValueError, match="`height`, `width`: at least 8"):
        Image(height=4)


def test_the_student_may_have_smaller_pictures(pictures):
    image = Image("front", height=16)
    assert image.for_student(pictures) is None and image.for_student(pictures, size=16) is None
    own = image.for_student(pictures, size=8)
    assert (own.name, own.height, own.width) == ("front", 8, 8)
    with pytest.raises(ValueError, match="`front.student.size`: at most `size`, 16"):
        image.for_student(pictures, size=32)
    with pytest.raises(ValueError, match="`front.student.size`: .*equal to 8. Received: 4"):
        image.for_student(pictures, size=4)
    with pytest.raises(ValueError, match="`student.size`: at most `size`, 16"):
        Image.Options(size=16, student={"size": 32})


def test_pictures_are_written_as_files_that_give_them_again(pictures):
    image = Image(height=16)
    pictures[1] = 0
    files = image.encode(pictures)
    assert files[1] == b"" and files[0].startswith(b"\x89PNG")
    np.testing.assert_array_equal(image.decode(files), pictures)
    np.testing.assert_array_equal(image.decode(image.encode(pictures.astype("float32"))), pictures)


def test_a_models_input_of_this_shape_is_a_picture():
    image = Image.of_tensor(keras.Input([16, 24, 3], name="front"))
    assert (image.name, image.height, image.width) == ("front", 16, 24)
    for shape in ([16, 24, 1], [None, None, 3], [16]):
        assert Image.of_tensor(keras.Input(shape)) is None


def test_draws_are_uniform_and_independent():
    from mmkd_tf.modalities.draws import uniform_draws

    seeds = tf.stack([tf.range(4000), tf.fill([4000], 3)], axis=1)
    draws = uniform_draws(seeds, 4).numpy()
    assert 0 <= draws.min() and draws.max() < 1
    counts = np.stack([np.histogram(column, bins=10, range=(0, 1))[0] for column in draws.T])
    assert np.abs(counts - 400).max() < 100  # 400 expected, standard deviation 19
    correlation = np.corrcoef(np.concatenate([draws, np.roll(draws, 1, axis=0)], 1).T)
    assert np.abs(correlation - np.eye(8)).max() < 0.08


def test_a_strength_says_how_far_pictures_are_changed(pictures):
    seeds = np.array([[0, 1], [1, 1], [2, 1], [3, 1]], "int32")
    smooth = tf.image.resize(pictures[:, :4, :4], [16, 16]).numpy().astype(np.uint8)
    changes = []
    for strength in (0.01, 1.0, 3.0):
        image = Image(height=16)
        image.strength = strength
        changed = image.augment(smooth, seeds).numpy().astype(int)
        # Mirrored or not, whichever is nearer: that half are is no matter of strength.
        apart = [np.abs(changed - was).mean((1, 2, 3)) for was in (smooth, smooth[:, :, ::-1])]
        changes.append(np.minimum(*apart).mean())
    assert changes[0] < 2 < changes[1] < changes[2]
