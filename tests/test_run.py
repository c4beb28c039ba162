"""The main job on a small table of real files, by its command."""

import html
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf import run as run_module
from mmkd_tf.cli import app
from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.runs import training as run_training

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}
WORDS = {"red": "cherry", "green": "leaf", "blue": "sky"}
SCRATCH = ["--set", "teacher.encoders=scratch", "--set", "student.inherit=none"]
SMALL = ["--epochs", "6", "--set", "image_size=16", "--set", "batch_size=8", *SCRATCH]


def write_table(folder, rows_per_class=16):
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    lines = ["image,text,label"]
    for index in range(rows_per_class):
        for label, colour in COLOURS.items():
            pixels = np.clip(rng.normal(colour, 30, [20, 24, 3]), 0, 255).astype(np.uint8)
            path = f"pictures/{label}{index}.png"
            Image.fromarray(pixels).save(folder / path)
            lines.append(f"{path},a {WORDS[label]} number {index},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, and in `again` what it had left before its student learned from the teacher."""
    folder = tmp_path_factory.mktemp("run")
    table, distil = write_table(folder), run_training.distill

    def kept_before(**arguments):
        shutil.copytree(folder / "out", folder / "again")
        return distil(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_training, "distill", kept_before)
        result = invoke("run", table, "--output", folder / "out", *SMALL)
    assert result.exit_code == 0, result.output
    return folder, result


def results_of(path):
    return json.loads((path / "results.json").read_text())


def test_leaves_what_it_promises(finished):
    folder, result = finished
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "config.yaml",
        "data.sha256",
        "examples.json",
        "history.csv",
        "labels.txt",
        "manifest.json",
        "model_card.md",
        "report.html",
        "results.json",
        "student.keras",
        "student.tflite",
        "student_alone.keras",
        "student_saved_model",
        "student_small.tflite",
        "teacher.keras",
        "test_outputs.npz",
        "vocabulary.txt",
    ]
    assert "distilled student" in result.output and "peak memory" in result.output
    card = (folder / "out" / "model_card.md").read_text()
    assert "3 classes: blue; green; red" in card


def test_results_have_the_documented_keys_and_believable_values(finished):
    results = results_of(finished[0] / "out")
    assert results["dataset"]["class_names"] == ["blue", "green", "red"]
    assert sum(results["dataset"]["sizes"].values()) == 48
    assert results["dataset"]["inputs"] == {"image": {"kind": "image"}, "text": {"kind": "text"}}
    for name in ("teacher", "student_alone", "student"):
        test = results[name]["test"]
        assert {"accuracy", "macro_recall", "macro_f1", "confusion_matrix"} <= set(test)
        assert np.sum(test["confusion_matrix"]) == results["dataset"]["sizes"]["test"]
    assert results["teacher"]["test"]["accuracy"] > 0.8
    assert results["teacher"]["parameters"] >= 20 * results["student"]["parameters"]
    assert results["student"]["parameters"] == results["student_alone"]["parameters"]
    assert 0 <= results["student"]["agreement_with_teacher"] <= 1
    assert [made["file"] for made in results["exports"]] == [
        "student_saved_model",
        "student.tflite",
        "student_small.tflite",
    ]
    for made in results["exports"]:
        assert made["bytes"] > 0 and made["latency_ms"] > 0 and made["top1_agreement"] > 0.9
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-4
    small = results["exports"][2]
    taken = [rung for rung in small["ladder"] if rung["level"] == small["quantize"]]
    assert taken[0]["accepted"] and len(small["ladder"]) == 6
    assert small["keras_accuracy"] == results["student"]["validation"]["accuracy"]
    stages = ["data", "teacher", "student_alone", "student", "evaluation", "robustness", "exports"]
    assert list(results["seconds"]) == stages
    calibration = results["calibration"]
    assert set(calibration) == {"temperature", "num_examples", "error_before", "error_after"}
    before = results["student"]["test"]["expected_calibration_error"]
    assert calibration["error_before"] == before
    file = read_model_file(finished[0] / "out" / "student_small.tflite")
    card = (finished[0] / "out" / "model_card.md").read_text()
    assert f"divide logits by {calibration['temperature']:.2f}, found on" in card
    assert "found on the 6 validation examples" in card
    assert "on test the calibration error is" in card
    assert file.temperature == calibration["temperature"] != 1
    assert results["seed"] == 0 and results["config"]["training"]["epochs"] == 6
    assert {"python", "tensorflow", "keras"} <= set(results["versions"])


