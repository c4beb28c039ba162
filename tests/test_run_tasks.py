"""The main job on labels of several an example and on numbers, by its command."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.edge import Classifier, Regressor

SCRATCH = ["--set", "teacher.encoders=scratch", "--set", "student.inherit=none"]
SMALL = ["--epochs", "12", "--set", "image_size=16", "--set", "batch_size=8", *SCRATCH]
SMALL += ["--set", "quantize=float16"]
COLOURS = {"red": 0, "green": 1, "blue": 2}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_table(folder, num_rows=64):
    """Pictures of up to three colours; a text says whether it is big; how bright, how heavy."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    lines = ["image,text,tags,brightness,weight"]
    for index in range(num_rows):
        present = [name for name in COLOURS if rng.random() < 0.5]
        big = rng.random() < 0.5
        pixels = np.zeros([16, 16, 3])
        for name in present:
            pixels[..., COLOURS[name]] = 200
        pixels = np.clip(pixels + rng.normal(20, 10, pixels.shape), 1, 255).astype(np.uint8)
        path = f"pictures/{index}.png"
        Image.fromarray(pixels).save(folder / path)
        tags = "|".join([*present, *["big"] * big]) or "|"
        weight = 5000 + 1000 * big + rng.normal(0, 20)
        text = f"a {'big' if big else 'small'} thing"
        lines.append(f"{path},{text},{tags},{pixels.mean() / 255:.4f},{weight:.1f}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


def finish(tmp_path_factory, name, *arguments):
    folder = tmp_path_factory.mktemp(name)
    table = write_table(folder)
    result = invoke("run", table, "--output", folder / "out", *SMALL, *arguments)
    assert result.exit_code == 0, result.output
    return folder, result, json.loads((folder / "out" / "results.json").read_text())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    weighing = ["--set", "fusion=weighted_sum"]
    return finish(tmp_path_factory, "labels", "--label", "tags", *weighing)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    targets = ["--label", "brightness,weight", "--task", "regression"]
    return finish(tmp_path_factory, "numbers", *targets, "--set", "student_image_size=8")


def test_several_labels_are_seen_learned_and_reported(labelled):
    folder, result, results = labelled
    assert results["task"] == "multi_label"
    assert results["dataset"]["class_names"] == ["big", "blue", "green", "red"]
    assert any(
        "'task" in note or "task multi_label" in note for note in results["dataset"]["notes"]
    )
    assert results["config"]["distillation"]["soft_target_loss"] == "sigmoid"
    teacher = results["teacher"]["test"]
    assert teacher["average_precision"] > 0.9
    assert {"micro_f1", "macro_f1", "subset_accuracy", "per_label"} <= set(teacher)
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-4
    assert results["exports"][2]["task"] == "multi_label"
    assert results["calibration"]["error_before"] != results["calibration"]["error_after"]
    assert (
        results["exports"][2]["keras_accuracy"]
        == results["student"]["validation"]["average_precision"]
    )
    assert "average precision" in result.output and "validation pr auc" in result.output
    card = (folder / "out" / "model_card.md").read_text()
    assert "any number of 4 labels: big; blue; green; red" in card
    lost = results["robustness"]["absent"]["student"]
    assert max(lost.values()) < results["student"]["test"]["average_precision"]
    weights = results["modality_weights"]["student"]
    assert weights["image"]["mean"] + weights["text"]["mean"] == pytest.approx(1)
    page = (folder / "out" / "report.html").read_text()
    for shown in ("Label by label", "any number of 4 labels", "What the fusion counts"):
        assert shown in page
    assert "What it takes for what" not in page


def test_a_file_of_several_labels_gives_those_above_a_half(labelled):
    folder, _, _ = labelled
    classifier = Classifier(folder / "out" / "student.tflite")
    for answer in (
        classifier.predict(text="a big thing"),  # without a picture
        classifier.predict(image=np.full([20, 20, 3], 90, "uint8")),  # without a text
    ):
        given = {name for name, p in answer.probabilities.items() if p > 0.5}
        assert set(answer.labels) == given
        assert list(answer.probabilities.values()) == sorted(
            answer.probabilities.values(), reverse=True
        )
    shown = invoke("predict", folder / "out", "--text", "a big thing").stdout
    assert shown.count("%") == 4


def test_numbers_are_learned_in_their_units_and_reported(measured):
    folder, result, results = measured
    assert results["task"] == "regression"
    assert results["dataset"]["class_names"] == ["brightness", "weight"]
    assert results["dataset"]["targets"]["weight"]["mean"] == pytest.approx(5500, abs=200)
    teacher = results["teacher"]["test"]
    assert teacher["r2"] > 0.6
    assert [target["name"] for target in teacher["per_target"]] == ["brightness", "weight"]
    assert results["config"]["distillation"]["soft_target_loss"] == "squared"
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-3
    assert results["exports"][1]["keras_accuracy"] == pytest.approx(
        results["student"]["validation"]["r2"], abs=1e-6
    )
    assert "R2" in result.output and "validation mean absolute error" in result.output
    card = (folder / "out" / "model_card.md").read_text()
    assert "tells 2 numbers from image and text: brightness; weight" in card
    assert "temperature" not in card and "8 x 8 pixels" in card and "teacher/" not in card
    assert sorted(results["robustness"]["absent"]) == ["student", "student_alone"]
    assert results["modality_weights"]["student"] is None
    page = (folder / "out" / "report.html").read_text()
    assert "Target by target" in page and "each with 2 numbers" in page
    assert "What the fusion counts" not in page


def test_a_file_of_numbers_gives_them_by_name(measured):
    folder, _, _ = measured
    regressor = Regressor(folder / "out" / "student.tflite")
    for answer in (
        regressor.predict(text="a big thing"),
        regressor.predict(image=np.full([20, 20, 3], 90, "uint8")),
    ):
        assert list(answer) == ["brightness", "weight"]
        assert 3000 < answer["weight"] < 8000
    result = invoke("predict", folder / "out", "--text", "a big thing", "--json")
    assert json.loads(result.stdout) == pytest.approx(regressor.predict(text="a big thing"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "tags", "--set", "soft_target_loss=dist"], "auto or sigmoid for multi_label"),
        (["--label", "tags", "--set", "on_wrong_teacher=skip"], "none for multi_label"),
        (["--label", "weight"], "--task regression"),
        (["--label", "weight", "--task", "regression", "--set", "temperature=2"], "none for regr"),
        (["--label", "tags,weight"], "no column 'tags,weight'"),
    ],
)
def test_settings_without_effect_are_refused_before_training(tmp_path, arguments, message):
    table = write_table(tmp_path)
    result = invoke("run", table, "--output", tmp_path / "out", *SMALL, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not list((tmp_path / "out").glob("*.keras"))
