import json
import subprocess
import sys
import zipfile
from io import BytesIO
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from mmkd_tf.edge import Classifier, Prediction, Regressor, register_reader
from mmkd_tf.edge.examples import READERS
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.text_bytes import text_reader
from mmkd_tf.export.tflite import export_tflite

WITHOUT_TENSORFLOW = """
import importlib.abc, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "pydantic"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Block())
from mmkd_tf.edge import Classifier
answer = Classifier(sys.argv[1]).predict(image=sys.argv[2], text="a RED 茶")
print(answer.label, answer.probability)
assert not {"tensorflow", "keras", "pydantic"} & set(sys.modules)
"""

IMPORTED = """
import sys
import mmkd_tf.edge
print(*sorted(sys.modules))
"""


FUZZ = """
import sys
from pathlib import Path
from mmkd_tf.edge import Classifier

content = Path(sys.argv[1]).read_bytes()
damaged = Path(sys.argv[2])
size = int(sys.argv[3])
expected = Classifier(sys.argv[1]).predict(text="red")
refused = equal = 0
for position in [*range(0, size, 131), *range(size, len(content), 2)]:
    flipped = bytearray(content)
    flipped[position] ^= 1 << position % 8
    for candidate in (flipped, content[:position]):
        damaged.write_bytes(candidate)
        try:
            assert Classifier(damaged).predict(text="red") == expected
            equal += 1
        except ValueError:
            refused += 1
            continue
        assert position >= size and len(candidate) == len(content)
print(refused, equal)
"""


def described(kind, **files):
    """What `add_metadata` asks of an input: here of any kind, with any files."""
    files = {name.replace("_", "."): "\n".join(lines) for name, lines in files.items()}
    return SimpleNamespace(kind=kind, file_description=lambda dtype: {}, files=lambda: files)


