"""The released students are there, small, described, and give sensible answers."""

import html
from pathlib import Path

import pytest

from mmkd_tf import from_tfds
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.edge.tokenizer import split_words

FOLDER = Path(__file__).parents[1] / "saved_models"
KNOWN = {  # a text, and how the class begins that it speaks of
    "emoji": {"flag: Chile": "Flags", "airplane": "Travel", "woman running": "People"},
    "catalog": {"brand new, sealed, with tags": "new ", "second hand, vintage, worn": "used "},
}
# Words that people say, and that none of emoji's training texts has.
EVERYDAY = {
    "Food & Drink": "pizza soup yogurt pasta steak lemonade sausage omelette",
    "Animals & Nature": "squirrel pigeon oak goat",
    "Travel & Places": "airport village harbor street subway",
    "Objects": "laptop scissors candle wallet",
    "People & Body": "doctor uncle elbow policeman grandmother",
    "Flags": "sweden belgium kenya nepal",
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_released_student_answers(name):
    path = FOLDER / name / "student_small.tflite"
    assert path.stat().st_size <= 300 * 1024
    classifier = Classifier(path)
    predictions = classifier.predict_batch([{"text": text} for text in KNOWN[name]])
    for prediction, beginning in zip(predictions, KNOWN[name].values(), strict=True):
        assert prediction.label.startswith(beginning)


@pytest.mark.parametrize("name", KNOWN)
def test_its_card_tells_the_file_the_licence_and_the_accuracy(name):
    card = html.unescape((FOLDER / name / "model_card.md").read_text(encoding="utf-8"))
    file = read_model_file(FOLDER / name / "student_small.tflite")
    assert file.author and file.author in card
    named = [part.partition("inherits from ")[2] or part for part in file.licence.split("; ")]
    assert named[0] and all(part in card for part in named)
    assert "student_small.tflite" in card and "test examples" in card
    assert all(label in card for label in file.class_names)


def test_words_that_training_never_had():
    trained = from_tfds("emoji").splits["train"].raw["text"]
    known = {word for text in trained for word in split_words(text)}
    words = {word: label for label, said in EVERYDAY.items() for word in said.split()}
    assert len(words) == 30 and not known & set(words)
    classifier = Classifier(FOLDER / "emoji" / "student_small.tflite")
    predictions = classifier.predict_batch([{"text": word} for word in words])
    answers = dict(zip(words, (p.label for p in predictions), strict=True))
    assert answers["pizza"] == "Food & Drink"
    assert sum(answers[word] == label for word, label in words.items()) >= 24