def test_robustness_is_measured_on_the_test_split(finished):
    results = results_of(finished[0] / "out")
    found = results["robustness"]
    assert found["split"] == "test"
    assert found["num_examples"] == results["dataset"]["sizes"]["test"]
    pictures, texts = ["blur", "noise", "jpeg", "occlusion"], ["typos", "dropped", "shuffled"]
    assert [kind.split("_")[0] for kind in found["damage"]] == pictures + texts
    for name in ("teacher", "student_alone", "student"):
        clean = results[name]["test"]["accuracy"]
        assert found["clean"][name] == pytest.approx(clean)
        assert sorted(found["absent"][name]) == ["image", "text"]
        for curve in found["damage"].values():
            assert len(curve["score"][name]) == len(curve["levels"]) == 6
            assert curve["score"][name][0] == found["clean"][name]
    page = (finished[0] / "out" / "report.html").read_text()
    robustness = page[page.index('id="robustness"') :]
    assert "With an input absent or damaged" in page and robustness.count("<svg") == 7


def test_what_the_report_needs_is_kept_and_makes_it_again(finished):
    out = finished[0] / "out"
    results = results_of(out)
    epochs = list(range(1, 7))
    names = ["teacher", "student_alone", "student"]
    assert list(results["history"]) == names
    assert all(results["history"][name]["epoch"] == epochs for name in names)
    with np.load(out / "test_outputs.npz") as kept:
        labels, outputs = kept["labels"], kept["student"]
        assert sorted(kept) == ["labels", "student", "student_alone", "teacher"]
    accuracy = results["student"]["test"]["accuracy"]
    assert np.mean(outputs.argmax(axis=1) == labels) == pytest.approx(accuracy)
    compared = results["test_comparison"]
    assert compared["num_examples"] == len(labels)
    assert sorted(compared["intervals"]) == sorted([*names, "naive"])
    groups = json.loads((out / "examples.json").read_text())
    assert [group["name"] for group in groups] == ["mistakes", "disagreements", "unsure"]
    shown = groups[2]["examples"][0]
    assert shown["inputs"]["image"]["data"].startswith("data:image/")
    assert shown["number"] > 1  # the table's header is row 1
    low, high = results["exports"][2]["latency_spread_ms"]
    assert low <= results["exports"][2]["latency_ms"] <= high

    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    result = invoke("report", out)
    assert result.exit_code == 0, result.output
    assert (out / "report.html").read_text() == page
    assert results["verdict"]["sentence"] in html.unescape(page)
    both = finished[0] / "both.html"
    result = invoke("report", out, out / ".." / "out", "--output", both)
    assert result.exit_code == 0 and "2 runs compared" in both.read_text()


def test_predict_answers_from_the_exported_file(finished):
    folder, _ = finished
    picture = folder / "pictures" / "red1.png"
    result = invoke("predict", folder / "out", "--image", picture, "--text", "a cherry", "--json")
    probabilities = json.loads(result.stdout)
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert sorted(probabilities) == ["blue", "green", "red"]
    text_only = invoke("predict", folder / "out" / "student.tflite", "--text", "leaf")
    assert text_only.exit_code == 0 and "%" in text_only.stdout
    nothing = invoke("predict", folder / "out")
    assert nothing.exit_code == 2 and "at least one" in nothing.output


