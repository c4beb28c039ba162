"""The page that compares runs."""

import copy

from mmkd_tf.report.runs_page import runs_page


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


def test_runs_of_other_data_or_unfinished_ones_are_told_apart(fabricate_run):
    first = fabricate_run()
    unfinished = {"unfinished": True, "config": first["config"], "history": {}}
    page = runs_page({"a/run": first, "b/run": unfinished})
    assert "not of the same data" in page and "not finished" in page
    assert "a/run" in page and "b/run" in page  # one name alone would not tell them apart
    assert "None." in page  # no settings differ
