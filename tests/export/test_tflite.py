import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from mmkd_tf.edge import Classifier
from mmkd_tf.export import parity
from mmkd_tf.export.quantization import LEVELS
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite


@pytest.fixture(scope="module", params=[None, "dynamic"])
def exported(request, model, class_names, vocabulary, examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflite") / "student.tflite"
    result = export_tflite(
        model,
        path,
        class_names=class_names,
        vocabulary=vocabulary,
        examples=examples,
        quantize=request.param,
    )
    return request.param, path, result


def test_equals_keras_when_float_and_agrees_when_quantised(
    exported, model, examples, run_file, log_softmax
):
    quantize, path, result = exported
    expected = log_softmax(model(examples))
    found = np.log(run_file(path, examples))
    largest = np.abs(found - expected).max()
    agreement = np.mean(found.argmax(axis=1) == expected.argmax(axis=1))
    np.testing.assert_allclose(result.max_abs_logit_difference, largest, rtol=0.1, atol=1e-6)
    assert result.top1_agreement == agreement
    assert largest <= 1e-4 if quantize is None else agreement >= 0.95


def test_result_describes_the_file(exported):
    _, path, result = exported
    assert result.file == str(path)
    assert result.bytes == path.stat().st_size
    assert result.num_examples == 40
    assert 0 < result.latency_ms < 100
    assert list(path.parent.iterdir()) == [path]


def test_has_builtin_operators_only(exported):
    _, path, _ = exported
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in file.operatorCodes]
    assert schema.BuiltinOperator.CONV_2D in codes
    assert schema.BuiltinOperator.CUSTOM not in codes
    assert not any(code.customCode for code in file.operatorCodes)
    stateful = {
        schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM,
        schema.BuiltinOperator.VAR_HANDLE,
    }
    assert not stateful & set(codes)


def test_weights_are_int8_only_when_quantised(exported):
    quantize, path, _ = exported
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    types = {tensor.type for graph in file.subgraphs for tensor in graph.tensors}
    assert (schema.TensorType.INT8 in types) == (quantize == "dynamic")


def test_keeps_no_state(exported, examples, run_file):
    _, path, _ = exported
    order = np.random.default_rng(0).permutation(40)
    shuffled = run_file(path, {name: values[order] for name, values in examples.items()})
    np.testing.assert_array_equal(shuffled, run_file(path, examples)[order])


@pytest.mark.parametrize(
    "ids", [[0] * 6, [2] * 6, [2, 3, 0, 0, 0, 0], [0, 0, 0, 0, 4, 5], [2, 0, 0, 3, 0, 4]]
)
def test_padding_is_as_in_keras(exported, ids, model, examples, run_file):
    quantize, path, _ = exported
    inputs = {"image": examples["image"][:1], "text": np.array([ids], "int32")}
    expected = keras.ops.softmax(model(inputs))
    np.testing.assert_allclose(
        run_file(path, inputs), expected, atol=1e-6 if quantize is None else 0.03
    )


def test_model_stays_as_it_is(make_model, class_names, examples, tmp_path):
    model = make_model()
    before, weights = model(examples), model.get_weights()
    lstm = model.get_layer("text_features")
    settings = dict(vars(lstm))
    export_tflite(model, tmp_path / "a.tflite", class_names=class_names, examples=examples)
    assert vars(lstm) == settings
    assert len(lstm._inbound_nodes) == 1
    np.testing.assert_array_equal(model(examples), before)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_backbone_within_and_inputs_in_a_list(class_names, examples, tmp_path):
    backbone = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    text = keras.Input([None], dtype="int32", name="text")
    image = keras.Input([32, 32, 3], name="image")
    x = backbone(layers.Rescaling(1 / 127.5, offset=-1)(image))
    y = layers.Bidirectional(layers.LSTM(4))(layers.Embedding(20, 8, mask_zero=True)(text))
    model = keras.Model([text, image], layers.Dense(3)(layers.Concatenate()([x, y])))
    inputs = {
        "image": np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)),
        "text": examples["text"][:8],
    }
    result = export_tflite(
        model, tmp_path / "nested.tflite", class_names=class_names, examples=inputs
    )
    assert result.max_abs_logit_difference <= 1e-4
    assert result.num_examples == 8