def test_export_makes_the_same_files_again(finished, tmp_path):
    folder, _ = finished
    result = invoke("export", folder / "out", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    again = (tmp_path / "student.tflite").read_bytes()
    assert again == (folder / "out" / "student.tflite").read_bytes()
    assert (tmp_path / "student_saved_model").is_dir()
    config = folder / "out" / "config.yaml"
    written = config.read_text()
    assert "saved_model: true" in written
    try:
        config.write_text(written.replace("saved_model: true", "saved_model: false"))
        _other_forms(folder, tmp_path / "bytes")
    finally:
        config.write_text(written)
    wrong = ["--quantize", "int3", "--batch-size", -1, "--output", folder / "items.csv"]
    result = invoke("export", folder / "out", *wrong)
    assert result.exit_code == 2
    assert all(f"`{flag}`" in result.output for flag in wrong[::2])
    result = invoke("export", folder / "out", "--output", tmp_path, "--model", "grandmother")
    assert result.exit_code == 2 and "student_alone" in result.output


def _other_forms(folder, output):
    options = ["--text-input", "bytes", "--batch-size", 2, "--quantize", "dynamic"]
    result = invoke("export", folder / "out", "--output", output, *options)
    assert result.exit_code == 0, result.output
    assert not (output / "student_saved_model").exists()
    assert "dynamic" in result.output and "Measured on" in result.output
    found = invoke("predict", output / "student.tflite", "--text", "leaf", "--json")
    expected = invoke("predict", folder / "out", "--text", "leaf", "--json")
    assert json.loads(found.stdout) == pytest.approx(json.loads(expected.stdout), abs=1e-5)


def test_export_and_resume_refuse_a_table_that_has_changed(finished, tmp_path):
    folder, _ = finished
    table = folder / "items.csv"
    original = table.read_text()
    try:
        table.write_text(original.replace(",red\n", ",zebra\n"))
        result = invoke("export", folder / "out", "--output", tmp_path)
        assert (
            result.exit_code == 2 and "classes, split or vocabulary have changed" in result.output
        )
        assert not list(tmp_path.iterdir())
        unfinished = tmp_path / "unfinished"
        unfinished.mkdir()
        for name in ("config.yaml", "data.sha256"):
            (unfinished / name).write_bytes((folder / "out" / name).read_bytes())
        result = invoke("run", "--output", unfinished, "--resume")
        assert result.exit_code == 2 and "have changed since" in result.output
    finally:
        table.write_text(original)


def test_mistakes_give_one_line_and_no_traceback(finished, tmp_path):
    folder, _ = finished
    table = folder / "items.csv"
    for arguments, words in (
        (["run", table, "--set", "x=["], "--set"),
        (["export", folder / "out", "--output", table], "Error"),
        (["run", table, "--image", "none", "--text", "none"], "`inputs`: at least one"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2 and words in result.output, result.output


def test_a_full_disk_is_said_in_one_line(finished, monkeypatch, tmp_path):
    folder, _ = finished

    def full(*args, **kwargs):
        raise RuntimeError("write failed: No space left on device")

    monkeypatch.setattr(run_training, "train", full)
    result = invoke("run", folder / "items.csv", "--output", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "disk is full" in result.output and "--resume" in result.output


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_figures(finished, monkeypatch):
    folder, _ = finished
    distil, expected = run_training.distill, results_of(folder / "out")

    def interrupted(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_training, "train", None)  # both are trained already
    monkeypatch.setattr(run_training, "distill", interrupted)
    first = invoke("run", "--output", folder / "again", "--resume")
    assert first.exit_code == 130 and "--resume" in first.output
    assert (folder / "again" / "student_alone.keras").is_file()
    assert not (folder / "again" / "results.json").exists()

    (kept,) = (folder / "again" / ".state" / "soft_targets" / "teacher-6").glob("*-0.npy")
    kept.write_bytes(kept.read_bytes()[:-8])  # as a kill leaves it: it is made again

    monkeypatch.setattr(run_training, "distill", distil)
    # What comes after the trainings is as in other runs that go on.
    for stage, key in (("robustness", "robustness"), ("export_all", "exports")):
        monkeypatch.setattr(run_module, stage, lambda *_, found=expected[key], **__: found)
    second = invoke("run", "--output", folder / "again", "--resume")
    assert second.exit_code == 0, second.output
    resumed = results_of(folder / "again")
    for name in ("teacher", "student_alone", "student"):
        assert resumed[name] == expected[name]
    assert not (folder / "again" / ".state").exists()


def test_bad_rows_stop_a_run_before_it_leaves_anything(tmp_path):
    table = write_table(tmp_path)
    lines = table.read_text().splitlines()
    (tmp_path / "pictures" / "red0.png").write_bytes(b"\x89PNG broken")
    lines[2] = "pictures/absent.png,a leaf,green"
    lines[3] = "../../etc/passwd,a sky,blue"
    table.write_text("\n".join(lines) + "\n")
    result = invoke("run", table, "--output", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    for words in ("row 2", "row 3", "row 4", "absent.png"):
        assert words in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    result = invoke("run", "--output", tmp_path)
    assert result.exit_code == 2 and "note.txt" in result.output
    assert os.listdir(tmp_path) == ["note.txt"]


def test_help_names_every_command():
    result = invoke("--help")
    for command in ("run", "predict", "export"):
        assert command in result.output
