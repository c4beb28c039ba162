"""The main job on two pictures an example, from a table to answers of the exported file."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.edge import Classifier

SETTINGS = """
inputs:
  front: {kind: image, size: 16}
  back: {kind: image, column: photo_back, size: 24, student: {size: 16}}
  title: {kind: text}
training: {epochs: 2, batch_size: 8}
teacher: {encoders: scratch}
student: {inherit: none, modality_dropout: {back: 0.3}}
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def picture(rng, red, size=(20, 20)):
    """A picture that is red, or blue."""
    colour = (210, 40, 40) if red else (40, 40, 210)
    return np.clip(rng.normal(colour, 25, [*size, 3]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The class needs both pictures: whether they have one colour. Some rows lack an input."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    lines = ["front,photo_back,title,label"]
    for index in range(48):
        front, back = rng.random(2) < 0.5
        names = [f"front{index}.png", f"back{index}.png"]
        for name, red in zip(names, (front, back), strict=True):
            Image.fromarray(picture(rng, red)).save(folder / name)
        names[1] = names[1] if index % 12 else ""
        label = "alike" if front == back else "different"
        lines.append(f"{','.join(names)},{label if index % 3 else 'thing'} {index % 5},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    (folder / "run.yaml").write_text(SETTINGS)
    arguments = ("--config", folder / "run.yaml", "--output", folder / "out")
    result = invoke("run", folder / "items.csv", *arguments)
    assert result.exit_code == 0, result.output
    return folder, json.loads((folder / "out" / "results.json").read_text())


def test_results_know_inputs_by_name(finished):
    folder, results = finished
    assert results["dataset"]["inputs"] == {
        "front": {"kind": "image"},
        "back": {"kind": "image"},
        "title": {"kind": "text"},
    }
    assert results["config"]["inputs"]["back"]["column"] == "photo_back"
    assert sorted(results["robustness"]["absent"]["student"]) == ["back", "front", "title"]
    inputs = {curve["modality"] for curve in results["robustness"]["damage"].values()}
    assert inputs == {"front", "back", "title"}
    exported = results["exports"][1]
    assert exported["max_abs_logit_difference"] < 1e-4 and exported["top1_agreement"] == 1
    files = {path.name for path in (folder / "out").iterdir()}
    assert {"labels.txt", "title_vocabulary.txt", "student.tflite"} <= files
    assert "vocabulary.txt" not in files
    page = (folder / "out" / "report.html").read_text()
    card = (folder / "out" / "model_card.md").read_text()
    assert all(name in page and name in card for name in ("front", "back", "title"))


def test_the_file_takes_the_inputs_by_name(finished):
    folder, _ = finished
    classifier = Classifier(folder / "out" / "student.tflite")
    assert sorted(classifier.inputs) == ["back", "front", "title"]
    rng = np.random.default_rng(1)
    front, back = picture(rng, red=True), picture(rng, red=False)
    both = classifier.predict(front=front, back=back)
    assert sorted(both.probabilities) == ["alike", "different"]
    exchanged = classifier.predict(front=back, back=front)
    assert exchanged.probabilities != both.probabilities
    alone = classifier.predict(front=front)
    assert alone.probabilities != both.probabilities
    batch = classifier.predict_batch([{"front": front, "back": back}, {"title": "alike 2"}])
    assert batch[0].probabilities == pytest.approx(both.probabilities, abs=1e-6)
    with pytest.raises(ValueError, match="`image`: nothing, since this model takes"):
        classifier.predict(image=front)


def test_predict_takes_inputs_by_name(finished):
    folder, _ = finished
    front, back = folder / "front3.png", folder / "back3.png"
    given = ["--input", f"front={front}", "--input", f"back={back}", "--input", "title=thing 3"]
    result = invoke("predict", folder / "out", *given, "--json")
    assert result.exit_code == 0, result.output
    expected = Classifier(folder / "out" / "student.tflite").predict(
        front=front, back=back, title="thing 3"
    )
    assert json.loads(result.stdout) == pytest.approx(expected.probabilities)
    result = invoke("predict", folder / "out", "--input", "front")
    assert result.exit_code == 2 and "`--input`: NAME=VALUE" in result.output
    result = invoke("predict", folder / "out", "--image", front)
    assert result.exit_code == 2 and "`--image`: nothing" in result.output


def test_export_writes_them_again(finished, tmp_path):
    folder, _ = finished
    result = invoke("export", folder / "out", "--output", tmp_path, "--text-input", "bytes")
    assert result.exit_code == 0, result.output
    again = Classifier(tmp_path / "student.tflite")
    first = Classifier(folder / "out" / "student.tflite")
    example = {"front": folder / "front3.png", "title": "thing 3"}
    found, expected = again.predict(**example), first.predict(**example)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
