"""Saved models, exported files and files of settings say what they said."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from ai_edge_litert.interpreter import Interpreter
from golden_cases import FOLDER, KINDS, check_same, read_golden, read_settings, read_study

import mmkd_tf

MODELS, SETTINGS = FOLDER / "models", FOLDER / "settings"

# In a new process, where nothing is imported but what the README says: classes that are no longer
# registered are noticed. `mmkd_tf.models` registers neither tokens nor two towers, so that models
# with them need more; whoever mends that takes the second import out.
ANSWER = """
import sys
from pathlib import Path

import keras
import numpy as np

import mmkd_tf.models

folder, answers = Path(sys.argv[1]), {}
inputs = dict(np.load(folder / "inputs.npz"))
last = ("cross_attention", "retrieval")
for file in sorted(folder.glob("*.keras"), key=lambda file: file.stem in last):
    if file.stem in last:
        import mmkd_tf.run
    answers[file.stem] = keras.saving.load_model(file).predict(inputs, verbose=0)
np.savez(sys.argv[2], **answers)
"""


@pytest.mark.slow
def test_old_models_load_and_answer_as_they_did(tmp_path):
    command = [sys.executable, "-c", ANSWER, MODELS, tmp_path / "answers.npz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    now, was = np.load(tmp_path / "answers.npz"), np.load(MODELS / "outputs.npz")
    assert sorted(now) == sorted(was)
    for name in was:
        np.testing.assert_allclose(now[name], was[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports the old student again, by level: the file and what the export says of it."""
    folder = tmp_path_factory.mktemp("exports")
    words = (MODELS / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    made = {}
    for level in ("float32", "dynamic"):
        file = folder / f"{level}.tflite"
        export = mmkd_tf.export_tflite(
            keras.saving.load_model(MODELS / "concatenation.keras"),
            file,
            class_names=sorted(set(KINDS.values())),
            examples=dict(np.load(MODELS / "inputs.npz")),
            vocabulary=words,
            quantize=level,
        )
        made[level] = file, export
    return made


def answers(file) -> np.ndarray:
    """Runs a TFLite file on the golden inputs, one at a time."""
    interpreter = Interpreter(str(file), num_threads=1)
    run = interpreter.get_signature_runner("serving_default")
    inputs = np.load(MODELS / "inputs.npz")
    inputs = {name: inputs[name] for name in inputs}
    count = len(inputs["text"])
    rows = [run(**{k: v[i : i + 1] for k, v in inputs.items()}) for i in range(count)]
    assert set(rows[0]) == {"probabilities"}
    return np.concatenate([row["probabilities"] for row in rows])


def test_the_float32_file_answers_as_the_old_one(exported):
    # Both on this processor. The converter folds batch normalisation into kernels on the one where
    # it runs, and square roots of two makers differ in the last bit: so not to the bit.
    was, now = answers(MODELS / "concatenation.tflite"), answers(exported["float32"][0])
    assert len(np.unique(was.argmax(-1))) == 3
    np.testing.assert_allclose(now, was, rtol=1e-5, atol=1e-7)


def test_the_quantised_file_agrees_with_the_old_one(exported):
    file, export = exported["dynamic"]
    assert export.quantize == "dynamic" and export.top1_agreement >= 0.95
    assert export.bytes == file.stat().st_size < (MODELS / "concatenation.tflite").stat().st_size
    was, now = answers(MODELS / "concatenation.tflite"), answers(file)
    assert (was.argmax(-1) == now.argmax(-1)).mean() >= 0.98


@pytest.mark.parametrize("name", ["config-default", "config-changed", "config-short"])
def test_old_settings_mean_what_they_meant(name):
    meaning = read_golden("settings/meaning.json")[f"{name}.yaml"]
    check_same(meaning, read_settings(SETTINGS / f"{name}.yaml"))
    written = yaml.safe_load((SETTINGS / f"{name}.yaml").read_text(encoding="utf-8"))
    if name != "config-short":  # its `text: none` is a flag's way to say null
        check_same(meaning, written)


def test_defaults_are_what_they_were():
    check_same(read_golden("settings/meaning.json")["config-default.yaml"], read_settings(None))


def test_an_old_study_file_means_what_it_meant():
    meaning = read_golden("settings/meaning.json")["study.yaml"]
    check_same(meaning, read_study(SETTINGS / "study.yaml"))
