"""Exported students of sets of pictures and of texts that no LSTM reads."""

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.edge import Classifier
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.modalities.image_set import ImageSet
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import build_student

WORDS = ["<pad>", "<unk>", *"abcdefgh"]
NAMES = ["new", "used", "broken"]


def inputs_of(pool, encoder):
    return {
        "photos": ImageSet("photos", views=3, height=16, pool=pool),
        "report": Text("report", vocabulary=WORDS, length=40, encoder=encoder),
    }


def examples_of(number):
    rng = np.random.default_rng(0)
    photos = rng.integers(1, 256, [number, 3, 16, 16, 3]).astype("uint8")
    photos[rng.random([number, 3]) < 0.3] = 0
    report = rng.integers(2, len(WORDS), [number, 40]).astype("int32")
    report[np.arange(40) >= rng.integers(1, 41, [number, 1])] = 0
    return {"photos": photos, "report": report}


def student_of(inputs, examples):
    """A student whose weights are of some size, so that what it leaves out would be seen."""
    keras.utils.set_random_seed(0)
    made = Examples(examples, np.zeros(len(examples["report"]), "int32"))
    splits = dict.fromkeys(("train", "validation", "test"), made)
    data = Dataset(name="few", splits=splits, class_names=NAMES, modalities=inputs)
    student = build_student(data)
    rng = np.random.default_rng(1)
    for weight in student.trainable_weights:
        if weight.path.endswith("scores"):
            weight.assign(rng.normal(size=weight.shape))
        if weight.path.endswith("embeddings"):
            weight.assign(rng.normal(size=weight.shape))
    return student


@pytest.mark.parametrize(
    ("pool", "encoder", "quantize", "text_input", "batch_size"),
    [
        ("mean", "convolution", None, "bytes", 1),
        ("max", "average", None, "ids", None),
        ("attention", "convolution", None, "ids", 1),
        ("attention", "average", "dynamic", "ids", 1),
    ],
)
def test_files_answer_as_keras_does(tmp_path, pool, encoder, quantize, text_input, batch_size):
    inputs, examples = inputs_of(pool, encoder), examples_of(24)
    student = student_of(inputs, examples)
    made = export_tflite(
        student,
        tmp_path / "a.tflite",
        class_names=NAMES,
        examples=examples,
        modalities=inputs,
        quantize=quantize,
        text_input=text_input,
        options=TFLiteOptions(batch_size=batch_size),
    )
    assert made.max_abs_logit_difference <= (1e-4 if quantize is None else 0.3)
    classifier = Classifier(tmp_path / "a.tflite")
    photo = examples["photos"][0].max(axis=0)
    given = {"photos": np.zeros([1, 3, 16, 16, 3], "uint8"), "report": np.zeros([1, 40], "int32")}
    given["photos"][0, 0], given["report"][0, :3] = photo, [2, 9, 4]
    expected = keras.ops.softmax(student(given))[0]
    found = classifier.predict(photos=[photo], report="a h, c.")
    tolerance = 1e-5 if quantize is None else 0.1
    values = [found.probabilities[name] for name in NAMES]
    np.testing.assert_allclose(values, expected, atol=tolerance)
    last = classifier.predict(photos=[None, None, photo], report="a h, c.")
    assert last.probabilities == pytest.approx(found.probabilities, abs=1e-6)


def test_a_saved_model_takes_files_and_words(tmp_path):
    inputs, examples = inputs_of("attention", "convolution"), examples_of(8)
    made = export_saved_model(
        student_of(inputs, examples),
        tmp_path / "saved",
        class_names=NAMES,
        modalities=inputs,
        examples=examples,
    )
    assert made.max_abs_logit_difference <= 1e-4
