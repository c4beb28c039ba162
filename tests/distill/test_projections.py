import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.distill.feature_terms import Projection, at_positions, common_positions


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def built(width, shape, **arguments):
    layer = Projection(width, **arguments)
    layer.build((None, *shape))
    return layer


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 5, 3)], ids=str)
def test_maps_each_position_by_the_same_matrix(shape):
    layer = built(6, shape)
    features = drawn(2, *shape)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 6)
    expected = np.einsum("b...i,io->b...o", features, kernel) + bias
    np.testing.assert_allclose(layer(features), expected, atol=1e-6)


def test_begins_the_same_each_time():
    for a, b in zip(built(6, (3,)).weights, built(6, (3,)).weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(built(6, (3,)).weights[0]).max() > 0.1


def test_learns_a_spread_if_asked():
    assert built(6, (3,)).log_scale is None
    layer = built(6, (3,), log_scale=True)
    np.testing.assert_array_equal(layer.log_scale, np.zeros(6))
    assert len(layer.trainable_variables) == 3


def test_keeps_the_spread_in_full_precision():
    layer = built(6, (3,), log_scale=True, dtype="mixed_float16")
    assert layer.log_scale.dtype == "float32"


def test_config_mirrors_the_arguments():
    config = Projection(6, log_scale=True, name="p").get_config()
    again = Projection.from_config(config)
    assert (again.width, again.has_log_scale, again.name) == (6, True, "p")


@pytest.mark.parametrize(
    ("teacher", "student", "positions"),
    [
        ((8,), (5,), ()),
        ((7, 8), (7, 5), (7,)),
        ((9, 8), (4, 5), (4,)),
        ((4, 9, 8), (6, 3, 5), (4, 3)),
        ((4, 4, 8), (5,), ()),
        ((8,), (4, 4, 5), ()),
        ((None, 8), (None, 5), (None,)),
    ],
    ids=str,
)
def test_compares_at_the_coarser_of_both(teacher, student, positions):
    assert common_positions(teacher, student, argument="hint") == positions


@pytest.mark.parametrize(
    ("teacher", "student", "problem"),
    [
        ((), (5,), "whose last axis is a known width"),
        ((4, None), (4, 5), "whose last axis is a known width"),
        ((4, 8), (4, 4, 5), "two vectors, two sequences or two maps"),
        ((None, 8), (4, 5), "layers of known sizes"),
    ],
    ids=str,
)
def test_refuses_what_can_not_be_compared(teacher, student, problem):
    with pytest.raises(ValueError, match=f"`my_hint`: .*{problem}.*Received: teacher") as error:
        common_positions(teacher, student, argument="my_hint")
    assert f"{teacher}, student {student}" in str(error.value)


def pooled(features, positions):
    """Means over the windows of adaptive pooling: from floor(i n / m) to ceil((i + 1) n / m)."""
    for axis, wanted in enumerate(positions, start=1):
        size = features.shape[axis]
        windows = [slice(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]
        parts = [np.take(features, range(size)[w], axis).mean(axis, keepdims=True) for w in windows]
        features = np.concatenate(parts, axis)
    return features


@pytest.mark.parametrize(
    ("shape", "positions"),
    [((6, 3), (2,)), ((7, 3), (3,)), ((8, 6, 3), (4, 3)), ((5, 8, 3), (3, 5)), ((4, 2, 3), (4, 1))],
    ids=str,
)
def test_averages_over_neighbours(shape, positions):
    features = drawn(2, *shape)
    np.testing.assert_allclose(
        at_positions(tf.constant(features), positions), pooled(features, positions), atol=1e-6
    )


def test_averages_over_all_positions_where_the_other_is_a_vector():
    features = drawn(2, 4, 5, 3)
    np.testing.assert_allclose(at_positions(features, ()), features.mean((1, 2)), atol=1e-6)


def test_leaves_equal_positions_alone():
    features = drawn(2, 4, 5, 3)
    assert at_positions(features, (4, 5)) is features


def test_averages_a_batch_of_unknown_size_and_half_precision():
    features = drawn(2, 7, 6, 3)
    signature = [tf.TensorSpec([None, 7, 6, 3])]
    graph = tf.function(lambda x: at_positions(x, (3, 6)), input_signature=signature)
    np.testing.assert_allclose(graph(features), pooled(features, (3, 6)), atol=1e-6)
    half = at_positions(tf.cast(features, "float16"), (3, 6))
    assert half.dtype == "float16"
    np.testing.assert_allclose(half, pooled(features, (3, 6)), atol=2e-3)
