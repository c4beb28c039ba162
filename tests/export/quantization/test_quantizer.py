import sys

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.parity import difference
from mmkd_tf.export.quantization import quantizer as module
from mmkd_tf.export.quantization.graph import Operator, code_of
from mmkd_tf.export.quantization.plan import Arithmetic, Treatment
from mmkd_tf.export.quantization.quantizer import LEVELS, apply, quantize
from mmkd_tf.export.tflite_tables import read_tables

Type = schema.TensorType
GATES = {Operator.LOGISTIC, Operator.TANH, Operator.MUL, Operator.ADD, Operator.SPLIT}

# Largest relative error of the logits, and largest share of the float32 bytes.
BOUNDS = {
    "float16": (0.002, 0.6),
    "dynamic": (0.02, 0.4),
    "dynamic4": (0.1, 0.4),
    "mixed": (0.04, 0.4),
    "mixed4": (0.1, 0.3),
}


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    text = rng.integers(1, 200, (64, 6)).astype("int32")
    text[np.arange(6) >= rng.integers(0, 7, (64, 1))] = 0
    return {"image": rng.integers(0, 256, (64, 16, 16, 3)).astype("uint8"), "text": text}


@pytest.fixture(scope="module")
def large_model():
    """Has what the small ones lack: enough weights in each kind of layer to be worth integers."""
    rng = np.random.default_rng(1)
    image = keras.Input([16, 16, 3], dtype="uint8", name="image")
    text = keras.Input([6], dtype="int32", name="text")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.SeparableConv2D(16, 3, padding="same", depth_multiplier=8)(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    y = layers.Embedding(200, 16, mask_zero=True)(text)
    y = layers.LSTM(32)(y)
    x = layers.Dense(32, activation="relu")(x)
    logits = layers.Dense(3)(layers.Concatenate()([x, y]))
    model = keras.Model({"image": image, "text": text}, logits)
    # Of a size that keeps activations within the same range in all layers.
    model.set_weights(
        [rng.normal(0, 1.2 * max(w[..., 0].size, 8) ** -0.5, w.shape) for w in model.get_weights()]
    )
    return model


@pytest.fixture(scope="module")
def content(large_model, inputs):
    return convert(large_model, inputs)


@pytest.fixture(scope="module")
def quantized(content, inputs):
    return {level: quantize(content, level=level, examples=inputs) for level in LEVELS}


def probabilities(content, inputs):
    return TensorRunner(content)(inputs)


def relative_error(content, original, inputs):
    logits = np.log(probabilities(original, inputs))
    return difference(logits=logits, probabilities=probabilities(content, inputs)).relative_error


def operators(content, *codes, graphs=None):
    """The operators of some kinds, as tuples of graph and operator."""
    model = read_tables(content)
    return [
        (graph, operator)
        for graph in model.subgraphs[graphs or slice(None)]
        for operator in graph.operators
        if code_of(model, operator) in codes
    ]


def types(content, *codes, place, graphs=None):
    """The types of an input of some operators."""
    found = operators(content, *codes, graphs=graphs)
    return {graph.tensors[operator.inputs[place]].type for graph, operator in found}


@pytest.mark.parametrize("level", BOUNDS)
def test_levels_are_close_and_small(quantized, content, inputs, level):
    error, share = BOUNDS[level]
    assert 0 < relative_error(quantized[level], content, inputs) <= error
    assert len(quantized[level]) <= share * len(content)


def test_levels_become_smaller(quantized):
    sizes = {level: len(quantized[level]) for level in LEVELS}
    assert sizes["float32"] > sizes["float16"] > sizes["dynamic"] > sizes["mixed4"]
    assert sizes["mixed"] > sizes["mixed4"]


def test_float32_stays_as_it_is(quantized, content):
    assert quantized["float32"] == content


@pytest.mark.parametrize("level", LEVELS)
def test_keeps_no_state_and_the_same_interface(quantized, content, inputs, level):
    found, original = TensorRunner(quantized[level]), TensorRunner(content)
    assert found.inputs == original.inputs
    assert found.num_classes == original.num_classes
    first = found(inputs)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    backwards = {name: values[::-1] for name, values in inputs.items()}
    np.testing.assert_array_equal(found(backwards)[::-1], first)


@pytest.mark.parametrize("level", LEVELS)
def test_has_builtin_operators_only(quantized, level):
    model = read_tables(quantized[level])
    assert Operator.CUSTOM not in {
        max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes
    }
    assert not any(code.customCode for code in model.operatorCodes)


@pytest.mark.parametrize("level", LEVELS)
def test_gates_of_recurrent_layers_stay_float(quantized, level):
    loop = slice(1, None)
    gates = operators(quantized[level], *GATES, graphs=loop)
    kinds = {
        graph.tensors[index].type
        for graph, operator in gates
        for index in (*operator.inputs, *operator.outputs)
    }
    assert kinds == {Type.FLOAT32, Type.INT32}  # int32: the counter of steps


@pytest.mark.parametrize(
    ("level", "stored"),
    [
        ("float32", {Type.FLOAT32}),
        ("float16", {Type.FLOAT16}),
        ("dynamic", {Type.INT8}),
        ("mixed", {Type.INT8}),
        ("mixed4", {Type.INT8}),
    ],
)
def test_recurrent_weights_within_loops(quantized, level, stored):
    model = read_tables(quantized[level])
    body = max(model.subgraphs[1:], key=lambda graph: len(graph.operators))
    large = [t for t in body.tensors if t.shape is not None and np.prod(t.shape) == 32 * 128]
    kinds = {t.type for t in large if model.buffers[t.buffer].data is not None}
    assert kinds == stored


@pytest.mark.parametrize(
    ("level", "kind"),
    [
        ("dynamic", Type.INT8),
        ("dynamic4", Type.INT4),
        ("mixed", Type.INT8),
        ("mixed4", Type.INT4),
    ],
)
def test_embeddings_are_integers(quantized, level, kind):
    graph = read_tables(quantized[level]).subgraphs[0]
    (table,) = (
        tensor
        for tensor in graph.tensors
        if tensor.shape is not None and list(tensor.shape) == [200, 16]
    )
    assert table.type == kind
    assert types(quantized[level], Operator.EMBEDDING_LOOKUP, place=0) == {Type.INT32}


@pytest.mark.parametrize(
    ("level", "kind"),
    [("float16", Type.FLOAT32), ("dynamic", Type.FLOAT32), ("mixed", Type.INT8)],
)
def test_convolutions_compute_in_integers_when_mixed(quantized, level, kind):
    for code in (Operator.CONV_2D, Operator.MAX_POOL_2D):
        assert types(quantized[level], code, place=0) == {kind}


@pytest.mark.parametrize(("bound", "narrow"), [(1.0, True), (0.0, False)])
def test_large_dense_layer_has_four_bits_where_it_holds(
    quantized, content, inputs, monkeypatch, bound, narrow
):
    monkeypatch.setattr(module, "_MAX_RELATIVE_ERROR", bound)
    result = quantize(content, level="mixed4", examples=inputs)
    assert (Type.INT4 in types(result, Operator.FULLY_CONNECTED, place=1)) == narrow
    saved = len(quantized["mixed"]) - len(result)
    assert (saved > 2048 * 32 / 2) == narrow
    assert relative_error(result, content, inputs) < (0.25 if narrow else 0.1)


def test_same_model_gives_same_bytes(quantized, content, inputs):
    assert quantize(content, level="mixed4", examples=inputs) == quantized["mixed4"]


@pytest.mark.parametrize("batch_size", [3, None])
def test_other_batches(large_model, inputs, batch_size, content):
    batched = convert(large_model, inputs, batch_size=batch_size)
    for level, (error, _) in BOUNDS.items():
        result = quantize(batched, level=level, examples=inputs)
        assert TensorRunner(result).inputs == TensorRunner(batched).inputs
        assert relative_error(result, content, inputs) <= error


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: layers.Bidirectional(layers.GRU(16)),
        lambda: keras.Sequential([layers.LSTM(16, return_sequences=True), layers.LSTM(24)]),
        lambda: layers.RNN(layers.LSTMCell(16)),
    ],
    ids=["bidirectional", "stacked", "cell"],
)
def test_other_recurrent_layers(encoder, make_model, examples):
    content = convert(make_model(text_encoder=encoder()), examples)
    for level in ("dynamic", "mixed"):
        result = quantize(content, level=level, examples=examples)
        assert relative_error(result, content, examples) <= 0.02


