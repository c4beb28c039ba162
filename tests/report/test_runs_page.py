"""The page that compares runs."""

import copy
import json

import numpy as np

from mmkd_tf.report.runs_page import runs_page
from mmkd_tf.runs.report import report_runs


def test_runs_stand_beside_each_other(fabricate_run):
    first = fabricate_run()
    second = copy.deepcopy(first)
    second["config"]["training"]["epochs"] = 9
    page = runs_page({"a/one": first, "b/<two>": second})
    assert "2 runs compared" in page and page.count("<dd class=") == 2
    assert "training.epochs" in page and '<th scope="col">&lt;two&gt;</th>' in page
    assert "training.batch_size" not in page  # which is the same
    assert "not of the same data" not in page
    assert page.count("student_small.tflite") == 2


def test_students_of_the_same_examples_are_compared_in_pairs(fabricate_run):
    runs = {"a/one": fabricate_run(), "b/two": fabricate_run()}
    paired = {"b/two": {"difference": 0.021, "interval": (-0.004, 0.046)}}
    page = runs_page(runs, paired)
    assert "on the same test examples" in page
    assert "+2.1 points" in page and "-0.4 to +4.6" in page
    assert "on the same test examples" not in runs_page(runs)


def test_runs_of_other_data_or_unfinished_ones_are_told_apart(fabricate_run):
    first = fabricate_run()
    unfinished = {"unfinished": True, "config": first["config"], "history": {}}
    page = runs_page({"a/run": first, "b/run": unfinished})
    assert "not of the same data" in page and "not finished" in page
    assert "a/run" in page and "b/run" in page  # one name alone would not tell them apart
    assert "None." in page  # no settings differ


def test_students_of_one_test_split_are_paired(tmp_path, fabricate_run):
    labels = np.tile([0, 1], 50)
    for name, wrong in (("first", 20), ("better", 10)):
        results = fabricate_run()
        results["dataset"]["class_names"] = ["cup", "lamp"]
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
        outputs = np.eye(2)[np.where(np.arange(100) < wrong, 1 - labels, labels)]
        np.savez(tmp_path / name / "test_outputs.npz", labels=labels, student=outputs)
    page = report_runs([tmp_path / "first", tmp_path / "better"], tmp_path / "page.html")
    assert "+10.0 points" in page.read_text(encoding="utf-8")
