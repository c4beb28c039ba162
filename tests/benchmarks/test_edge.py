import sys

import edge
import keras
import numpy as np
import pytest
import typer
from edge import benchmark_edge
from edge_files import rounds as benchmark_rounds
from edge_files.ours import OURS, TEXT_BRANCH
from edge_files.peers import (
    KERAS_DYNAMIC,
    KERAS_STATIC,
    ONNX_KERAS,
    ONNX_LSTM,
    SAVED_MODEL,
)
from typer.testing import CliRunner

from mmkd_tf.export.quantization import LEVELS

CASES = ["5 words", "half", "full", "real lengths"]


@pytest.fixture(scope="module")
def measured(model, examples):
    """A run without ONNX's packages, because `test_peers.py` has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        patch.setitem(sys.modules, "tf2onnx", None)
        return benchmark_edge(model, examples=examples, num_rounds=2, num_calls=3)


@pytest.mark.slow
def test_ours_and_those_of_others_are_measured(measured):
    files = measured["files"]
    assert list(files)[0] == OURS
    assert set(files) == {*LEVELS, TEXT_BRANCH, KERAS_STATIC, SAVED_MODEL}
    for name, file in files.items():
        assert file["bytes"] > 1000 and file["operators"]
        assert 0 <= file["peak_memory_mib"] < 500
        assert list(file["latency_ms"]) == ["1", "2"]
        for latencies in file["latency_ms"].values():
            assert list(latencies) == CASES
            for latency in latencies.values():
                assert 0 < latency["median"] <= latency["p95"] < 10_000
        if name in (OURS, KERAS_STATIC, SAVED_MODEL):
            assert file["max_abs_logit_difference"] < 1e-4
    assert files[TEXT_BRANCH]["max_abs_logit_difference"] is None
    assert files[TEXT_BRANCH]["bytes"] < files[OURS]["bytes"]


@pytest.mark.slow
def test_says_what_was_not_measured_and_why(measured):
    assert measured["absent"][ONNX_LSTM].endswith("pip install onnx tf2onnx")
    assert measured["absent"][ONNX_KERAS].endswith("pip install onnx tf2onnx")
    assert "Flex" in measured["absent"][KERAS_DYNAMIC]
    assert "FlexTensorListReserve" in measured["absent"][KERAS_DYNAMIC]
    assert not set(measured["absent"]) & set(measured["files"])


@pytest.mark.slow
def test_ratios_compare_what_was_measured(measured):
    assert list(measured["ratios"]) == [
        f"{OURS} / {KERAS_STATIC}",
        f"{OURS} / {SAVED_MODEL}",
        f"{TEXT_BRANCH}: 5 words / full",
    ]
    for ratio in measured["ratios"].values():
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["greatest"]


@pytest.mark.slow
def test_says_what_it_measured_with(measured, model, examples):
    counts = (examples["text"] > 0).sum(axis=1)
    assert measured["texts"] == {
        "5 words": {"least": 5, "mean": 5.0, "greatest": 5},
        "half": {"least": 3, "mean": 3.0, "greatest": 3},
        "full": {"least": 6, "mean": 6.0, "greatest": 6},
        "real lengths": {"least": 0, "mean": counts.mean(), "greatest": 6},
    }
    assert (measured["num_rounds"], measured["num_calls"]) == (2, 3)
    assert measured["parameters"] == model.count_params() and not measured["made_examples"]


def test_a_model_of_pictures_alone_has_one_case(monkeypatch):
    monkeypatch.setattr(edge, "export_peers", lambda *_: ([], {}))
    monkeypatch.setattr(benchmark_rounds, "THREADS", (1,))
    image = keras.Input([8, 8, 3], dtype="uint8", name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model({"image": image}, keras.layers.Dense(3)(x))
    measured = benchmark_edge(model, num_rounds=1, num_calls=2)
    assert measured["texts"] == {} and measured["ratios"] == {} and measured["made_examples"]
    assert list(measured["files"][OURS]["latency_ms"]["1"]) == ["real lengths"]
    assert TEXT_BRANCH not in measured["files"] and TEXT_BRANCH not in measured["absent"]


def test_wrong_arguments_are_named(model, examples):
    with pytest.raises(ValueError, match=r"`num_rounds`, `num_calls`: 1 or more.*-1"):
        benchmark_edge(model, examples=examples, num_rounds=0, num_calls=-1)
    with pytest.raises(ValueError, match=r"`examples`: arrays for the inputs.*missing"):
        benchmark_edge(model, examples={"text": examples["text"]})
    with pytest.raises(TypeError, match="`model`: a Functional"):
        benchmark_edge("student.keras")
    with pytest.raises(ValueError, match="without symbolic inputs"):
        benchmark_edge(keras.Sequential([keras.layers.Dense(2)]))
    text = keras.Input([None], dtype="int32", name="text")
    x = keras.layers.LSTM(4)(keras.layers.Embedding(9, 4)(text))
    with pytest.raises(ValueError, match=r"`examples`: needed.*'text': \[None, None\]"):
        benchmark_edge(keras.Model({"text": text}, keras.layers.Dense(2)(x)))


def test_the_default_student_answers_differ_by_input():
    model = edge.random_student(seed=0)
    examples = edge.random_examples(model, seed=0, number=8)
    logits = np.asarray(model(examples))
    assert logits.shape == (8, 9) and logits.std(axis=0).min() > 0.01


def test_command_says_what_is_wrong():
    app = typer.Typer()
    app.command()(edge.main)
    done = CliRunner().invoke(app, ["--rounds", "0"])
    assert done.exit_code == 2 and "`num_rounds`: 1 or more" in done.output
