"""The main job on a picture, a set of pictures and a long text, from a table to answers."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.model_file import read_model_file

SETTINGS = """
inputs:
  front: {kind: image, column: photo_front, size: 16}
  photos: {kind: image, columns: [one, two], pool: max, size: 24, student: {size: 16}}
  title: {kind: text}
training: {epochs: 2, batch_size: 16}
teacher: {encoders: scratch}
student: {inherit: none, modality_dropout: {photos: 0.3}}
export: {quantize: dynamic}
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def picture(rng, red, size=(20, 20)):
    """A picture that is red, or blue."""
    colour = (210, 40, 40) if red else (40, 40, 210)
    return np.clip(rng.normal(colour, 25, [*size, 3]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, eager_training):
    """The class needs all pictures: whether front and one of the others have one colour.

    Some rows lack pictures or the title.
    """
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    rows = []
    for index in range(48):
        front, other = rng.random(2) < 0.5
        colours = [front, other, other]
        colours[1 + index % 2] = False  # one of the set is blue in any case
        names = [f"{place}{index}.png" for place in ("front", "one", "two")]
        for name, red in zip(names, colours, strict=True):
            Image.fromarray(picture(rng, red)).save(folder / name)
        if index % 12 == 0:
            names[0] = ""
        if index % 6 == 3:
            names[1] = ""
        label = "alike" if front == other else "different"
        words = " ".join(f"w{number}" for number in rng.integers(0, 30, 43))
        title = f"{label if index % 3 else 'thing'} {index % 5} {words}" if index % 5 else ""
        rows.append([*names, title, label])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["photo_front", "one", "two", "title", "label"], *rows])
    (folder / "run.yaml").write_text(SETTINGS)
    arguments = ("--config", folder / "run.yaml", "--output", folder / "out")
    result = invoke("run", folder / "items.csv", *arguments)
    assert result.exit_code == 0, result.output
    return folder, json.loads((folder / "out" / "results.json").read_text())


def test_results_know_inputs_by_name(finished):
    folder, results = finished
    assert results["dataset"]["inputs"] == {
        "front": {"kind": "image"},
        "photos": {"kind": "image"},
        "title": {"kind": "text"},
    }
    assert results["config"]["inputs"]["front"]["column"] == "photo_front"
    assert results["config"]["inputs"]["photos"]["columns"] == ["one", "two"]
    # The teacher's pictures are others, so it can't be shown the same.
    assert sorted(results["robustness"]["absent"]) == ["student", "student_alone"]
    assert sorted(results["robustness"]["absent"]["student"]) == ["front", "photos", "title"]
    damages = results["robustness"]["damage"]
    assert damages["missing"]["modality"] == damages["photos_blur"]["modality"] == "photos"
    assert {curve["modality"] for curve in damages.values()} == {"front", "photos", "title"}
    exported = results["exports"][1]
    assert exported["max_abs_logit_difference"] < 1e-4 and exported["top1_agreement"] == 1
    files = {path.name for path in (folder / "out").iterdir()}
    assert {"labels.txt", "title_vocabulary.txt", "student.tflite"} <= files
    assert "vocabulary.txt" not in files
    page = (folder / "out" / "report.html").read_text()
    card = (folder / "out" / "model_card.md").read_text()
    assert all(name in page and name in card for name in ("front", "photos", "title"))
    assert "data:image" in page
    assert "photos: up to 2 pictures, uint8 RGB, 16 x 16 pixels" in card and "teacher/" not in card


def test_the_file_takes_the_inputs_by_name(finished):
    folder, _ = finished
    file = folder / "out" / "student.tflite"
    described = read_model_file(file).inputs["photos"]
    assert (described["kind"], described["shape"]) == ("image", [1, 2, 16, 16, 3])
    classifier = Classifier(file)
    assert sorted(classifier.inputs) == ["front", "photos", "title"]
    rng = np.random.default_rng(1)
    front, back = picture(rng, red=True), picture(rng, red=False)
    both = classifier.predict(front=front, photos=[back])
    assert sorted(both.probabilities) == ["alike", "different"]
    exchanged = classifier.predict(front=back, photos=[front])
    assert exchanged.probabilities != both.probabilities
    alone = classifier.predict(front=front)
    assert alone.probabilities != both.probabilities
    batch = classifier.predict_batch([{"front": front, "photos": [back]}, {"title": "alike 2"}])
    assert batch[0].probabilities == pytest.approx(both.probabilities, abs=1e-6)
    with pytest.raises(ValueError, match="`image`: nothing, since this model takes"):
        classifier.predict(image=front)


def test_predict_takes_inputs_by_name(finished):
    folder, _ = finished
    front, photos = folder / "front3.png", [folder / "one2.png", folder / "two2.png"]
    given = ["--input", f"front={front}", "--input", "title=thing 3"]
    given += ["--input", f"photos={photos[0]},{photos[1]}"]
    result = invoke("predict", folder / "out", *given, "--json")
    assert result.exit_code == 0, result.output
    expected = Classifier(folder / "out" / "student.tflite").predict(
        front=front, photos=photos, title="thing 3"
    )
    assert json.loads(result.stdout) == pytest.approx(expected.probabilities)
    result = invoke("predict", folder / "out", "--input", "front")
    assert result.exit_code == 2 and "`--input`: NAME=VALUE" in result.output
    result = invoke("predict", folder / "out", "--image", front)
    assert result.exit_code == 2 and "`--image`: nothing" in result.output


def test_predict_takes_columns(finished):
    folder, _ = finished
    file, answers = folder / "out" / "student.tflite", []
    columns = ("--input", "photos=one,two", "--input", "front=photo_front")
    for model, more in ((folder / "out", ()), (file, columns)):
        result = invoke("predict", model, folder / "items.csv", *more, "--json")
        assert result.exit_code == 0, result.output
        answers.append(json.loads(result.stdout))
    first, second = answers
    assert [row["prediction"] for row in first] == [row["prediction"] for row in second]
    assert len(first) == 48


def test_export_writes_them_again(finished, tmp_path):
    folder, _ = finished
    result = invoke("export", folder / "out", "--output", tmp_path, "--text-input", "bytes")
    assert result.exit_code == 0, result.output
    again = Classifier(tmp_path / "student.tflite")
    first = Classifier(folder / "out" / "student.tflite")
    example = {"front": folder / "front3.png", "title": "thing 3"}
    found, expected = again.predict(**example), first.predict(**example)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
