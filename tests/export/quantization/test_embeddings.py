import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.embeddings import (
    _steps,
    round_rows,
    scale_rows,
    use_embedding_lookup,
)
from mmkd_tf.export.quantization.graph import Operator, code_of, constant, write_used
from mmkd_tf.export.tflite_tables import read_tables

IDS = {"text": np.random.default_rng(0).integers(0, 30, (12, 5)).astype("int32")}

RNG = np.random.default_rng(0)
# What a dense layer makes of rows: columns are alike, and far from zero in the mean.
KERNEL = np.maximum(RNG.normal(size=(20, 20)) @ RNG.normal(size=(20, 500)) + 2, 0)
PRODUCTS = KERNEL @ KERNEL.T


def rows(bits):
    """Rows that reach to the end of the grid."""
    values = np.random.default_rng(1).normal(size=(8, 20))
    return values / np.abs(values).max(axis=1, keepdims=True) * (2 ** (bits - 1) - 1)


def text_model(encoder, mask=True):
    text = keras.Input([5], dtype="int32", name="text")
    embedding = layers.Embedding(30, 8, mask_zero=mask)
    x = encoder(embedding(text))
    model = keras.Model(text, layers.Dense(3)(x))
    # Rows of very different size, as those of frequent and of rare words.
    sizes = np.geomspace(0.01, 1, 30)[:, np.newaxis]
    table = sizes * np.random.default_rng(1).normal(size=(30, 8))
    embedding.set_weights([table])
    return model, table


def codes(model):
    return [code_of(model, operator) for operator in model.subgraphs[0].operators]


def lookups(model):
    graph = model.subgraphs[0]
    return {
        tuple(map(int, graph.tensors[operator.inputs[1]].shape)): constant(
            model, graph.tensors[operator.inputs[1]]
        )
        for operator in graph.operators
        if code_of(model, operator) == Operator.EMBEDDING_LOOKUP
    }


@pytest.mark.parametrize("batch_size", [1, 4, None])
@pytest.mark.parametrize(
    "encoder", [lambda: layers.LSTM(4), lambda: layers.GlobalAveragePooling1D()]
)
def test_lookup_gives_the_same(encoder, batch_size):
    model, table = text_model(encoder())
    content = convert(model, IDS, batch_size=batch_size)
    changed = read_tables(content)
    use_embedding_lookup(changed)
    assert codes(changed).count(Operator.EMBEDDING_LOOKUP) == 1
    (found,) = lookups(changed).values()
    np.testing.assert_array_equal(found, table.astype("float32"))
    result = TensorRunner(write_used(changed))
    assert result.inputs == TensorRunner(content).inputs
    np.testing.assert_allclose(result(IDS), TensorRunner(content)(IDS), atol=1e-7)


def test_tables_of_integers_stay():
    text = keras.Input([5], dtype="int32", name="text")
    numbers = keras.ops.take(np.arange(30, dtype="int32"), text)
    x = keras.ops.cast(numbers, "float32")
    content = convert(keras.Model(text, layers.Dense(3)(x)), IDS)
    model = read_tables(content)
    use_embedding_lookup(model)
    assert Operator.EMBEDDING_LOOKUP not in codes(model)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.006), (4, 0.1)])
def test_each_row_has_its_own_scale(bits, error):
    # Nothing is known of what is behind a mean, so each number is rounded to the nearest.
    model, table = text_model(layers.GlobalAveragePooling1D(), mask=False)
    changed = read_tables(convert(model, IDS))
    use_embedding_lookup(changed)
    scale_rows(changed, bits=bits)
    steps, scales = (lookups(changed)[30, columns] for columns in (8, 1))
    levels = 2 ** (bits - 1) - 1
    np.testing.assert_array_equal(steps, np.rint(steps))
    np.testing.assert_array_equal(np.abs(steps).max(axis=1), levels)
    np.testing.assert_array_equal(scales, scales.astype("float16"))
    largest = np.abs(table).max(axis=1, keepdims=True)
    assert (np.abs(steps * scales - table) / largest).max() <= error
    found = TensorRunner(write_used(changed))(IDS)
    np.testing.assert_allclose(found, keras.ops.softmax(model(IDS["text"])), atol=error)


def test_rounding_keeps_what_a_dense_layer_makes_of_it():
    # Also where steps are chosen and moved in between, as in front of recurrent layers.
    model, table = text_model(layers.LSTM(4))
    lstm = model.layers[-2]
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(8, 2)) @ rng.normal(size=(2, 16)) + 0.1 * rng.normal(size=(8, 16))
    lstm.set_weights([kernel, *lstm.get_weights()[1:]])
    changed = read_tables(convert(model, IDS))
    use_embedding_lookup(changed)
    scale_rows(changed, bits=4)
    steps, scales = (lookups(changed)[30, columns] for columns in (8, 1))
    nearest = np.rint(table / scales)
    wanted = table @ kernel
    error, plain = (np.mean((x * scales @ kernel - wanted) ** 2) for x in (steps, nearest))
    assert error < 0.3 * plain


@pytest.mark.parametrize("products", [None, PRODUCTS])
@pytest.mark.parametrize("bits", [8, 4])
def test_rows_lie_on_the_grid_that_a_quantizer_finds(bits, products):
    rounded = round_rows(rows(bits), bits=bits, products=products)
    np.testing.assert_array_equal(rounded, np.rint(rounded))
    np.testing.assert_array_equal(np.abs(rounded).max(axis=1), 2 ** (bits - 1) - 1)


def test_without_a_dense_layer_rows_take_the_nearest():
    np.testing.assert_array_equal(round_rows(rows(4), bits=4), np.rint(rows(4)))


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_keep_what_the_dense_layer_computes(bits):
    def error(rounded):
        return np.mean(((rounded - rows(bits)) @ KERNEL) ** 2)

    nearest = round_rows(rows(bits), bits=bits)
    assert error(round_rows(rows(bits), bits=bits, products=PRODUCTS)) < 0.6 * error(nearest)


def test_independent_columns_change_nothing():
    found = round_rows(rows(4), bits=4, products=np.eye(20))
    np.testing.assert_array_equal(found, round_rows(rows(4), bits=4))


def test_rows_on_the_grid_stay():
    whole = round_rows(rows(4), bits=4)
    np.testing.assert_array_equal(round_rows(whole, bits=4, products=PRODUCTS), whole)


def test_columns_that_nothing_depends_on():
    for products in (np.zeros((20, 20)), np.ones((20, 20))):
        assert np.isfinite(round_rows(rows(8), bits=8, products=products)).all()


@pytest.mark.parametrize("products", [None, PRODUCTS])
def test_few_bits_may_cut_a_rows_largest_number(products):
    values = np.random.default_rng(4).normal(size=(50, 20))
    steps, scales = _steps(values, bits=4, products=products)
    assert np.abs(steps).max() == 7 and scales.shape == (50, 1)
    largest = np.abs(values).max(axis=1, keepdims=True) / 7
    whole = largest.astype(np.float16).astype(np.float32)

    def losses(steps, scales):
        errors = steps * scales - values
        return (errors * (errors if products is None else errors @ products)).sum(axis=1)

    uncut = losses(round_rows(values / whole, bits=4, products=products), whole)
    assert (losses(steps, scales) <= uncut).all()
    assert losses(steps, scales).mean() < 0.95 * uncut.mean()
    steps, scales = _steps(values, bits=8, products=products)
    np.testing.assert_allclose(scales, np.abs(values).max(axis=1, keepdims=True) / 127, rtol=1e-3)
