"""Tables of many classes: small, and the same when they are read again."""

import json

import numpy as np
import pytest

from mmkd_tf.report.class_tables import with_class_tables, without_class_tables
from mmkd_tf.report.run_tables import mistakes, outputs
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.report import read_run, write_results
from mmkd_tf.tasks import find_task


def results_of(number):
    """What a run of so many classes measures, as far as the tables by class go."""
    names = [f"class {index}" for index in range(number)]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, number, 300)
    measured = find_task("single_label").measure(
        labels=labels, outputs=rng.normal(size=[300, number]), names=names
    )
    models = ("teacher", "student_alone", "student")
    return {
        "task": "single_label",
        "dataset": {"class_names": names},
        **{name: {"parameters": 5, "validation": measured, "test": measured} for name in models},
        "config": {},
    }


def test_many_classes_have_a_small_file_and_read_the_same(tmp_path):
    results, folder = results_of(300), RunFolder(tmp_path)
    slim = write_results(folder, results)
    assert slim["class_tables"] == "class_tables.json"
    assert "confusion_matrix" not in slim["student"]["test"]
    assert "per_class" not in slim["student"]["test"]
    assert slim["student"]["test"]["accuracy"] == results["student"]["test"]["accuracy"]
    written = [tmp_path / name for name in ("results.json", "class_tables.json")]
    assert sum(file.stat().st_size for file in written) < 300_000
    assert json.loads(written[0].read_text()) == slim
    read = read_run(tmp_path)
    assert {key: read[key] for key in results} == json.loads(json.dumps(results))
    assert mistakes(read).rows == mistakes(results).rows
    assert outputs(read).rows == outputs(results).rows


def test_few_classes_stay_where_they_were(tmp_path):
    results = results_of(3)
    assert without_class_tables(results) == (results, {})
    assert write_results(RunFolder(tmp_path), results) == results
    assert not (tmp_path / "class_tables.json").exists()


@pytest.mark.parametrize(
    "content", ["{", '{"student": 3}', '{"student": {"test": {"x": 1}}}', "[]"]
)
def test_a_damaged_file_is_named(tmp_path, content):
    write_results(RunFolder(tmp_path), results_of(120))
    (tmp_path / "class_tables.json").write_text(content)
    with pytest.raises(ValueError, match="class_tables.json`: the results of a run, as JSON"):
        read_run(tmp_path)


def test_what_is_left_out_stays_so_without_the_file(tmp_path):
    slim, tables = without_class_tables(results_of(120))
    assert with_class_tables(slim, tables)["student"]["test"]["per_class"][0]["name"] == "class 0"
    write_results(RunFolder(tmp_path), results_of(120))
    (tmp_path / "class_tables.json").unlink()
    assert "per_class" not in read_run(tmp_path)["student"]["test"]
