import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization.lookups import scale_rows, use_embedding_lookup
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, constant, write_used
from mmkd_tf.export.tflite_tables import read_tables

IDS = {"text": np.random.default_rng(0).integers(0, 30, (12, 5)).astype("int32")}


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
