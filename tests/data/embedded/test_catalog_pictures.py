import numpy as np
import pytest

from mmkd_tf.data.embedded.catalog_pictures import MARKS, PRODUCTS, draw_picture, tint


def pixels(kind, condition, seed=0, image_size=64):
    picture = draw_picture(kind, condition, np.random.default_rng(seed), image_size)
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.mark.parametrize("image_size", [16, 64, 224])
def test_size(image_size):
    assert pixels("mug", "new", image_size=image_size).shape == (image_size, image_size, 3)


def test_same_seed_same_picture():
    np.testing.assert_array_equal(pixels("lamp", "used", 3), pixels("lamp", "used", 3))
    assert (pixels("lamp", "used", 3) != pixels("lamp", "used", 4)).any()


@pytest.mark.parametrize("seed", range(10))
def test_every_kind_and_condition_looks_different(seed):
    seen = {
        pixels(kind, condition, seed).tobytes()
        for kind in [None, *PRODUCTS]
        for condition in [None, *MARKS]
    }
    assert len(seen) == 18


@pytest.mark.parametrize("condition", MARKS)
@pytest.mark.parametrize("kind", [None, *PRODUCTS])
def test_mark_is_always_inside_the_picture(kind, condition):
    for seed in range(30):
        changed = (pixels(kind, condition, seed) != pixels(kind, None, seed)).any(axis=-1)
        # A mark covers at least 1 % of the picture.
        assert changed.sum() > 40


def test_small_and_large_show_the_same():
    small, large = pixels("chair", "new"), pixels("chair", "new", image_size=256)

    reduced = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))

    assert np.abs(reduced - small).mean() < 4


def test_tint():
    assert tint((100, 200, 50), 0.5) == (50, 100, 25)
    assert tint((55, 155, 255), 2.0) == (155, 205, 255)
