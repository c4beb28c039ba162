"""The main job on sets of pictures and long texts, from a table to answers of the exported file."""

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
  photos: {kind: image, columns: [one, two], pool: max, size: 24, student: {size: 16}}
  report: {kind: text}
training: {epochs: 2, batch_size: 16}
teacher: {encoders: scratch}
student: {inherit: none}
export: {quantize: dynamic}
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Red is somewhere among the pictures, or not; some rows lack pictures or the report."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    rows = []
    for index in range(36):
        label, names = ("red", "blue")[index % 2], []
        for place in range(2):
            red = label == "red" and place == index // 2 % 2
            colour = (210, 40, 40) if red else (40, 40, 210)
            pixels = np.clip(rng.normal(colour, 25, [20, 20, 3]), 0, 255).astype(np.uint8)
            names.append(f"{index}-{place}.png")
            Image.fromarray(pixels).save(folder / names[-1])
        if index % 6 == 3:
            names[0] = ""
        words = " ".join(f"w{number}" for number in rng.integers(0, 30, 45))
        rows.append([*names, words if index % 5 else "", label])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["one", "two", "report", "label"], *rows])
    (folder / "run.yaml").write_text(SETTINGS)
    arguments = ("--config", folder / "run.yaml", "--output", folder / "out")
    result = invoke("run", folder / "items.csv", *arguments)
    assert result.exit_code == 0, result.output
    return folder, json.loads((folder / "out" / "results.json").read_text())


def test_a_set_is_an_input_like_others(finished):
    folder, results = finished
    assert results["dataset"]["inputs"] == {"photos": {"kind": "image"}, "report": {"kind": "text"}}
    assert results["config"]["inputs"]["photos"]["columns"] == ["one", "two"]
    damages = results["robustness"]["damage"]
    assert damages["missing"]["modality"] == damages["blur"]["modality"] == "photos"
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-4
    described = read_model_file(folder / "out" / "student.tflite").inputs["photos"]
    assert (described["kind"], described["shape"]) == ("image", [1, 2, 16, 16, 3])
    assert "data:image" in (folder / "out" / "report.html").read_text()


def test_predict_takes_lists_and_columns(finished):
    folder, _ = finished
    file = folder / "out" / "student.tflite"
    both = [folder / "2-0.png", folder / "2-1.png"]
    expected = Classifier(file).predict(photos=both).probabilities
    result = invoke("predict", file, "--input", f"photos={both[0]},{both[1]}", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == pytest.approx(expected)
    answers = {}
    for model, more in ((folder / "out", ()), (file, ("--input", "photos=one,two"))):
        result = invoke("predict", model, folder / "items.csv", *more, "--json")
        assert result.exit_code == 0, result.output
        answers[model] = json.loads(result.stdout)
    first, second = answers.values()
    assert [row["prediction"] for row in first] == [row["prediction"] for row in second]
    assert len(first) == 36
