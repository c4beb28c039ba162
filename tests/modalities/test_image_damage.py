import io

import numpy as np
import pytest
from PIL import Image

from mmkd_tf.modalities.image_damage import blur, jpeg, noise, occlude


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(60, 190, [16, 24, 3]).astype(np.uint8)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("change", "amount"), [(blur, 0.05), (noise, 20), (jpeg, 20)])
def test_changes_all_over_and_leaves_the_original(picture, change, amount):
    before = picture.copy()
    damaged = change(picture, amount, generator())
    assert damaged.shape == picture.shape and damaged.dtype == np.uint8
    assert (damaged != picture).any(axis=2).mean() > 0.9
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize(("change", "amount"), [(noise, 20), (occlude, 0.2)])
def test_the_same_generator_gives_the_same_damage(picture, change, amount):
    first, second, other = (change(picture, amount, generator(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_blur_of_a_line_is_a_gaussian():
    picture = np.zeros([41, 40, 3], np.uint8)
    picture[20] = 255
    column = blur(picture, 0.1, generator())[:, 20, 0].astype(float)
    # 10 % of 40 pixels is 4: the line's 255 spread over sqrt(2 pi) * 4 pixels.
    rows = np.arange(41) - 20
    expected = 255 / (4 * np.sqrt(2 * np.pi)) * np.exp(-(rows**2) / (2 * 4**2))
    np.testing.assert_allclose(column, expected, atol=3)


def test_noise_has_the_standard_deviation_and_stays_in_range():
    grey = np.full([64, 64, 3], 127, np.uint8)
    difference = noise(grey, 20, generator()).astype(float) - grey
    assert difference.std() == pytest.approx(20, rel=0.02)
    assert abs(difference.mean()) < 0.5
    white = noise(np.full([64, 64, 3], 255, np.uint8), 20, generator())
    # Half of the noise is cut off; without a limit it would wrap round to black.
    assert (white == 255).mean() == pytest.approx(0.5, abs=0.03) and white.min() > 100


def test_jpeg_is_pillows(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=10)
    np.testing.assert_array_equal(
        jpeg(picture, 10, generator()), np.asarray(Image.open(io.BytesIO(file.getvalue())))
    )
    errors = [np.abs(jpeg(picture, q, generator()).astype(int) - picture).mean() for q in (50, 5)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("amount", [0.25, 0.5, 1.0])
def test_occlusion_hides_the_share_in_one_piece(picture, amount):
    for seed in range(5):
        damaged = occlude(np.where(picture == 127, 128, picture), amount, generator(seed))
        hidden = (damaged == 127).all(axis=2)
        assert hidden.mean() == pytest.approx(amount, abs=0.03)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden[np.ix_(rows, columns)].all()
