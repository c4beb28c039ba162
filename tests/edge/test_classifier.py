import subprocess
import sys
from io import BytesIO

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from mmkd_tf.edge import Classifier, Prediction
from mmkd_tf.export.tflite import export_tflite

WITHOUT_TENSORFLOW = """
import importlib.abc, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Block())
from mmkd_tf.edge import Classifier
answer = Classifier(sys.argv[1]).predict(image=sys.argv[2], text="a RED 茶")
print(answer.label, answer.probability)
assert not {"tensorflow", "keras"} & set(sys.modules)
"""

IMPORT_TIME = """
import sys, time
start = time.process_time()
import mmkd_tf.edge
print(time.process_time() - start, *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def classifier(student_file):
    return Classifier(student_file)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (12, 16, 3)).astype("uint8")


@pytest.fixture
def png(pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    return path


def keras_probabilities(student, pixels, ids):
    tensors = {"image": pixels[None], "text": np.array([ids], "int32")}
    return keras.ops.softmax(student(tensors)).numpy()[0]


def test_equals_keras_on_a_file_and_a_text(classifier, student, png, pixels):
    answer = classifier.predict(image=png, text="Big RED elephant!")
    expected = keras_probabilities(student, pixels, [4, 2, 1, 0])
    assert np.ptp(expected) > 0.05
    assert list(answer.probabilities) == [classifier.class_names[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose(
        [answer.probabilities[name] for name in classifier.class_names], expected, atol=1e-5
    )
    assert answer.label == classifier.class_names[expected.argmax()]
    assert answer.probability == max(answer.probabilities.values())


def test_path_bytes_picture_and_array_are_the_same(classifier, png, pixels):
    pictures = [str(png), png, png.read_bytes(), Image.fromarray(pixels), pixels, pixels / 1.0]
    answers = [classifier.predict(image=picture, text="red") for picture in pictures]
    assert all(answer == answers[0] for answer in answers)


def test_absent_is_zeros(classifier, student, pixels):
    for given, tensors in (
        ({"image": pixels}, (pixels, [0, 0, 0, 0])),
        ({"image": pixels, "text": ""}, (pixels, [0, 0, 0, 0])),
        ({"text": "red"}, (pixels * 0, [2, 0, 0, 0])),
    ):
        found = classifier.predict(**given).probabilities
        expected = keras_probabilities(student, *tensors)
        np.testing.assert_allclose(
            [found[name] for name in classifier.class_names], expected, atol=1e-5
        )


def test_answers_do_not_depend_on_earlier_ones(classifier, pixels):
    first = classifier.predict(text="red")
    classifier.predict(image=pixels, text="big big big")
    assert classifier.predict(text="red") == first


def test_picture_of_another_size_and_transparency(classifier, student, pixels):
    transparent = np.dstack([np.kron(pixels, np.ones([3, 3, 1])), np.zeros([36, 48])])
    stream = BytesIO()
    Image.fromarray(transparent.astype("uint8"), "RGBA").save(stream, "PNG")
    answer = classifier.predict(image=stream.getvalue(), text="red")
    expected = keras_probabilities(student, np.full_like(pixels, 255), [2, 0, 0, 0])
    assert answer.probability == pytest.approx(expected.max(), abs=1e-5)


def test_runs_without_tensorflow_and_keras(student_file, student, png, pixels):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, student_file, png]
    run = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    expected = keras_probabilities(student, pixels, [1, 2, 3, 0])
    label, probability = run.stdout.rsplit(maxsplit=1)
    assert label == ["cup", "hat", "Schlüssel 茶"][expected.argmax()]
    assert float(probability) == pytest.approx(expected.max(), abs=1e-5)


def test_import_is_quick_and_leaves_the_rest_for_later():
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_TIME], capture_output=True, text=True, check=True
    )
    seconds, *modules = run.stdout.split()
    assert float(seconds) < 0.3
    assert "mmkd_tf.edge.classifier" in modules
    assert not {"PIL", "ai_edge_litert", "tensorflow", "keras"} & set(modules)


def test_representations(classifier):
    assert repr(classifier) == "Classifier(image + text -> 3 classes)"
    two = Prediction("cup", 0.75, {"cup": 0.75, "hat": 0.25})
    assert repr(two) == "Prediction(cup 75.0 %, hat 25.0 %)"
    five = Prediction("a", 0.9, {"a": 0.9, "b": 0.05, "c": 0.03, "d": 0.01, "e": 0.01})
    assert repr(five) == "Prediction(a 90.0 %, b 5.0 %, c 3.0 %, 2 more)"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "`image`, `text`: at least one of them"),
        ({"image": "missing.png"}, ValueError, "`image`: .*there is no such file"),
        ({"image": b"GIF89a"}, ValueError, "`image`: .*Received: 6 bytes"),
        ({"image": {"a": 1}}, TypeError, "`image`: .*Received: dict"),
        ({"text": 5}, TypeError, "`text`: a str. Received: text=int"),
        ({"text": b"red"}, TypeError, "Decode bytes as UTF-8"),
    ],
)
def test_refuses_inputs(classifier, given, error, message):
    with pytest.raises(error, match=message):
        classifier.predict(**given)


def test_refuses_what_the_model_does_not_take(tmp_path, pixels):
    image = keras.Input([12, 16, 3], name="image")
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(image)))
    path = tmp_path / "a.tflite"
    export_tflite(model, path, class_names=["a", "b"], examples={"image": pixels[None]})
    classifier = Classifier(path)
    assert set(classifier.predict(image=pixels).probabilities) == {"a", "b"}
    with pytest.raises(ValueError, match="`text`: nothing, since this model takes image only"):
        classifier.predict(image=pixels, text="red")


def test_text_needs_the_vocabulary(student, tmp_path, pixels):
    path = tmp_path / "a.tflite"
    examples = {"image": pixels[None], "text": np.zeros([1, 4], "int32")}
    export_tflite(student, path, class_names=["a", "b", "c"], examples=examples)
    with pytest.raises(ValueError, match="exported without a vocabulary"):
        Classifier(path).predict(image=pixels, text="red")


def test_refuses_other_modalities(tmp_path):
    series = keras.Input([5], name="series")
    model = keras.Model(series, layers.Dense(2)(series))
    path = tmp_path / "a.tflite"
    examples = {"series": np.ones([2, 5], "float32")}
    export_tflite(model, path, class_names=["a", "b"], examples=examples)
    with pytest.raises(ValueError, match=r"with inputs \['series'\]"):
        Classifier(path)