def test_sequential_model_of_one_modality(class_names, tmp_path, run_file):
    model = keras.Sequential(
        [keras.Input([8, 8, 3], name="image"), layers.Flatten(), layers.Dense(3)]
    )
    inputs = {"image": np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 3)).astype("float32")}
    more = {**inputs, "text": np.zeros([9, 2], "int32")}  # an input that only the teacher has
    export_tflite(model, tmp_path / "a.tflite", class_names=class_names, examples=more)
    expected = keras.ops.softmax(model(inputs["image"]))
    np.testing.assert_allclose(run_file(tmp_path / "a.tflite", inputs), expected, atol=1e-5)


def test_mixed_precision_is_exported_in_float32(class_names, examples, tmp_path, make_model):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    result = export_tflite(model, tmp_path / "a.tflite", class_names=class_names, examples=examples)
    assert result.max_abs_logit_difference <= 1e-4
    assert model(examples).dtype == tf.float16


class Gamma(layers.Layer):
    def call(self, x):
        return tf.math.igamma(keras.ops.abs(x) + 1, keras.ops.abs(x) + 1)


class Digits(layers.Layer):
    """Needs operators that the converter would take from Flex if it might."""

    def call(self, x):
        return tf.cast(tf.strings.length(tf.strings.as_string(x)), tf.float32)

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    ("layer", "operators"), [(Gamma, "Igamma"), (Digits, "AsString, StringLength")]
)
def test_missing_operators_are_named_with_their_layer(
    layer, operators, class_names, examples, tmp_path, capfd
):
    text = keras.Input([6], dtype="int32", name="text")
    x = layers.LSTM(4)(layers.Embedding(20, 4, mask_zero=True)(text))
    model = keras.Model(text, layers.Dense(3)(layer(name="odd_layer")(x)))
    with pytest.raises(NotImplementedError, match=rf"{operators} in the layers \['odd_layer'\]"):
        export_tflite(model, tmp_path / "a.tflite", class_names=class_names, examples=examples)
    assert list(tmp_path.iterdir()) == []
    assert operators not in capfd.readouterr().err


@pytest.mark.parametrize("quantize", [None, "dynamic"])
def test_difference_leaves_what_was_there(
    model, class_names, examples, tmp_path, monkeypatch, quantize
):
    path = tmp_path / "student.tflite"
    path.write_bytes(b"the old file")
    monkeypatch.setattr(parity, "MAX_LOGIT_DIFFERENCE", -1.0)
    monkeypatch.setattr(parity, "MAX_RELATIVE_ERROR", -1.0)
    monkeypatch.setattr(parity, "MIN_TOP1_AGREEMENT", 2.0)
    with pytest.raises(RuntimeError, match="differs from Keras.*the examples:.*without text:"):
        export_tflite(model, path, class_names=class_names, examples=examples, quantize=quantize)
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_lists_all_that_is_wrong(model, class_names, examples, tmp_path):
    with pytest.raises(ValueError) as caught:
        export_tflite(
            model,
            tmp_path / "a.tflite",
            class_names=["cup", "cup"],
            examples={"image": examples["image"][:, :8], "text": examples["text"][:2]},
            vocabulary=["<pad>", "red"],
            quantize="int4",
            labels=np.full([3], 9),
            text_input="words",
        )
    message = str(caught.value)
    for part in (
        "`class_names`: one for each of the model's 3 outputs",
        "`class_names`: distinct",
        "`quantize`: None, 'auto' or one of float32, float16, dynamic, dynamic4, mixed, mixed4",
        "`text_input`: 'ids' or 'bytes'. Received: text_input='words'",
        "`labels`: one for each example",
        "`labels`: from 0 to 1, for 2 class names. Received: from 9 to 9",
        "`vocabulary`: distinct words that begin with",
        "`vocabulary`: a word for each token id",
        "`examples`: image of shape",
        "`examples`: at least one, and equally many",
    ):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_vocabulary_that_has_no_use(class_names, tmp_path, vocabulary):
    model = keras.Sequential(
        [keras.Input([8, 8, 3], name="image"), layers.Flatten(), layers.Dense(3)]
    )
    inputs = {"image": np.zeros([2, 8, 8, 3])}
    with pytest.raises(ValueError, match="None for a model that does not read one text"):
        export_tflite(
            model, tmp_path / "a", class_names=class_names, examples=inputs, vocabulary=vocabulary
        )


