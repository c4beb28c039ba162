"""`teacher.encoders: auto` takes the best teacher, by validation, and stays with it."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from mmkd_tf import config as config_module
from mmkd_tf import run as run_module
from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.distill.calibration import calibrated_loss
from mmkd_tf.report.progress import Reporter
from mmkd_tf.runs import training as run_training
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.training import choose_teacher
from mmkd_tf.study_config import make_study

SMALL = {"image": None, "batch_size": 16, "student.inherit": "none", "epochs": 12}
SMALL |= {
    "teacher.encoders": "auto",
    "teacher.folds": 2,
    "robustness": False,
    "quantize": "float16",
    "saved_model": False,
}


@pytest.fixture
def backbone(monkeypatch, register_letters):
    """Makes the usual backbone of texts one that tells letters apart, or one that does not."""

    def register(*, useful):
        table = np.random.default_rng(0).normal(size=[30, 16])
        table = table if useful else np.ones([30, 16])
        register_letters(keras.initializers.Constant(table.astype(np.float32)), ["hat"])

    monkeypatch.setattr(config_module, "DEFAULTS", {"text": "letters"})
    return register


def table_of(folder, text_of):
    rng = np.random.default_rng(0)
    lines = [f"{text_of(label, rng)},{label}" for _ in range(40) for label in ("up", "down")]
    (folder / "items.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return folder / "items.csv"


def new_word(label, rng):
    """A word that no other row has: its letters are all that there is to know."""
    first = "abcdefghijkl" if label == "up" else "mnopqrstuvwx"
    return "".join(rng.choice(list(first), size=8))


def known_word(label, rng):
    return f"{label} {new_word('up', rng)}"


@pytest.mark.slow
@pytest.mark.parametrize("useful", [True, False])
def test_the_better_teacher_is_taken(backbone, tmp_path, useful):
    backbone(useful=useful)
    source = table_of(tmp_path, new_word if useful else known_word)
    config = make_config({"data.source": str(source), **SMALL})
    dataset = load_dataset(config)
    assert list(dataset.modalities) == ["text"]
    config = config.for_task(dataset.task)
    folder = RunFolder(tmp_path / "out")
    folder.begin(config)
    found = choose_teacher(config, dataset, folder, Reporter())
    losses = {kind: of["loss"] for kind, of in found["candidates"].items()}
    worse = "scratch" if useful else "pretrained"
    assert sorted(losses) == ["both", "pretrained", "scratch"]
    assert max(losses, key=losses.get) == worse and losses[worse] > 0.5
    assert losses[found["chosen"]] == min(losses.values()) < 0.3
    assert found["num_examples"] == dataset.sizes["validation"]
    frozen = found["candidates"]["pretrained"]["parameters"]
    assert frozen > 30 * 16 < found["candidates"]["both"]["parameters"]
    # The teacher that is left is the one that was chosen, and no other is made.
    own = run_module.with_features(dataset, config.with_teacher(found["chosen"]))
    outputs = run_module.predict("teacher", folder.load_model("teacher"), own, ["validation"])
    again = calibrated_loss(outputs["validation"], dataset)
    assert again == pytest.approx(min(losses.values()), abs=1e-4)
    assert choose_teacher(config, dataset, folder, None) == found


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
def test_a_run_goes_on_with_the_choice_that_it_made(backbone, tmp_path, monkeypatch):
    backbone(useful=True)
    source = table_of(tmp_path, new_word)
    flags = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    flags = [flag.replace("=None", "=none").replace("epochs=12", "epochs=2") for flag in flags]

    def interrupted(models):
        raise KeyboardInterrupt

    invoke = CliRunner().invoke
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "untrained", lambda config, dataset: interrupted(config))
        first = invoke(app, ["run", str(source), "--output", str(tmp_path / "out"), *flags])
    assert first.exit_code == 130, first.output
    monkeypatch.setattr(run_training, "untrained_teacher", None)
    teacher = (tmp_path / "out" / "teacher.keras").read_bytes()
    result = invoke(app, ["run", "--output", str(tmp_path / "out"), "--resume"])
    assert result.exit_code == 0, result.output or result.exception
    assert (tmp_path / "out" / "teacher.keras").read_bytes() == teacher
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    comparison = results["teacher_comparison"]
    assert results["config"]["teacher"]["encoders"] == "auto"
    assert comparison["chosen"] in ("pretrained", "both")
    taken = comparison["candidates"][comparison["chosen"]]
    assert results["teacher"]["parameters"] == taken["parameters"]
    assert results["teacher"]["validation"]["accuracy"] == pytest.approx(taken["score"])
    card = (tmp_path / "out" / "model_card.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    for text in (" ".join(result.output.split()), card, page):
        assert "was taken, which has the least loss on the" in text
    refused = ["export", str(tmp_path / "out"), "--output", str(tmp_path / "x"), "--model"]
    result = invoke(app, [*refused, "teacher"])
    assert result.exit_code == 2 and "frozen encoders" in " ".join(result.output.split())


def test_without_a_backbone_the_teacher_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(config_module, "DEFAULTS", {})
    assert make_config(SMALL).teacher_candidates == ["scratch"]
    assert make_config({**SMALL, "teacher.encoders": "scratch"}).teacher_candidates == []


def test_a_study_compares_what_it_is_told():
    with pytest.raises(ValueError, match="teacher.encoders`: pretrained, scratch, both"):
        make_study({"settings": {"teacher.encoders": "auto"}})
