import numpy as np
import pytest

from mmkd_tf.export.quantization.rounding import round_to_grid, row_steps

rng = np.random.default_rng(0)
WEIGHTS = rng.normal(size=(8, 20)).astype("float32")
# As behind a relu: correlated, and far from zero in the mean.
INPUTS = np.maximum(rng.normal(size=(500, 20)) @ rng.normal(size=(20, 20)) + 2, 0)
MOMENTS = INPUTS.T @ INPUTS


def error(weights):
    return np.mean((INPUTS @ (weights - WEIGHTS).T) ** 2)


def test_steps_reach_to_the_largest_weight():
    weights = np.array([[-7.0, 1.0], [0.0, 0.0], [0.5, 3.5]], np.float32)
    np.testing.assert_array_equal(row_steps(weights, bits=4), [[1.0], [1.0], [0.5]])


@pytest.mark.parametrize("moments", [None, MOMENTS, np.stack([MOMENTS] * 8)])
@pytest.mark.parametrize("bits", [8, 4])
def test_lies_on_the_grid_that_a_quantizer_finds(bits, moments):
    steps = row_steps(WEIGHTS, bits=bits)
    rounded = round_to_grid(WEIGHTS, steps=steps, bits=bits, moments=moments)
    np.testing.assert_allclose(row_steps(rounded, bits=bits), steps, rtol=1e-6)
    numbers = rounded / steps
    np.testing.assert_allclose(numbers, np.rint(numbers), atol=1e-4)
    assert np.abs(numbers).max() <= 2 ** (bits - 1) - 1 + 1e-4


def test_without_moments_takes_the_nearest():
    steps = row_steps(WEIGHTS, bits=4)
    expected = np.rint(WEIGHTS / steps) * steps
    np.testing.assert_allclose(round_to_grid(WEIGHTS, steps=steps, bits=4), expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_moments_keep_what_the_layer_computes(bits):
    steps = row_steps(WEIGHTS, bits=bits)
    nearest = round_to_grid(WEIGHTS, steps=steps, bits=bits)
    shared = round_to_grid(WEIGHTS, steps=steps, bits=bits, moments=MOMENTS)
    assert error(shared) < 0.6 * error(nearest)
    each = np.stack([MOMENTS] * len(WEIGHTS))
    same = round_to_grid(WEIGHTS, steps=steps, bits=bits, moments=each)
    np.testing.assert_allclose(same, shared, atol=1e-6)


def test_independent_inputs_change_nothing():
    steps = row_steps(WEIGHTS, bits=4)
    found = round_to_grid(WEIGHTS, steps=steps, bits=4, moments=np.eye(20))
    np.testing.assert_allclose(found, round_to_grid(WEIGHTS, steps=steps, bits=4), rtol=1e-6)


def test_what_lies_on_the_grid_stays():
    steps = row_steps(WEIGHTS, bits=4)
    weights = round_to_grid(WEIGHTS, steps=steps, bits=4)
    found = round_to_grid(weights, steps=row_steps(weights, bits=4), bits=4, moments=MOMENTS)
    np.testing.assert_allclose(found, weights, atol=1e-6)


def test_inputs_that_never_vary():
    steps = row_steps(WEIGHTS, bits=8)
    for moments in (np.zeros((20, 20)), np.ones((20, 20))):
        found = round_to_grid(WEIGHTS, steps=steps, bits=8, moments=moments)
        assert np.isfinite(found).all()
