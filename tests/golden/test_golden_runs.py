"""Runs, studies and histories give what they gave, and go on from folders of earlier code."""

import json
import shutil

import pytest
from golden_cases import (
    FOLDER,
    SCRATCH,
    YOUNGER,
    check_same,
    differences,
    distillation_history,
    frozen,
    frozen_results,
    inside,
    invoke,
    read_golden,
    run_task,
)


@pytest.mark.slow
def test_a_run_gives_the_results_that_it_gave(tmp_path):
    """Those of the other tasks stand where more is asked of the same runs."""
    check_same(read_golden("results-single_label.json"), run_task("single_label", tmp_path))


def test_a_distillation_has_the_history_that_it_had():
    check_same(read_golden("history.json"), distillation_history())


@pytest.mark.slow
def test_an_old_run_goes_on_to_what_it_would_have_given(tmp_path):
    folder = shutil.copytree(FOLDER / "run", tmp_path / "run")
    teacher = (folder / "out" / "teacher.keras").read_bytes()
    with inside(folder):
        invoke("run", "--output", "out", "--resume")
    check_same(read_golden("results-resumed.json"), frozen_results(folder / "out"))
    assert (folder / "out" / "teacher.keras").read_bytes() == teacher  # not trained again


@pytest.mark.slow
def test_an_old_study_goes_on_with_another_seed(tmp_path):
    folder = shutil.copytree(FOLDER / "study", tmp_path / "study")
    old = folder / "out" / "items" / "seed-0"
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in old.iterdir()}
    with inside(folder):
        command = ["--config", "study.yaml", "--output", "out", "--jobs", 1, "--seeds", 2]
        scratch = [f"{name}={value}" for name, value in SCRATCH.items()]
        invoke("study", *command, "--set", scratch[0], "--set", scratch[1])
    after = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in old.iterdir()}
    assert after == before
    assert {"teacher.npz", "student_alone.npz", "recipe-default.npz"} <= {
        file.name for file in (folder / "out" / "items" / "seed-1").iterdir()
    }
    found = json.loads((folder / "out" / "study.json").read_text(encoding="utf-8"))
    assert found["seeds"] == 2
    check_same(_of_one_seed(read_golden("study.json")), _of_one_seed(frozen(found)))


def _of_one_seed(study: dict) -> dict:
    """What a study says that further seeds do not change."""
    items = study["datasets"]["items"]
    split = items["splits"]["validation"]
    return {
        "recipes": {
            name: {key: each for key, each in recipe.items() if key not in YOUNGER}
            for name, recipe in study["recipes"].items()
        },
        "config": _known_then(items["config"]),
        "parameters": {name: model["parameters"] for name, model in items["models"].items()},
        "examples": split["examples"],
        "first seed": {
            model: {name: values[0] for name, values in scores.items() if isinstance(values, list)}
            for model, scores in split["models"].items()
        },
        "keys": {
            "study": sorted(study),
            "items": sorted(items),
            "models": {name: sorted(scores) for name, scores in split["models"].items()},
            "comparisons": {name: sorted(each) for name, each in split["comparisons"].items()},
        },
    }


def _known_then(config: dict) -> dict:
    """Settings of a study without those that are younger than the golden values."""
    younger = {*SCRATCH, "teacher.folds", "teacher.finetune", "student.compare_scratch"}
    younger |= {f"{group}.{name}" for group in ("data", "training", "export") for name in YOUNGER}
    config = {group: values for group, values in config.items() if group not in YOUNGER}
    options = ("columns", "encoder", "mirror", "pool")  # of inputs
    config["inputs"] = {
        name: {key: each for key, each in of.items() if key not in options}
        for name, of in config["inputs"].items()
    }
    return {
        group: {key: each for key, each in values.items() if f"{group}.{key}" not in younger}
        if isinstance(values, dict)
        else values
        for group, values in config.items()
    }


def test_differences_are_all_listed():
    was = {"a": [1.0, {"b": True}], "c": None, "bytes": 1000}
    assert differences(was, {"a": [1.0 + 1e-6, {"b": True}], "c": None, "bytes": 1001}) == []
    found = differences(was, {"a": [1.1, {"b": 1}], "d": 0, "bytes": 2000})
    assert found == [
        ".c: was None, is gone",
        ".d: is new, 0",
        ".a[0]: was 1.0, now 1.1",
        ".a[1].b: was True, now 1",
        ".bytes: was 1000, now 2000",
    ]
    quantised = {"quantize": "dynamic", "accuracy": 0.9, "bytes": 1000}
    assert differences(quantised, quantised | {"accuracy": 0.8}) == []
    assert differences(quantised | {"quantize": "float32"}, quantised | {"accuracy": 0.8}) == [
        ".quantize: was 'float32', now 'dynamic'",
        ".accuracy: was 0.9, now 0.8",
    ]
