import keras
import numpy as np
import pytest
from edge_files.peers import export_onnx_with_lstm
from edge_files.results import count_operators
from keras import layers


def specs(model, batch):
    return [
        keras.InputSpec(shape=(batch, *t.shape[1:]), dtype=t.dtype, name=t.name)
        for t in model.inputs
    ]


def run(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))[0]


@pytest.fixture
def right_padded(examples):
    keep = np.r_[0, 2:40]  # the second has a hole, which the operator doesn't know
    return {name: values[keep] for name, values in examples.items()}


@pytest.mark.parametrize("use_bias", [True, False])
def test_gives_keras_logits_with_the_lstm_operator(make_model, right_padded, tmp_path, use_bias):
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package, reason=f"pip install {package}")
    model = make_model(layers.LSTM(16, name="text_features", use_bias=use_bias))
    path = tmp_path / "a.onnx"
    export_onnx_with_lstm(model, path, specs=specs(model, None))
    operators = count_operators(path)
    assert operators["LSTM"] == 1 and "Loop" not in operators and "Scan" not in operators
    expected = np.asarray(model(right_padded))
    np.testing.assert_allclose(run(path, right_padded), expected, atol=1e-4)


def test_a_text_without_mask_and_a_batch_of_one(tmp_path):
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package, reason=f"pip install {package}")
    text = keras.Input([5], dtype="int32", name="text")
    x = layers.Dropout(0.5)(layers.Embedding(9, 4)(text))
    model = keras.Model({"text": text}, layers.Dense(3)(layers.LSTM(6)(x)))
    ids = np.array([[3, 0, 8, 0, 0]], "int32")
    export_onnx_with_lstm(model, tmp_path / "a.onnx", specs=specs(model, 1))
    expected = np.asarray(model({"text": ids}))
    np.testing.assert_allclose(run(tmp_path / "a.onnx", {"text": ids}), expected, atol=1e-5)


@pytest.mark.parametrize(
    "encode",
    [
        layers.GRU(4),
        layers.LSTM(4, activation="relu"),
        layers.LSTM(4, go_backwards=True),
        layers.Bidirectional(layers.LSTM(4)),
        lambda x: layers.LSTM(4)(layers.LSTM(4, return_sequences=True)(x)),
        lambda x: layers.LSTM(4)(layers.Dense(4)(x)),
    ],
)
def test_other_models_are_refused(encode, tmp_path):
    pytest.importorskip("onnx", reason="pip install onnx")
    text = keras.Input([5], dtype="int32", name="text")
    model = keras.Model({"text": text}, encode(layers.Embedding(9, 4)(text)))
    with pytest.raises(NotImplementedError, match="It is made for"):
        export_onnx_with_lstm(model, tmp_path / "a.onnx", specs=specs(model, 1))
