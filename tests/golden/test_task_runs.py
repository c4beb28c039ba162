"""The main job on labels of several an example and on numbers: as it was, and as people read it."""

import json

import numpy as np
import pytest
from golden_cases import check_same, frozen_results, make_run, read_golden, write_table
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.distill.calibration import file_calibration
from mmkd_tf.distill.training import Recipe, train
from mmkd_tf.edge import Classifier, Regressor
from mmkd_tf.run import evaluate
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.roles import predict

SMALL = ["--epochs", "2", "--set", "image_size=16", "--set", "teacher.encoders=scratch"]
SMALL += ["--set", "student.inherit=none"]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def finish(tmp_path_factory, task):
    folder = tmp_path_factory.mktemp(task)
    said = make_run(task, folder)
    return folder, said, json.loads((folder / "out" / "results.json").read_text())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return finish(tmp_path_factory, "multi_label")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return finish(tmp_path_factory, "regression")


def data_and_model(folder, name):
    """What a run saw, and a model of it."""
    dataset = load_dataset(make_config({}, folder / "out" / "config.yaml"))
    return dataset, RunFolder(folder / "out").load_model(name)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_a_run_gives_the_results_that_it_gave(task, request):
    folder, _, _ = request.getfixturevalue({"multi_label": "labelled"}.get(task, "measured"))
    check_same(read_golden(f"results-{task}.json"), frozen_results(folder / "out"))


def test_several_labels_are_seen_learned_and_reported(labelled):
    folder, said, results = labelled
    assert results["task"] == "multi_label"
    assert results["dataset"]["class_names"] == ["big", "cold", "grey", "warm"]
    assert any(
        "'task" in note or "task multi_label" in note for note in results["dataset"]["notes"]
    )
    assert results["config"]["distillation"]["soft_target_loss"] == "sigmoid"
    teacher = results["teacher"]["test"]
    assert teacher["average_precision"] > 0.9
    assert {"micro_f1", "macro_f1", "subset_accuracy", "per_label"} <= set(teacher)
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-4
    assert results["exports"][2]["task"] == "multi_label"
    assert (
        results["exports"][2]["keras_accuracy"]
        == results["student"]["validation"]["average_precision"]
    )
    assert "average precision" in said and "validation pr auc" in said
    card = (folder / "out" / "model_card.md").read_text()
    assert "any number of 4 labels: big; cold; grey; warm" in card
    lost = results["robustness"]["absent"]["student"]
    assert max(lost.values()) < results["student"]["test"]["average_precision"]
    weights = results["modality_weights"]["student"]
    assert weights["image"]["mean"] + weights["text"]["mean"] == pytest.approx(1)
    page = (folder / "out" / "report.html").read_text()
    for shown in ("Label by label", "any number of 4 labels", "What the fusion counts"):
        assert shown in page
    assert "What it takes for what" not in page


def test_several_labels_are_calibrated_together(labelled):
    dataset, student = data_and_model(labelled[0], "student")
    found = file_calibration(predict("student", student, dataset), dataset)
    assert found["error_before"] != found["error_after"]


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
    folder, said, results = measured
    assert results["task"] == "regression"
    assert results["dataset"]["class_names"] == ["brightness", "weight"]
    assert results["dataset"]["targets"]["weight"]["mean"] == pytest.approx(5500, abs=200)
    teacher = results["teacher"]["test"]
    assert [target["name"] for target in teacher["per_target"]] == ["brightness", "weight"]
    assert results["config"]["distillation"]["soft_target_loss"] == "squared"
    assert results["exports"][1]["max_abs_logit_difference"] < 1e-3
    assert results["exports"][1]["keras_accuracy"] == pytest.approx(
        results["student"]["validation"]["r2"], abs=1e-6
    )
    assert "R2" in said and "validation mean absolute error" in said
    card = (folder / "out" / "model_card.md").read_text()
    assert "tells 2 numbers from image and text: brightness; weight" in card
    assert "temperature" not in card
    assert results["modality_weights"]["student"] is None
    page = (folder / "out" / "report.html").read_text()
    assert "Target by target" in page and "each with 2 numbers" in page
    assert "What the fusion counts" not in page


def test_a_teacher_of_numbers_that_is_trained_on_knows_them(measured):
    dataset, teacher = data_and_model(measured[0], "teacher")
    train(teacher, dataset, Recipe(epochs=10, batch_size=8))
    assert evaluate(predict("teacher", teacher, dataset), dataset)["test"]["r2"] > 0.6


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