def test_refuses_words_of_several_lines(model, class_names, examples, vocabulary, tmp_path):
    with pytest.raises(ValueError, match="`vocabulary`: words without line breaks"):
        export_tflite(
            model,
            tmp_path / "a",
            class_names=class_names,
            examples=examples,
            vocabulary=[*vocabulary, "e\nf"],
        )


def test_same_model_gives_same_bytes(model, class_names, vocabulary, examples, tmp_path):
    for name in ("a", "b"):
        export_tflite(
            model,
            tmp_path / name,
            class_names=class_names,
            vocabulary=vocabulary,
            examples=examples,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def smallest(model, class_names, vocabulary, examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("auto") / "student.tflite"
    result = export_tflite(
        model,
        path,
        class_names=class_names,
        vocabulary=vocabulary,
        examples=examples,
        labels=np.asarray(model(examples)).argmax(axis=1),
        quantize="auto",
        options=TFLiteOptions(author="A. Person", licence="CC0"),
    )
    return path, result


def test_auto_takes_the_smallest_that_is_accepted(smallest):
    path, result = smallest
    assert [rung["level"] for rung in result.ladder] == list(LEVELS)
    accepted = [rung for rung in result.ladder if rung["accepted"]]
    (taken,) = (rung for rung in accepted if rung["level"] == result.quantize)
    assert taken["bytes"] <= 1.01 * min(rung["bytes"] for rung in accepted)
    assert result.keras_accuracy == 1 and result.accuracy >= 0.995
    assert all(rung["latency_ms"] > 0 for rung in accepted)
    assert list(path.parent.iterdir()) == [path]


def test_text_as_bytes_answers_as_text_as_ids(model, class_names, vocabulary, examples, tmp_path):
    made = {}
    for text_input in ("ids", "bytes"):
        made[text_input] = export_tflite(
            model,
            tmp_path / text_input,
            class_names=class_names,
            vocabulary=vocabulary,
            examples=examples,
            text_input=text_input,
        )
    assert made["bytes"].text_input == "bytes"
    assert made["bytes"].max_abs_logit_difference <= 1e-4
    ids, utf8 = (Classifier(tmp_path / name) for name in made)
    for text in ("RED 茶 word3", "nothing known", "word1,word2; word3-word4 red red red red"):
        expected = ids.predict(text=text).probabilities
        assert utf8.predict(text=text).probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch_size", [4, None])
def test_batches_are_proved_too(model, class_names, vocabulary, examples, tmp_path, batch_size):
    result = export_tflite(
        model,
        tmp_path / "a.tflite",
        class_names=class_names,
        vocabulary=vocabulary,
        examples=examples,
        options=TFLiteOptions(batch_size=batch_size),
    )
    assert result.batch_size == batch_size
    assert result.max_abs_logit_difference <= 1e-4
    texts = [{"text": text} for text in ("red", "茶 word3", "word9 red")]
    classifier = Classifier(tmp_path / "a.tflite")
    one_by_one = [classifier.predict(**example).probabilities for example in texts]
    for together, alone in zip(classifier.predict_batch(texts), one_by_one, strict=True):
        assert together.probabilities == pytest.approx(alone, abs=1e-6)


def test_bytes_need_a_vocabulary(model, class_names, examples, tmp_path):
    with pytest.raises(ValueError, match="'bytes' only for a model that reads a text, and with"):
        export_tflite(
            model, tmp_path / "a", class_names=class_names, examples=examples, text_input="bytes"
        )


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"examples": np.zeros([2, 6])}, TypeError, "`examples`: a dict of arrays by input name"),
        ({"labels": np.eye(3)[[0] * 40]}, ValueError, "`labels`: integers .* argmax"),
        ({"options": {"batch_size": 2}}, TypeError, "`options`: mmkd_tf.export.TFLiteOptions"),
        (
            {"options": TFLiteOptions(max_accuracy_loss=5)},
            ValueError,
            "`max_accuracy_loss`: a share from 0 to 1",
        ),
        (
            {"options": TFLiteOptions(calibration={"text": np.zeros([2, 6], "int32")})},
            ValueError,
            "`calibration`: arrays for the inputs .* missing",
        ),
    ],
)
def test_refuses_before_anything_is_converted(
    model, class_names, examples, tmp_path, changed, error, message
):
    arguments = {"class_names": class_names, "examples": examples, **changed}
    with pytest.raises(error, match=message):
        export_tflite(model, tmp_path / "a.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []
