"""Probabilities of exported files are those of Keras' logits divided by a temperature."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.export.calibrated import calibrated
from mmkd_tf.export.convert import convert
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.export.tflite_tables import read_tables


@pytest.mark.parametrize("quantize", [None, "dynamic"])
def test_a_file_gives_softened_probabilities(
    model, examples, class_names, vocabulary, run_file, log_softmax, tmp_path, quantize
):
    path = tmp_path / "a.tflite"
    made = export_tflite(
        model,
        path,
        class_names=class_names,
        examples=examples,
        vocabulary=vocabulary,
        quantize=quantize,
        options=TFLiteOptions(temperature=2.5),
    )
    logits = model.predict(examples, verbose=0)
    found = np.log(run_file(path, examples))
    bound = 1e-5 if quantize is None else 0.2
    np.testing.assert_allclose(found, log_softmax(logits / 2.5), atol=bound)
    assert made.max_abs_logit_difference < bound  # what it was compared with
    assert read_model_file(path).temperature == 2.5


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_saved_model_gives_softened_probabilities(
    model, examples, class_names, modalities, log_softmax, tmp_path, task
):
    import tensorflow as tf

    given = {"class_names": class_names, "modalities": modalities, "examples": examples}
    export_saved_model(model, tmp_path / "saved", task=task, temperature=0.5, **given)
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["tensors"]
    found = serve(**{name: tf.constant(values) for name, values in examples.items()})
    logits = 2.0 * model.predict(examples, verbose=0)
    expected = np.exp(log_softmax(logits))
    if task == "multi_label":
        expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)


def operators(content):
    tables = read_tables(content)
    codes = tables.operatorCodes
    return [codes[each.opcodeIndex].builtinCode for each in tables.subgraphs[0].operators]


@pytest.mark.parametrize("batch_size", [1, None])
def test_it_costs_no_operator(model, examples, batch_size):
    plain = convert(model, examples, batch_size=batch_size)
    softened = convert(calibrated(model, 1.37), examples, batch_size=batch_size)
    assert operators(softened) == operators(plain)
    assert schema.BuiltinOperator.SOFTMAX in operators(plain)
    assert plain != softened


def test_without_a_temperature_the_model_stays_what_it_is(model):
    assert calibrated(model, None) is model and calibrated(model, 1) is model
    assert calibrated(model, 2.0).name == model.name


def test_temperatures_that_are_none(model, examples, class_names, modalities, tmp_path):
    given = {"class_names": class_names, "examples": examples}
    for wrong in (0, -1.0, float("inf"), float("nan"), True, "2"):
        with pytest.raises(ValueError, match="`temperature`: a finite number above 0"):
            options = TFLiteOptions(temperature=wrong)
            export_tflite(model, tmp_path / "a.tflite", options=options, **given)
    with pytest.raises(ValueError, match="`temperature`: None for regression"):
        export_saved_model(
            model, tmp_path / "b", task="regression", temperature=2, modalities=modalities, **given
        )
    probabilities = keras.Model(model.input, layers.Softmax()(model.output))
    with pytest.raises(ValueError, match="as after a softmax"):
        options = TFLiteOptions(temperature=2.0)
        export_tflite(probabilities, tmp_path / "a.tflite", options=options, **given)
    assert list(tmp_path.iterdir()) == []
