"""The main job as it is by default, with the backbones that are installed, on 60 rows."""

import html
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from mmkd_tf.backbones import BACKBONES
from mmkd_tf.cli import app
from mmkd_tf.edge import Classifier
from mmkd_tf.runs import training as run_training

SMALL = ["--epochs", "2", "--set", "image_size=32", "--set", "batch_size=16"]
SMALL += ["--set", "robustness=false", "--set", "licence=CC-BY-4.0"]
KINDS = {
    "fruit": ((220, 40, 40), ("cherry", "apple", "plum", "ripe pear", "peach")),
    "plant": ((30, 160, 40), ("leaf", "tree", "fern", "tall grass", "bush")),
    "water": ((40, 70, 220), ("sea", "river", "lake", "deep ocean", "pond")),
}


def write_table(folder):
    """Discs of a kind's colour on grey, and short texts; a few are absent."""
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for index in range(20):
        for kind, (colour, words) in KINDS.items():
            picture = Image.fromarray(rng.integers(90, 130, [40, 40, 3]).astype(np.uint8))
            box = [int(x) for x in (*rng.integers(2, 10, 2), *rng.integers(28, 38, 2))]
            ImageDraw.Draw(picture).ellipse(box, fill=colour)
            path = f"{kind}{index}.png"
            picture.save(folder / path)
            text = f"a {words[index % 5]} {('here', 'there')[index % 2]}"
            shown, said = path if index != 7 else "", text if index != 9 else ""
            lines.append(f"{shown},{said},{kind}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def interrupted(*_, **__):
    raise KeyboardInterrupt


def written(folder):
    """A file that is written again, whole as all of them, is another one of the disk's."""
    return {file.name: file.stat().st_ino for file in folder.rglob("*.npz")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, eager_training):
    """A run that was interrupted between teacher and student, and what it had left then."""
    folder = tmp_path_factory.mktemp("pretrained")
    table, out = write_table(folder), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKD_TF_CACHE", str(folder / "cache"))
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(run_training, "train", interrupted)  # the heads have theirs
            first = invoke("run", table, "--output", out, *SMALL)
        assert first.exit_code == 130, first.output
        left = sorted(file.name for file in out.iterdir() if not file.name.startswith("."))
        features, teacher = written(folder / "cache"), (out / "teacher.keras").read_bytes()
        patch.setattr(run_training, "train_heads", None)  # they are trained already
        result = invoke("run", "--output", out, "--resume")
        assert result.exit_code == 0, result.output or result.exception
        # Of pictures, of texts and of the words that the student knows.
        assert written(folder / "cache") == features and len(features) == 3
        assert (out / "teacher.keras").read_bytes() == teacher
    return out, left, json.loads((out / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_an_interruption_leaves_the_teacher(finished):
    _, left, _ = finished
    assert "teacher.keras" in left and "student_alone.keras" not in left
    assert "results.json" not in left


@pytest.mark.slow
def test_teacher_and_students_are_measured(finished):
    _, _, results = finished
    assert results["config"]["teacher"]["encoders"] == "pretrained"
    assert results["config"]["student"]["inherit"] == "small"
    sizes = results["dataset"]["sizes"]
    assert sum(sizes.values()) == 60
    for name in ("teacher", "student_alone", "student"):
        assert 0 <= results[name]["test"]["accuracy"] <= 1
        assert np.sum(results[name]["test"]["confusion_matrix"]) == sizes["test"]
    # Colours and words of five, each seen in training: there is little to be wrong about.
    assert results["teacher"]["test"]["accuracy"] >= 0.75
    assert results["robustness"] is None


@pytest.mark.slow
def test_the_encoders_count_as_the_teachers(finished):
    _, _, results = finished
    frozen = sum(BACKBONES[name].parameters for name in ("efficientnet_lite0", "use_multilingual"))
    heads = results["teacher"]["parameters"] - frozen
    assert 0 < heads < frozen
    assert results["student"]["parameters"] == results["student_alone"]["parameters"] < 400_000
    forms = results["dataset"]["modalities"]
    assert "efficientnet_lite0" in forms["teacher/image"]
    assert "use_multilingual" in forms["teacher/text"]


@pytest.mark.slow
def test_the_file_answers_without_the_encoders(finished):
    out, _, results = finished
    (exact,) = (made for made in results["exports"] if made["file"] == "student.tflite")
    assert exact["max_abs_logit_difference"] < 1e-3
    assert (out / "student_small.tflite").stat().st_size < 300 * 1024
    for file in ("student.tflite", "student_small.tflite"):
        classifier = Classifier(out / file)
        picture = out.parent / "fruit1.png"
        for given in ({"image": picture, "text": "a cherry"}, {"image": picture}, {"text": "sea"}):
            answer = classifier.predict(**given)
            assert sorted(answer.probabilities) == sorted(KINDS)
            assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-3)
    words = (out / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    assert words[:2] == ["<pad>", "<unk>"] and {"cherry", "sea"} < set(words)
    assert len(words) > 100  # the table has some twenty


@pytest.mark.slow
def test_the_card_names_whose_weights_the_student_begins_with(finished):
    out, _, results = finished
    card = (out / "model_card.md").read_text(encoding="utf-8")
    page = html.unescape((out / "report.html").read_text(encoding="utf-8"))
    for name in ("efficientnet_lite0", "use_multilingual"):
        credit = BACKBONES[name].credit
        assert credit in results["inherited"].values() and credit in card
        assert credit in page
    assert "CC-BY-4.0" in card
