"""The report of a folder: of a finished run, of one that stopped half-way, and of no run."""

import pytest

from mmkd_tf.config import make_config
from mmkd_tf.report.history import History
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.report import read_run, report_again, report_runs


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


# What is put into files of a run's folder, and a piece of what is said.
EDITED = {
    "results are a list": ({"results.json": b"[]"}, "results.json`: the results"),
    "results without end": (
        {"results.json": b"[" * 100_000},
        "results.json`: the results",
    ),
    "a student of words": ({"results.json": b'{"student": "x"}'}, "results.json`: as the run"),
    "no models": ({"results.json": b'{"student": {"test": {}}}'}, "results.json`: as the run"),
    "no exports": ({"results.json": b'{"exports": 5}'}, "results.json`: as the run"),
    "examples cut off": ({"examples.json": b'[{"a'}, "examples.json`: as the run"),
}


@pytest.mark.parametrize("case", EDITED)
def test_files_that_were_edited_are_said(stopped, case):
    files, said = EDITED[case]
    for name, content in files.items():
        (stopped / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s){said}.*Received.*config.yaml"):
        report_again(stopped)
    assert not (stopped / "report.html").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 cut off"])
def test_outputs_that_are_damaged_are_said(stopped, tmp_path, content):
    (stopped / "results.json").write_text('{"student": {}}')
    (stopped / "test_outputs.npz").write_bytes(content)
    with pytest.raises(ValueError, match="test_outputs.npz`.*: as the run has written them"):
        report_runs([stopped, stopped], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_runs_are_compared_in_a_page(tmp_path, stopped):
    page = report_runs([stopped, stopped], tmp_path / "new" / "page.html")
    assert "not finished" in page.read_text(encoding="utf-8")
