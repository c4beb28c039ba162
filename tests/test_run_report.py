"""The report of a folder: of a finished run, of one that stopped half-way, and of no run."""

import pytest

from mmkd_tf.config import make_config
from mmkd_tf.report.history import History
from mmkd_tf.run_folder import RunFolder
from mmkd_tf.run_report import read_run, report_again, report_runs


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that stopped in its student's training."""
    folder = RunFolder(tmp_path / "stopped")
    folder.begin(make_config({"epochs": 3}))
    folder.add_seconds("teacher", 2.0)
    History(folder.path).add("teacher", 1, {"loss": 1.0, "val_loss": 0.5, "val_accuracy": 0.75})
    return folder.path


def test_a_run_that_stopped_has_a_page_of_what_there_is(stopped):
    page = report_again(stopped).read_text(encoding="utf-8")
    assert "no verdict yet" in page and "Accuracy on validation" in page and "together" in page


def test_the_folder_says_what_is_wrong_with_it(tmp_path, stopped):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results.json`: the results of a run, as JSON. Received"):
        read_run(tmp_path / "damaged")
    both = [tmp_path / "damaged", tmp_path / "absent", stopped]
    with pytest.raises(ValueError, match="(?s)damaged file.*absent`: the folder of a run. Receiv"):
        report_runs(both, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_runs_are_compared_in_a_page(tmp_path, stopped):
    page = report_runs([stopped, stopped], tmp_path / "new" / "page.html")
    assert "not finished" in page.read_text(encoding="utf-8")
