"""The main job on identities unseen in training, of pictures and texts, by its command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.edge import Encoder, Index, Regressor
from mmkd_tf.edge.model_file import read_model_file

SCRATCH = ["--set", "teacher.encoders=scratch", "--set", "student.inherit=none"]
SMALL = ["--epochs", "2", "--set", "image_size=16", "--set", "batch_size=16", *SCRATCH]
SMALL += ["--set", "quantize=float16", "--set", "robustness=false"]
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (40, 60, 220),
    "white": (240, 240, 240),
    "black": (20, 20, 20),
}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_table(folder, two_coloured):
    """An identity is one colour over another; of some pictures or texts there are none."""
    lines = ["image,text,label"]
    for number, repeat, path, text in two_coloured(folder, COLOURS, repeats=4):
        lines.append(f"{'' if repeat == 2 else path},{'' if repeat == 1 else text},{number}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, eager_training, two_coloured):
    folder = tmp_path_factory.mktemp("embedding")
    table = write_table(folder, two_coloured)
    result = invoke("run", table, "--task", "embedding", "--output", folder / "out", *SMALL)
    assert result.exit_code == 0, result.output
    return folder, result, json.loads((folder / "out" / "results.json").read_text())


def test_measures_verification_and_identification(finished):
    _, result, results = finished
    assert "rank-1" in result.output and "drawing at random" in result.output
    for name in ("teacher", "student_alone", "student"):
        figures = results[name]["test"]
        assert 0 <= figures["rank_1"] <= 1 and 0 <= figures["equal_error_rate"] <= 1
        low, high = figures["equal_error_rate_interval"]
        assert low <= high and len(figures["per_threshold"]) == 2
    assert results["dataset"]["class_names"] == [] and results["verdict"]["sentence"]


def test_files_answer_as_keras_and_know_a_threshold_but_no_identity(finished):
    folder, _, results = finished
    small = {entry["file"]: entry for entry in results["exports"]}
    assert small["student.tflite"]["max_abs_logit_difference"] < 1e-4
    file = read_model_file(folder / "out" / "student.tflite")
    assert file.task == "embedding" and -1 < file.threshold < 1 and not file.class_names
    assert "encoder.embed(image=" in (folder / "out" / "model_card.md").read_text()
    with pytest.raises(ValueError, match=r"Open it with mmkd_tf\.edge\.Encoder"):
        Regressor(folder / "out" / "student.tflite")


def test_an_encoder_takes_what_is_there(finished):
    folder, _, _ = finished
    encoder = Encoder(folder / "out" / "student.tflite")
    assert sorted(encoder.inputs) == ["image", "text"] and encoder.embedding_dim == 64
    picture = folder / "pictures" / "3_0.png"
    both = encoder.embed(image=picture, text="red over white")
    parts = [encoder.embed(image=picture), encoder.embed(text="red over white")]
    for embedding in (both, *parts):
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    rows = encoder.encode([{"image": picture, "text": "red over white"}, {"image": picture}])
    np.testing.assert_allclose(rows, [both, parts[0]], atol=1e-6)
    assert encoder.is_same(both, both) is True and encoder.is_same(both, -both) is False
    gallery = Index()
    gallery.add(["first", "second"], rows)
    assert gallery.search(both, top=1)[0].item == "first"
    with pytest.raises(ValueError, match="at least one of them"):
        encoder.embed()
    with pytest.raises(ValueError, match="two embeddings"):
        encoder.is_same(both, rows)


def test_candidates_are_for_files_of_one_input(finished):
    folder, _, _ = finished
    (folder / "known.txt").write_text("pictures/0_0.png\n")
    picture, known = folder / "pictures" / "3_0.png", folder / "known.txt"
    result = invoke("predict", folder / "out", "--image", picture, "--candidates", known)
    assert result.exit_code == 2 and "a file of one input" in " ".join(result.output.split())
