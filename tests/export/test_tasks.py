import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge import Classifier, Regressor
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@pytest.fixture(scope="module")
def values_model(make_model):
    model = make_model()
    values = layers.Rescaling([2.0, 500.0, 1.0], offset=[0.0, 1000.0, -3.0])(model.output)
    return keras.Model(model.input, values)


def test_a_file_of_labels(model, examples, vocabulary, tmp_path):
    names = ["red", "cheap", "new"]
    labels = (model.predict(examples, verbose=0) > 0).astype("float32")
    made = export_tflite(
        model,
        tmp_path / "a.tflite",
        class_names=names,
        examples=examples,
        labels=labels,
        vocabulary=vocabulary,
        options=TFLiteOptions(task="multi_label"),
    )
    assert made.task == "multi_label" and made.accuracy == made.keras_accuracy == 1
    classifier = Classifier(tmp_path / "a.tflite")
    assert classifier.task == "multi_label" and repr(classifier).endswith("3 labels)")
    picture = examples["image"][0]
    answer = classifier.predict(image=picture, text="red word3")
    ids = [2, vocabulary.index("word3"), 0, 0, 0, 0]
    tensors = {"image": picture[None], "text": np.array([ids], "int32")}
    expected = dict(zip(names, sigmoid(model(tensors)[0]), strict=True))
    assert answer.probabilities == pytest.approx(expected, abs=1e-5)
    assert set(answer.labels) == {name for name, p in expected.items() if p > 0.5}
    assert answer.label == max(expected, key=expected.get)
    with pytest.raises(ValueError, match="of multi_label, .* Open it with mmkd_tf.edge.Classifier"):
        Regressor(tmp_path / "a.tflite")


def test_a_file_of_numbers(values_model, examples, vocabulary, tmp_path):
    names = ["length", "price", "age"]
    labels = values_model.predict(examples, verbose=0)
    made = export_tflite(
        values_model,
        tmp_path / "a.tflite",
        class_names=names,
        examples=examples,
        labels=labels,
        vocabulary=vocabulary,
        quantize="auto",
        options=TFLiteOptions(task="regression"),
    )
    assert [rung["level"] for rung in made.ladder if rung["accepted"]]
    assert made.accuracy > 0.99 and made.keras_accuracy == 1
    regressor = Regressor(tmp_path / "a.tflite")
    batch = [{"image": picture} for picture in examples["image"][:2]]
    tensors = {"image": examples["image"][:2], "text": np.zeros([2, 6], "int32")}
    for answer, values in zip(
        regressor.predict_batch(batch), values_model(tensors).numpy(), strict=True
    ):
        assert list(answer) == names
        np.testing.assert_allclose(
            list(answer.values()), values, atol=0.1 * labels.std(axis=0).max()
        )
    assert repr(regressor) == "Regressor(image + text -> length, price, age)"
    with pytest.raises(ValueError, match="Open it with mmkd_tf.edge.Regressor"):
        Classifier(tmp_path / "a.tflite")


def test_a_single_value(model, examples):
    one = keras.Model(model.input, layers.Dense(1)(model.output))
    runner = TensorRunner(convert(one, examples, task="regression"))
    assert (runner.output, runner.num_classes) == ("values", 1)
    np.testing.assert_allclose(runner(examples), one.predict(examples, verbose=0), atol=1e-4)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_a_saved_model(model, examples, modalities, tmp_path, task):
    import tensorflow as tf

    made = export_saved_model(
        model,
        tmp_path / "saved",
        class_names=["a", "b", "c"],
        modalities=modalities,
        examples=examples,
        task=task,
    )
    assert made.task == task
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["tensors"]
    answer = serve(**{name: tf.constant(values) for name, values in examples.items()})
    logits = model.predict(examples, verbose=0)
    if task == "multi_label":
        assert set(answer) == {"probabilities", "class_names"}
        np.testing.assert_allclose(answer["probabilities"], sigmoid(logits), atol=1e-5)
    else:
        assert set(answer) == {"values", "class_names"}
        np.testing.assert_allclose(answer["values"], logits, atol=1e-4)


def test_what_does_not_fit_the_task(model, examples, tmp_path):
    arguments = {"class_names": ["a", "b", "c"], "examples": examples}
    with pytest.raises(ValueError, match="`task`: one of single_label, multi_label, regression"):
        options = TFLiteOptions(task="guessing")
        export_tflite(model, tmp_path / "a.tflite", options=options, **arguments)
    with pytest.raises(ValueError, match=r"`labels`: 0 or 1 \[n, 3\] for multi_label"):
        options = TFLiteOptions(task="multi_label")
        labels = np.full([40, 3], 0.5)
        export_tflite(model, tmp_path / "a.tflite", options=options, labels=labels, **arguments)
    with pytest.raises(ValueError, match="values that are all from 0 to 1, as after a sigmoid"):
        squashed = keras.Model(model.input, layers.Activation("sigmoid")(model.output))
        options = TFLiteOptions(task="multi_label")
        export_tflite(squashed, tmp_path / "a.tflite", options=options, **arguments)