def write_model(path, function, specs, class_names, modalities=None):
    """Writes a function of tensors as a .tflite file with labels."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(function, input_signature=specs).get_concrete_function()], tf.Module()
    )
    content = converter.convert()
    path.write_bytes(
        add_metadata(content, name="a", class_names=class_names, modalities=modalities)
    )
    return path


def channel_shares(image):
    sums = tf.reduce_sum(tf.cast(image, tf.float32), [1, 2]) + 1e-3
    return {"probabilities": sums / tf.reduce_sum(sums, axis=1, keepdims=True)}


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


def test_a_batch_equals_one_by_one(classifier, pixels, png):
    examples = [
        {"image": pixels, "text": "red"},
        {"text": "big"},
        {"image": png, "text": None},
        {"image": None, "text": "unheard of"},
    ]
    answers = classifier.predict_batch(examples)
    assert answers == [classifier.predict(**example) for example in examples]
    assert len({answer.probability for answer in answers}) == 4
    assert classifier.predict_batch([]) == []


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_batches_of_the_file_do_not_show(tmp_path, batch_size):
    spec = tf.TensorSpec([batch_size, 2, 3, 3], tf.uint8, name="image")
    path = write_model(tmp_path / "a.tflite", channel_shares, [spec], ["r", "g", "b"])
    classifier = Classifier(path)
    images = np.random.default_rng(0).integers(1, 256, (7, 2, 3, 3)).astype("uint8")
    for num_examples in (1, 4, 7, 2):
        answers = classifier.predict_batch([{"image": image} for image in images[:num_examples]])
        found = [[answer.probabilities[name] for name in "rgb"] for answer in answers]
        sums = images[:num_examples].sum((1, 2))
        np.testing.assert_allclose(found, sums / sums.sum(1, keepdims=True), atol=1e-6)
    assert (
        classifier.predict(image=images[6])
        == classifier.predict_batch([{"image": image} for image in images])[6]
    )


def test_a_text_of_bytes_reaches_the_model_as_utf8(tmp_path):
    def first_bytes(text):
        return {"probabilities": tf.cast(text, tf.float32) / 255}

    spec = tf.TensorSpec([1, 6], tf.uint8, name="text")
    path = write_model(tmp_path / "a.tflite", first_bytes, [spec], list("abcdef"))
    answer = Classifier(path).predict(text="tö茶杯")
    found = [round(255 * answer.probabilities[name]) for name in "abcdef"]
    assert bytes(found) == "tö茶".encode()


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_texts_as_bytes_and_as_ids_give_the_same(student, tmp_path, classifier, batch_size):
    inputs = {"image": np.zeros([1, 12, 16, 3], "uint8"), "text": np.zeros([1, 4], "int32")}
    words = ["<pad>", "<unk>", "red", "茶", "big"]
    reader = text_reader(words, length=4, num_bytes=24, batch_size=batch_size)
    content = convert(student, inputs, batch_size=batch_size, readers={"text": reader})
    path = tmp_path / "a.tflite"
    path.write_bytes(add_metadata(content, name="a", class_names=classifier.class_names))
    examples = [
        {"text": text}
        for text in ("Red 茶", "a\0big red", "\ud800RED", "big big red red red", "茶" * 8 + "red")
    ]
    for found, expected in zip(
        Classifier(path).predict_batch(examples), classifier.predict_batch(examples), strict=True
    ):
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_unknown_words_are_an_example_and_no_words_none(classifier, student, pixels):
    found = classifier.predict(text="xylophone zebra").probabilities
    expected = keras_probabilities(student, pixels * 0, [1, 1, 0, 0])
    np.testing.assert_allclose(
        [found[name] for name in classifier.class_names], expected, atol=1e-5
    )
    assert classifier.predict(image=pixels, text=" ?!") == classifier.predict(image=pixels)
    for nothing in ({"text": ""}, {"text": " ?!"}, {"image": pixels * 0}):
        with pytest.raises(ValueError, match="Received: nothing"):
            classifier.predict(**nothing)


def test_threads_do_not_change_the_answer(student_file, classifier):
    two = Classifier(student_file, num_threads=2).predict(text="red")
    assert two.probability == pytest.approx(classifier.predict(text="red").probability, abs=1e-6)
    for wrong in (0, -1, 65, 1.5, True, "2", None):
        with pytest.raises(ValueError, match="`num_threads`: an int from 1 to 64"):
            Classifier(student_file, num_threads=wrong)


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


def test_import_leaves_the_rest_for_later():
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    modules = run.stdout.split()
    assert "mmkd_tf.edge.classifier" in modules
    assert not {"PIL", "ai_edge_litert", "tensorflow", "keras", "pydantic"} & set(modules)


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
        ({"image": [[1, 2], [3]]}, TypeError, "`image`: .*Received: list"),
        ({"image": 5, "text": 5}, ValueError, "(?s)`image`: .*`text`: a str"),
    ],
)
def test_refuses_inputs(classifier, given, error, message):
    with pytest.raises(error, match=message):
        classifier.predict(**given)


def test_a_batch_lists_the_problems_of_all_examples(classifier, pixels):
    examples = [
        {"text": "red"},
        {"image": "missing.png", "text": 5},
        {},
        {"picture": pixels},
        "red",
    ]
    with pytest.raises(ValueError) as caught:
        classifier.predict_batch(examples)
    lines = str(caught.value).split("\n")
    starts = [
        "`examples[1]`: `image`: a picture",
        "`examples[1]`: `text`: a str. Received: text=int",
        "`examples[2]`: `image`, `text`: at least one of them",
        "`examples[3]`: `picture`: nothing, since this model takes",
        "`examples[4]`: a dict of image and text. Received: str",
    ]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


@pytest.mark.parametrize("examples", ["red", {"text": ["red"]}, None, iter(())])
def test_a_batch_is_a_list(classifier, examples):
    with pytest.raises(TypeError, match="`examples`: a list of dicts"):
        classifier.predict_batch(examples)


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


@pytest.mark.parametrize(
    ("spec", "received"),
    [
        (tf.TensorSpec([1, 5], tf.float32, name="series"), r"'series' of float32 \[1, 5\]"),
        (tf.TensorSpec([1, 5], tf.float32, name="text"), r"'text' of float32 \[1, 5\]"),
        (tf.TensorSpec([1, 4, 5], tf.int32, name="text"), r"'text' of int32 \[1, 4, 5\]"),
        (tf.TensorSpec([1, 2, 5, 4], tf.uint8, name="image"), r"'image' of uint8 \[1, 2, 5, 4\]"),
        (tf.TensorSpec([1, 2, 5, 3], tf.int32, name="image"), r"'image' of int32 \[1, 2, 5, 3\]"),
    ],
)
def test_refuses_other_inputs(tmp_path, spec, received):
    def share(x):
        x = tf.reshape(tf.cast(x, tf.float32), [1, -1])[:, :2]
        return {"probabilities": tf.nn.softmax(x)}

    path = write_model(tmp_path / "a.tflite", share, [spec], ["a", "b"])
    with pytest.raises(ValueError, match=f"`path`: .*an input {received}"):
        Classifier(path)


def test_refuses_other_signatures(tmp_path):
    def other(image):
        return {"classes": tf.cast(image, tf.float32)}

    spec = tf.TensorSpec([1, 2, 3, 3], tf.uint8, name="image")
    path = write_model(tmp_path / "a.tflite", other, [spec], ["a", "b"])
    with pytest.raises(ValueError, match="`path`, '.*a.tflite': a TFLite model with a signature"):
        Classifier(path)


def test_inputs_of_any_name_are_read_by_their_kind(tmp_path):
    """Sums of both pictures, and ids of both titles, tell the inputs apart."""

    def answer(front, back, title, title_of_bytes):
        pictures = [tf.reduce_sum(tf.cast(x, tf.float32), [1, 2, 3]) for x in (front, back)]
        texts = [tf.reduce_sum(tf.cast(x, tf.float32), 1) for x in (title, title_of_bytes)]
        return {"values": tf.stack(pictures + texts, axis=1)}

    specs = [
        tf.TensorSpec([1, 2, 3, 3], tf.uint8, name="front"),
        tf.TensorSpec([1, 1, 1, 3], tf.float32, name="back"),
        tf.TensorSpec([1, 4], tf.int32, name="title"),
        tf.TensorSpec([1, 8], tf.uint8, name="title_of_bytes"),
    ]
    words = ["<pad>", "<unk>", "red", "cup"]
    modalities = {
        "front": described("image"),
        "back": described("image"),
        "title": described("text", vocab_txt=words),
        "title_of_bytes": described("text", vocab_txt=["another"]),
    }
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(answer, input_signature=specs).get_concrete_function()], tf.Module()
    )
    path = tmp_path / "a.tflite"
    arguments = {"class_names": list("fbto"), "modalities": modalities, "task": "regression"}
    path.write_bytes(add_metadata(converter.convert(), name="a", **arguments))
    regressor = Regressor(path)
    assert set(regressor.inputs) == set(modalities)
    pixels = np.full([2, 3, 3], 2, "uint8")
    found = regressor.predict(front=pixels, title="Red cups, cup!", title_of_bytes="AB")
    assert found == {"f": 36.0, "b": 0.0, "t": 6.0, "o": 131.0}
    found = regressor.predict_batch([{"back": 3 * pixels, "front": None}, {"title": "cup"}])
    assert [list(one.values()) for one in found] == [[0, 18, 0, 0], [0, 0, 3, 0]]
    with pytest.raises(ValueError) as caught:
        regressor.predict(front="missing.png", title_of_bytes=5, image=pixels)
    starts = ["`front`: a picture", "`title_of_bytes`: a str", "`image`: nothing, since this model"]
    lines = str(caught.value).split("\n")
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    with pytest.raises(ValueError, match="Received: nothing") as caught:
        regressor.predict(title=" ")
    assert all(f"`{name}`" in str(caught.value) for name in regressor.inputs)


class PulseReader:
    """Reads lists of numbers."""

    items, absent = "lists", "Nothing but zeros counts as absent."

    def __init__(self, name, shape, dtype, description, files):
        if len(shape) != 1 or dtype != np.float32:
            raise ValueError("pulses are float32 [batch, length]")
        assert (description["kind"], files) == ("pulses", {"unit.txt": "mV"})
        self.trial = np.zeros(shape, dtype)

    def __call__(self, value):
        return np.asarray(value, np.float32)


def test_other_kinds_can_be_registered(tmp_path, monkeypatch):
    path = tmp_path / "a.tflite"
    spec = tf.TensorSpec([1, 2], tf.float32, name="heart")
    modalities = {"heart": described("pulses", unit_txt=["mV"])}
    write_model(path, lambda heart: {"probabilities": heart}, [spec], ["a", "b"], modalities)
    with pytest.raises(ValueError, match=r"'heart' of float32 \[1, 2\] \(of kind 'pulses'"):
        Classifier(path)
    monkeypatch.setattr("mmkd_tf.edge.examples.READERS", dict(READERS))
    register_reader("pulses", PulseReader)
    assert Classifier(path).predict(heart=[0.25, 0.75]).probabilities == {"b": 0.75, "a": 0.25}
    with pytest.raises(ValueError, match="Received: nothing.*Nothing but zeros"):
        Classifier(path).predict(heart=[0, 0])
    with pytest.raises(ValueError, match="`kind`: one that has no reader yet"):
        register_reader("pulses", PulseReader)


def test_the_task_of_a_file_is_only_shown(tmp_path):
    spec = tf.TensorSpec([1, 2, 3, 3], tf.uint8, name="image")
    path = write_model(tmp_path / "a.tflite", channel_shares, [spec], ["r", "g", "b"])
    content = path.read_bytes()
    size = json.loads(zipfile.ZipFile(path).read("mmkd.json"))["model_bytes"]
    for task, threshold, shown, labels in (
        ("guessing", None, "3 classes", ("b",)),
        ("multi_label", None, "3 labels", ("b",)),  # a file from before thresholds were told
        ("guessing", 0.2, "3 labels", ("b", "g")),
    ):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            files = {name: archive.read(name).decode() for name in archive.namelist()}
        described = json.loads(files["mmkd.json"]) | {"format": 2, "task": task}
        if threshold is not None:
            described["outputs"]["probabilities"]["threshold"] = threshold
        files["mmkd.json"] = json.dumps(described)
        with path.open("wb") as file:
            file.write(content[:size])
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        classifier = Classifier(path)
        assert classifier.task == task and repr(classifier) == f"Classifier(image -> {shown})"
        pixels = np.broadcast_to(np.array([1, 3, 6], "uint8"), [2, 3, 3])
        assert classifier.predict(image=pixels).labels == labels


@pytest.mark.parametrize("class_names", [["r", "g"], ["r", "g", "b", "x"], ["r", "g", "g"]])
def test_refuses_labels_that_do_not_fit(tmp_path, class_names):
    spec = tf.TensorSpec([1, 2, 3, 3], tf.uint8, name="image")
    path = write_model(tmp_path / "a.tflite", channel_shares, [spec], class_names)
    with pytest.raises(ValueError, match=r"`path`: .* labels, \d of them distinct, for 3 outputs"):
        Classifier(path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["<pad>", "<unk>", *"abc"], "fails when it is tried .*out of bounds"),
        (["a", "b"], "distinct words that begin with '<pad>'"),
    ],
)
def test_refuses_a_vocabulary_that_does_not_fit(tmp_path, vocabulary, message):
    table = tf.constant(np.eye(4, dtype="float32"))

    def embed(text):
        return {"probabilities": tf.gather(table, text)[:, 0]}

    spec = tf.TensorSpec([1, 5], tf.int32, name="text")
    path = tmp_path / "a.tflite"
    text = described("text", vocab_txt=["<pad>", "<unk>", "a", "b"])
    write_model(path, embed, [spec], list("abcd"), {"text": text})
    assert Classifier(path).predict(text="b").label == "d"
    text = described("text", vocab_txt=vocabulary)
    write_model(path, embed, [spec], list("abcd"), {"text": text})
    with pytest.raises(ValueError, match=f"`path`: .*{message}"):
        Classifier(path)


def test_damaged_files_never_end_the_process(student_file, tmp_path):
    with zipfile.ZipFile(student_file) as archive:
        size = json.loads(archive.read("mmkd.json"))["model_bytes"]
    command = [sys.executable, "-c", FUZZ, student_file, tmp_path / "damaged.tflite", str(size)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    refused, equal = map(int, run.stdout.split())
    assert refused > 500 and 0 < equal < 300  # dates and the like in the archive don't matter
