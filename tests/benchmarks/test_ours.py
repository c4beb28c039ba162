import keras
import numpy as np
import pytest
from edge_files import ours as files
from edge_files.ours import OURS, TEXT_BRANCH, export_ours

from mmkd_tf.edge.interpreter import TensorRunner


@pytest.fixture
def quantizer(monkeypatch):
    """Stands for the quantiser: notes what it is given, and can't do one level."""
    given = {}

    def quantize(content, *, level, examples, task):
        if level == "mixed":
            raise NotImplementedError("no integers here")
        given[level] = (content, examples)
        return content + b"quantised"

    monkeypatch.setattr(files, "LEVELS", ("float32", "dynamic", "mixed"))
    monkeypatch.setattr(files, "quantize", quantize)
    return given


def test_writes_each_level_and_the_text_branch(model, examples, quantizer, tmp_path):
    files, absent = export_ours(model, examples, tmp_path)
    assert [file.name for file in files] == [OURS, "dynamic", TEXT_BRANCH]
    assert {file.runtime for file in files} == {"litert"}
    assert absent == {"mixed": "NotImplementedError: no integers here"}
    float32, dynamic = files[0].path.read_bytes(), files[1].path.read_bytes()
    assert dynamic == float32 + b"quantised"
    assert list(quantizer) == ["dynamic"] and quantizer["dynamic"][1] is examples
    assert quantizer["dynamic"][0] == float32


def test_the_text_branch_ends_with_the_features(model, examples, quantizer, tmp_path):
    files, _ = export_ours(model, examples, tmp_path)
    runner = TensorRunner(files[-1].path.read_bytes())
    assert list(runner.inputs) == ["text"]
    features = keras.Model(model.input["text"], model.get_layer("text_features").output)
    text = examples["text"][2:3]
    expected = np.asarray(keras.ops.softmax(features(text)))
    assert expected.std() > 0.01
    np.testing.assert_allclose(runner({"text": text}), expected, atol=1e-5)


def test_a_model_without_a_text_branch_says_so(quantizer, tmp_path):
    text = keras.Input([4], dtype="int32", name="text")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4)(text))
    model = keras.Model({"text": text}, keras.layers.Dense(2)(x))
    _, absent = export_ours(model, {"text": np.ones((2, 4), "int32")}, tmp_path)
    assert "no layer 'text_features'" in absent[TEXT_BRANCH]
