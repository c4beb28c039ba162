"""What a file says beside its answer: how sure it is, and which words it does not know."""

import numpy as np
import pytest

from mmkd_tf.edge import Classifier, Regressor
from mmkd_tf.edge.remarks import certainty, rough_calibration, unknown_words
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ({"cup": 0.97, "hat": 0.03}, "It is sure: about 97 of 100 such answers are right."),
        ({"cup": 1.0, "hat": 0.0}, "It is sure: about 99 of 100 such answers are right."),
        ({"cup": 0.6, "hat": 0.4}, "It is fairly sure: about 60 of 100 such answers are right."),
        (
            {"cup": 0.4, "hat": 0.3, "pen": 0.2, "bag": 0.1},
            "It is NOT sure that this is cup: about 40 of 100 such answers are right. It may as "
            "well be hat or pen.",
        ),
    ],
)
def test_how_sure_a_class_is(probabilities, said):
    assert certainty(probabilities, calibrated=True) == said


def test_uncalibrated_probabilities_promise_no_share():
    said = certainty({"cup": 0.97, "hat": 0.03}, calibrated=False)
    assert said == "It is sure. (The probabilities of this file are not calibrated.)"


def test_a_rough_calibration_is_said_to_be_one():
    assert "so few examples (44)" in rough_calibration({"num_examples": 44, "error_after": 0.01})
    assert "0.173" in rough_calibration({"num_examples": 440, "error_after": 0.173})
    assert rough_calibration({"num_examples": 440, "error_after": 0.04}) == ""


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ({"red": 0.9, "new": 0.1}, "It is fairly sure of each label."),
        (
            {"red": 0.45, "new": 0.1},
            "It gives none of the labels. It is NOT sure about red: probability near 0.5.",
        ),
        ({"red": 0.9, "old": 0.6, "new": 0.1}, "It is NOT sure about old: probability near 0.5."),
    ],
)
def test_how_sure_labels_are(probabilities, said):
    assert certainty(probabilities, calibrated=True, threshold=0.5) == said


def test_words_are_listed_once_and_not_without_end():
    words = {"title": [("red", True), ("teapot", False), ("teapot", False)], "note": [("a", True)]}
    assert unknown_words(words) == ["It does not know these words of `title`: teapot."]
    many = {"text": [(f"w{i}", False) for i in range(11)]}
    (said,) = unknown_words(many)
    assert said.startswith("It knows no word of `text` (w0, w1,") and "w7 and 3 more)" in said


def test_a_classifier_says_it_of_a_text_as_people_write_it(student_file):
    classifier = Classifier(student_file)
    assert classifier.temperature is None
    given = {"image": np.ones([12, 16, 3], "uint8"), "text": "A RED Teapot, red"}
    assert classifier.unknown_words(**given) == {"text": ("a", "teapot")}
    assert classifier.unknown_words(text="red 茶") == {"text": ()}
    assert classifier.unknown_words(image=given["image"], text=None) == {}
    # The fifth word is not read.
    assert classifier.unknown_words(text="big red big red lamp") == {"text": ()}
    sure, words = classifier.remarks(classifier.predict(**given), **given)
    assert "not calibrated" in sure and words.endswith("`text`: a, teapot.")
    assert len(classifier.remarks(classifier.predict(text="red"), text="red")) == 1
    with pytest.raises(TypeError, match="`text`: a str"):
        classifier.unknown_words(text=b"red")


@pytest.mark.parametrize("task", ["single_label", "regression"])
def test_files_that_take_bytes_know_their_words_too(student, tmp_path, task):
    path = tmp_path / "a.tflite"
    examples = {"image": np.ones([2, 12, 16, 3], "uint8"), "text": np.ones([2, 4], "int32")}
    temperature = 2.0 if task == "single_label" else None
    export_tflite(
        student,
        path,
        class_names=["a", "b", "c"],
        examples=examples,
        vocabulary=["<pad>", "<unk>", "red", "茶", "big"],
        text_input="bytes",
        options=TFLiteOptions(task=task, temperature=temperature),
    )
    model = (Classifier if temperature else Regressor)(path)
    assert model.unknown_words(text="red lamp <unk>") == {"text": ("lamp", "unk")}
    if temperature:
        assert model.temperature == 2
        said = model.remarks(model.predict(text="red"), text="red")
        assert "of 100 such answers are right" in said[0]
    else:
        assert model.remarks(text="red lamp") == ["It does not know these words of `text`: lamp."]
        # White space takes no room; a word that has none is left out whole, and named.
        assert model.predict(text=" " * 90 + "red\n\n" * 3) == model.predict(text="red red red")
        assert model.predict(text="big red " + "y" * 90) == model.predict(text="big red")
        assert model.remarks(text="big red " + "y" * 90 + " 茶 red") == [
            f"It lacks room for the last words of `text`, and reads it without {'y' * 60}..., 茶."
        ]
