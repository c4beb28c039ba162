"""What the command line says at once, and in the words of its flags."""

import errno
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mmkd_tf.commands.errors import (
    ends_on_sigterm,
    for_command_line,
    is_full_disk,
    refused_path,
    stopped,
)
from mmkd_tf.commands.first_checks import check_data, check_resume, check_run_folders
from mmkd_tf.files.tables import TableError
from mmkd_tf.settings.names import layered

MODEL = Path(__file__).parents[1] / "saved_models/emoji/student_small.tflite"
WITHOUT_TENSORFLOW = """
import sys

sys.argv = ["mmkd-tf", *{arguments}]
from mmkd_tf.cli import app

try:
    app()
except SystemExit as end:
    code = end.code
slow = [name for name in ("tensorflow", "keras", "pandas") if name in sys.modules]
assert not slow, slow
sys.exit(code)
"""


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "items.csv"
    file.write_text("image,title,label\na.png,a cup,x\n")
    return file


def check(**given):
    check_data(layered({}, given))


@pytest.mark.parametrize(
    "given",
    [
        {"text": "title"},
        {"text": "none"},
        {"inputs": {"words": {"kind": "text", "column": "title"}}},
        {"text": "title", "task": "retrieval", "label": "nothing"},
        {"text": "title", "validation": "0.2"},
    ],
)
def test_what_is_there_passes(table, given):
    check(data=str(table), **given)


@pytest.mark.parametrize("name", ["emoji", "catalog", "mnist", "huggingface:glue/cola"])
def test_names_of_datasets_pass(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    check(data=name)


def test_all_that_is_missing_is_listed(table):
    with pytest.raises(TableError) as caught:
        check(data=str(table), validation="val.csv", unlabelled="more.csv", label="labels")
    text = str(caught.value)
    assert "`DATA`" in text and "no column 'text'" in text and "did you mean 'label'?" in text
    assert "`--validation`: val.csv: no such file" in text
    assert "`--unlabelled`: more.csv: no such file" in text


def test_cells_without_columns_are_asked_for(table):
    with pytest.raises(TableError) as caught:
        check(data=str(table), inputs={"cells": {"kind": "tabular"}})
    text = for_command_line(str(caught.value))
    assert "the input 'cells' of kind tabular names no `columns`" in text
    assert "Its columns are 'image', 'title', 'label'" in text
    assert text.endswith("--set inputs.cells.columns='[image, title]'.") and "--text" not in text
    check(data=str(table), inputs={"title": {"kind": "tabular"}})  # one column of its name


def test_a_table_of_another_kind_is_named(tmp_path):
    (tmp_path / "items.csv").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(TableError, match="a spreadsheet or zip file"):
        check(data=str(tmp_path / "items.csv"))


@pytest.fixture
def unfinished(table):
    """The folder of a run of a table that was interrupted."""
    folder = table.parent / "begun"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"data: {{source: '{table}', label: label, validation: 0.2}}\ninputs: {{image: {{kind: "
        "image}, title: {kind: text}}\ntraining: {epochs: 3}\n"
    )
    return folder


def test_a_run_that_can_go_on_passes(unfinished, table):
    check_resume(unfinished, {"data": str(table), "validation": "0.2", "epochs": 4})
    check_resume(unfinished, {})


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (None, {}, "`--resume`: needs --output"),
        ("bgun", {}, "`.*bgun`: .*no such folder. Did you mean '.*begun'"),
        (".", {}, "one without config.yaml and results.json"),
        ("begun", {"data": "other.csv", "label": "kind"}, "(?s)data.source: was .*data.label: was"),
    ],
)
def test_why_a_run_can_not_go_on(unfinished, name, given, said):
    folder = None if name is None else unfinished.parent / name
    with pytest.raises(ValueError, match=said):
        check_resume(folder, given)


def test_a_run_does_not_go_on_without_its_table(unfinished, table):
    table.unlink()
    with pytest.raises(TableError, match="(?s)items.csv: no such file.*put it back, then go on"):
        check_resume(unfinished, {})
    (unfinished / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="which is finished"):
        check_resume(unfinished, {})


def test_all_folders_that_are_no_runs_are_listed(unfinished):
    with pytest.raises(ValueError, match="(?s)`a`.*`b`"):
        check_run_folders(Path("a"), unfinished, Path("b"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--output", "none", "--resume"], "no such folder"),
        (["report", "none"], "no such folder"),
        (["export", "none", "--output", "new"], "no such folder"),
        (["evaluate", str(MODEL), "itms.csv"], "`TABLE`: itms.csv: no such file. Did you mean"),
    ],
)
def test_other_mistakes_are_said_before_tensorflow_is_there(table, arguments, said):
    code = WITHOUT_TENSORFLOW.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=table.parent, capture_output=True, text=True
    )
    assert done.returncode == 2 and said in done.stderr, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "itms.csv"],
        ["run", "items.csv"],
        ["study", "itms.csv", "--output", "study"],
        ["tune", "itms.csv", "--output", "tuning"],
        ["study", "items.csv", "--image", "picture", "--output", "study"],
        ["tune", "items.csv", "--label", "class", "--output", "tuning"],
    ],
)
def test_a_missing_table_or_column_is_said_before_tensorflow_is_there(table, arguments):
    code = WITHOUT_TENSORFLOW.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=table.parent, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "Error: `DATA`" in done.stderr and "(In Python" not in done.stderr


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`validation`: val.csv: no such file.", "`--validation`: val.csv: no such file."),
        ("`validation`, `test`: fractions", "`--validation`, `--test`: fractions"),
        ("- `training.epochs`: 1 or more.", "- `--epochs` (training.epochs): 1 or more."),
        ("several only with task='regression'.", "several only with --task regression."),
        ("`teacher.folds`: 2 or more.", "`teacher.folds`: 2 or more."),
    ],
)
def test_errors_speak_of_flags(message, expected):
    assert for_command_line(message) == expected


@pytest.mark.parametrize(
    ("number", "said", "code"),
    [(signal.SIGTERM, "Stopped by SIGTERM.", 143), (signal.SIGINT, "Interrupted.", 130)],
)
def test_a_signal_that_ends_a_command_is_said(number, said, code, usual_sigint):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught, ends_on_sigterm():
        signal.raise_signal(number)
    assert stopped(caught.value) == (said, code)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_path_that_the_system_refuses_comes_with_what_to_do(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    refused = [
        ((file / "x").mkdir, f"`{file}/x`: a path that can be used. Received: Not a directory. Ch"),
        (folder.mkdir, f"`{folder}`: a path that can be used. Received: File exists. Remove"),
        (partial(os.replace, file, folder), f"`{folder}`: a path .*: Is a directory. Move the fol"),
        (partial(open, tmp_path / ("x" * 300)), "name too long. Choose a shorter one"),
    ]
    for call, said in refused:
        with pytest.raises(OSError) as error:
            call()
        assert re.search(said, refused_path(error.value) or "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_quota_that_is_used_up_is_a_full_disk(number):
    full = number != errno.EROFS
    assert is_full_disk(OSError(number, os.strerror(number))) == full
    assert is_full_disk(RuntimeError(f"can't write: {os.strerror(number)}")) == full
