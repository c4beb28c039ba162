import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.edge import Classifier, Regressor
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.convert import convert
from mmkd_tf.export.heads import as_logits, comparable, same_answers, spread_of
from mmkd_tf.export.labels import label_problems
from mmkd_tf.export.parity import difference
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def test_labels_are_compared_in_nats():
    logits = np.array([[3.0, -40], [-2, 1]])
    same = difference(logits=logits, probabilities=sigmoid(logits), task="multi_label")
    assert same.max_abs_logit_difference < 1e-6 and same.top1_agreement == 1
    assert same.scale == 40 and not same.exceeds(exact=True)
    other = difference(logits=logits, probabilities=sigmoid(logits - 1), task="multi_label")
    expected = np.log(sigmoid(logits)) - np.log(sigmoid(logits - 1))
    assert other.max_abs_logit_difference == pytest.approx(np.abs(expected).max())
    assert other.exceeds(exact=True)


def test_the_same_labels_are_an_f1():
    logits = np.array([[1.0, 1, -1, -1], [1, -1, -1, 0]])
    expected, found, _ = comparable(
        logits, sigmoid([[1.0, -1, -1, -1], [1, -1, 1, 0.1]]), task="multi_label"
    )
    # Keras gives 3, the file 4 of which one that Keras holds undecided: then it counts as given.
    assert same_answers(expected, found, task="multi_label") == pytest.approx(2 * 3 / (4 + 4))
    nothing = np.log(np.full([2, 2], 0.1))
    assert same_answers(nothing, nothing, task="multi_label") == 1


def test_values_are_compared_in_standard_deviations():
    values = np.array([[1.0, 1000], [3, 3000]])
    expected, found, scale = comparable(values, values + [[0.5, 0]], task="regression")
    np.testing.assert_allclose(found - expected, [[0.5, 0], [0.5, 0]])
    assert scale == 1
    assert same_answers(expected, found, task="regression") == 0.5
    assert spread_of(expected, task="regression") == pytest.approx(1)
    # The same in another unit.
    other = difference(logits=values * 1e4, probabilities=values * 1e4 + 5e3, task="regression")
    assert other.max_abs_logit_difference == pytest.approx(0.5)


def test_values_of_a_model_that_says_nearly_nothing_are_measured_by_the_targets():
    values, targets = np.array([[5.0], [5.001]]), np.array([[1.0], [9.0]])
    options = {"logits": values, "probabilities": values + 0.004, "task": "regression"}
    assert difference(**options).top1_agreement == 0
    found = difference(**options, labels=targets)
    assert found.top1_agreement == 1
    assert found.max_abs_logit_difference == pytest.approx(0.001)


def test_float32_rounds_large_values():
    values = 1e6 + np.arange(4.0)[:, None]
    found = difference(logits=values, probabilities=values + 0.06, task="regression")
    assert not found.exceeds(exact=True)
    assert difference(logits=values, probabilities=values + 5, task="regression").exceeds(
        exact=True
    )


def test_constant_values():
    values = np.full([3, 1], 7.0)
    assert not difference(logits=values, probabilities=values, task="regression").exceeds(
        exact=True
    )
    assert difference(logits=values, probabilities=values + 1, task="regression").exceeds(
        exact=True
    )


def test_embeddings_are_compared_by_cosine_and_number_by_number():
    embeddings = np.array([[1.0, 0], [0.6, 0.8], [0, 0]])
    turned = np.array([[np.cos(0.1), np.sin(0.1)], [0.8, 0.6], [0, 0]])
    expected, found, scale = comparable(embeddings, turned, task="retrieval")
    assert scale == 1 and np.abs(found - expected).max() == pytest.approx(0.2)
    # The first is off by 0.1 radians, a cosine of 0.995; what is absent is absent in both.
    assert same_answers(expected, found, task="retrieval") == pytest.approx(2 / 3)
    wrongly_there = same_answers(np.zeros([1, 2]), np.array([[1.0, 0]]), task="retrieval")
    assert wrongly_there == 0
    same = difference(logits=embeddings, probabilities=embeddings + 1e-5, task="retrieval")
    assert not same.exceeds(exact=True)
    assert difference(logits=embeddings, probabilities=turned, task="retrieval").exceeds(exact=True)


def test_labels_of_retrieval_are_embeddings():
    examples = {"text": np.zeros([4, 3], np.int32)}
    assert label_problems(examples, np.zeros([4, 8], np.float32), 0, task="retrieval") == []
    for wrong in (np.zeros(4), np.zeros([4, 8], int), np.full([4, 8], np.nan)):
        assert "embeddings" in label_problems(examples, wrong, 0, task="retrieval")[0]
    assert "one for each" in label_problems(examples, np.zeros([3, 8]), 0, task="retrieval")[0]


def test_activation_is_undone():
    logits = np.array([[2.0, -1, 0.5]])
    np.testing.assert_allclose(as_logits(sigmoid(logits), task="multi_label"), logits)
    np.testing.assert_allclose(as_logits(logits, task="regression"), logits)


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
    with pytest.raises(ValueError, match="of multi_label. Open it with mmkd_tf.edge.Classifier"):
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
    assert label_problems(examples, np.zeros([40, 3]), 3, task="regression") == []
    assert "numbers [n, 2]" in label_problems(examples, np.zeros(40), 2, task="regression")[0]
