"""A run whose teacher's encoders are trained on first, here tiny ones of the test's own."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from mmkd_tf import run as run_module
from mmkd_tf.backbones import BACKBONES, backbone_of, register_backbone
from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.distill import training
from mmkd_tf.distill.training import Recipe
from mmkd_tf.report.sentences import finetuning
from mmkd_tf.runs import roles
from mmkd_tf.runs import training as run_training
from mmkd_tf.study_config import make_study
from mmkd_tf.tasks import TASKS

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = {"image": "none", "epochs": 1, "batch_size": 16, "student.inherit": "tiny"}
SMALL |= {"teacher.encoders": "{text: [letters]}", "teacher.folds": 2, "robustness": "false"}
SMALL |= {"teacher.finetune": "all", "augment": "false", "word_rows": 1, "quantize": "float16"}
SMALL |= {"saved_model": "false"}


@pytest.fixture
def letters(monkeypatch, tmp_path):
    """A backbone that reads letters and says the same of all, until it is trained on."""
    ids = keras.Input([None], dtype="int32")
    table = np.random.default_rng(0).normal(size=[30, 8]).astype(np.float32)
    x = keras.layers.Embedding(
        30, 8, mask_zero=True, embeddings_initializer=keras.initializers.Constant(table)
    )(ids)
    x = keras.layers.GlobalAveragePooling1D()(x)
    start = keras.initializers.Constant(np.full([8, 6], 0.1, np.float32))
    model = keras.Model(ids, keras.layers.Dense(6, kernel_initializer=start)(x))
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    backbone = backbone_of(
        model,
        name="letters",
        kind="text",
        licence="MIT",
        tokenize=lambda texts: [[LETTERS.find(c) + 2 for c in text] for text in texts],
        vocabulary=["hat", "bead", "lute"],
    )
    register_backbone(backbone)
    roles.encoder.cache_clear()
    yield model
    roles.encoder.cache_clear()
    del BACKBONES["letters"]


@pytest.fixture
def table(tmp_path):
    """Words that no other row has: their letters tell the classes apart."""
    rng = np.random.default_rng(0)
    rows = [
        f"{''.join(rng.choice(list(first), size=8))},{label}"
        for _ in range(40)
        for label, first in {"up": "abcdefghijkl", "down": "mnopqrstuvwx"}.items()
    ]
    (tmp_path / "items.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return tmp_path / "items.csv"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-2, 0.0], ids=["kept", "restored"])
def test_a_run_goes_on_with_the_weights_that_it_tuned(letters, table, tmp_path, monkeypatch, rate):
    flags = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    recipe = Recipe(epochs=8, batch_size=16, learning_rate=rate)
    if not rate:  # no weight moves, so nothing is gained
        monkeypatch.setattr(training, "cosine", lambda recipe, steps: 0.0)
    monkeypatch.setattr(run_training, "FINETUNING_RECIPE", recipe)
    out, before = tmp_path / "out", letters.get_weights()
    with monkeypatch.context() as patch:
        patch.setattr(run_training, "train", interrupted)  # after the teacher's heads
        first = invoke("run", table, "--output", out, *flags)
    assert first.exit_code == 130, first.output or first.exception
    tuned = (out / ".state" / "tuned.npz").read_bytes()
    features = sorted((out / ".state").glob("features/*.npz"))
    assert len(features) == (1 if rate else 0)
    # The other encoder is as it was, and so is what was asked for at first.
    for now, was in zip(roles.encoder("letters").model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, was)
    monkeypatch.setattr(run_training, "finetune", None)  # they are tuned already
    monkeypatch.setattr(run_training, "train_heads", None)
    seen, asked = [], run_training.transfer_rows

    def transfer_rows(*given, **told):
        seen.extend([(out / ".state" / "tuned.npz").read_bytes(), given])
        seen.append(sorted((out / ".state").glob("features/*.npz")))
        return asked(*given, **told)

    monkeypatch.setattr(run_module, "transfer_rows", transfer_rows)
    result = invoke("run", "--output", out, "--resume")
    assert result.exit_code == 0, result.output or result.exception
    assert seen[0] == tuned and len(seen[1]) == (5 if rate else 3) and seen[2] == features
    if rate:
        (encoder,) = seen[1][3]["text"]
        assert encoder.fingerprint in features[0].name
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found = results["finetuning"]
    assert found["part"] == "all" and found["kept"] == bool(rate)
    assert (found["tuned_loss"] < 0.7 * found["frozen_loss"]) == bool(rate)
    assert not rate or results["teacher"]["test"]["accuracy"] >= 0.8
    sentence = finetuning(results)
    for text in (result.output, (out / "model_card.md").read_text(encoding="utf-8")):
        assert sentence in " ".join(text.split())
    used = invoke("predict", out, "--text", "abcabc")
    assert used.exit_code == 0, used.output


@pytest.mark.parametrize("encoders", ["scratch", "both", "auto"])
def test_only_pretrained_encoders_can_be_trained_on(encoders):
    with pytest.raises(ValueError, match=f"teacher.finetune`: none unless.*encoders {encoders}"):
        make_config({"finetune": "top", "teacher.encoders": encoders})
    assert make_config({"finetune": "top"}).teacher.finetune == "top"


def test_pairs_and_studies_have_no_fine_tuning():
    with pytest.raises(ValueError, match="teacher.finetune`: none for retrieval"):
        make_config({"finetune": "all"}).for_task(TASKS["retrieval"])
    with pytest.raises(ValueError, match="settings.teacher.finetune`: none in a study"):
        make_study({"settings": {"teacher.finetune": "top"}})


def test_what_became_of_it_is_said_in_one_sentence():
    found = {"part": "top", "frozen_loss": 0.5, "tuned_loss": 0.25, "kept": True}
    assert finetuning({"finetuning": found}) == (
        "Training the last blocks of the teacher's encoders on with a head took the validation "
        "loss from 0.500 to 0.250, so the teacher reads the tuned encoders."
    )
    found |= {"part": "all", "tuned_loss": None, "kept": False}
    assert finetuning({"finetuning": found}) == (
        "Training the weights of the teacher's encoders on with a head would have taken the "
        "validation loss from 0.500 to no number, so they stay as they were."
    )
    assert finetuning({"finetuning": None}) == finetuning({}) == ""