def test_float_pictures_and_few_examples(make_model, examples):
    few = {name: values[:2] for name, values in examples.items()}
    few["image"] = few["image"].astype("float32")
    content = convert(make_model(dtype="float32"), few)
    result = quantize(content, level="mixed4", examples=few)
    assert TensorRunner(result).inputs == TensorRunner(content).inputs
    assert np.isfinite(probabilities(result, few)).all()


def test_weights_that_half_precision_lacks_stay_float():
    numbers = keras.Input([4], name="numbers")
    dense = layers.Dense(3)
    model = keras.Model(numbers, dense(numbers))
    dense.set_weights([np.full((4, 3), 1e5), np.zeros(3)])
    inputs = {"numbers": np.full((2, 4), 1e-6, "float32")}
    content = convert(model, inputs)
    result = quantize(content, level="float16", examples=inputs)
    np.testing.assert_array_equal(probabilities(result, inputs), probabilities(content, inputs))


def test_lists_all_that_is_wrong(content, inputs):
    with pytest.raises(ValueError) as caught:
        quantize(
            content,
            level="int3",
            examples={"image": inputs["image"][:, :8], "text": inputs["text"][:5].astype("int64")},
        )
    message = str(caught.value)
    for part in (
        "`level`: one of float32, float16, dynamic, dynamic4, mixed, mixed4. Received: level='int3",
        "`examples`: image of shape ['n', 16, 16, 3], uint8. Received: [64, 8, 16, 3], uint8",
        "`examples`: text of shape ['n', 6], int32. Received: [5, 6], int64",
        "`examples`: at least one, and equally many for each input",
    ):
        assert part in message


def test_refuses_no_examples(content, inputs):
    empty = {name: values[:0] for name, values in inputs.items()}
    with pytest.raises(ValueError, match="at least one"):
        quantize(content, level="dynamic", examples=empty)
    with pytest.raises(ValueError, match=r"\['text'\] are missing"):
        quantize(content, level="dynamic", examples={"image": inputs["image"]})


@pytest.mark.parametrize("damage", [lambda b: b"PK" + b[2:60], lambda b: b[:3000], lambda b: b""])
def test_refuses_what_is_no_tflite_model(content, inputs, damage):
    with pytest.raises(ValueError, match="`content`: "):
        quantize(damage(content), level="dynamic", examples=inputs)


def test_says_how_to_get_the_quantizer(content, inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    with pytest.raises(ImportError, match="pip install litert-quantizer"):
        quantize(content, level="dynamic", examples=inputs)


NUMBERS = {"numbers": np.random.default_rng(0).normal(size=(5, 64)).astype("float32")}


@pytest.fixture(scope="module")
def dense_layers():
    numbers = keras.Input([64], name="numbers")
    x = layers.Dense(4200)(numbers)  # 268,800 weights: the tool puts them behind the tables
    return convert(keras.Model(numbers, layers.Dense(3)(x)), NUMBERS)


def applied(content, treatments, capfd):
    """Treats dense layers in turn."""
    model, left = read_tables(content), list(treatments)
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            tensor.name = f"a.b+c({index})".encode()  # no regular expression that means itself
    rows = [
        [
            left.pop(0) if code_of(model, operator) == Operator.FULLY_CONNECTED else None
            for operator in graph.operators
        ]
        for graph in model.subgraphs
    ]
    result = apply(model, rows, {})
    assert capfd.readouterr() == ("", "")
    return result


def dense_types(content):
    model = read_tables(content)
    graph = model.subgraphs[0]
    return [
        graph.tensors[operator.inputs[1]].type
        for operator in graph.operators
        if code_of(model, operator) == Operator.FULLY_CONNECTED
    ]


def test_each_operator_is_treated_for_itself(dense_layers, capfd):
    float32, int8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
    dynamic = Treatment(Arithmetic.DYNAMIC, 8)
    assert dense_types(applied(dense_layers, [dynamic, None], capfd)) == [int8, float32]
    assert dense_types(applied(dense_layers, [None, dynamic], capfd)) == [float32, int8]


def test_large_weights_lie_inside_the_tables(dense_layers, capfd):
    result = applied(dense_layers, [Treatment(Arithmetic.FLOAT, 8), None], capfd)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(result, 0))
    assert max(0 if b.data is None else len(b.data) for b in model.buffers) == 64 * 4200
    assert not any(buffer.offset for buffer in model.buffers)
    found, expected = TensorRunner(result)(NUMBERS), TensorRunner(dense_layers)(NUMBERS)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_nothing_to_do(dense_layers, capfd):
    result = applied(dense_layers, [None, None], capfd)
    np.testing.assert_array_equal(
        TensorRunner(result)(NUMBERS), TensorRunner(dense_layers)(NUMBERS)
    )


def test_says_how_to_get_the_tool(dense_layers, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    model = read_tables(dense_layers)
    with pytest.raises(ImportError, match="pip install litert-quantizer"):
        apply(model, [[None] * len(graph.operators) for graph in model.subgraphs], {})
