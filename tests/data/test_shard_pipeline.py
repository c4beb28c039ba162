"""Shards by Beam; what a shard holds is tested without it."""

import importlib.util
import json

import pytest
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.data import from_table, shard_plan, shard_writer
from mmkd_tf.data.shard_pipeline import NAMESPACE

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not HAS_BEAM, reason="apache-beam is not installed")


@pytest.fixture
def items(tmp_path):
    lines = ["text,label", *(f"thing {row},{'ab'[row % 2]}" for row in range(12)), "nothing,"]
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "items.csv"


def prepare(table, output, *more):
    given = [str(table), "--output", str(output), "--image", "none", "--rows-per-shard", "5"]
    return CliRunner().invoke(app, ["data", "prepare", *given, *more])


@needs_beam
def test_a_table_becomes_shards_that_models_read(items, tmp_path):
    said = prepare(items, tmp_path / "shards")
    assert said.exit_code == 0, said.output
    assert "12 rows in 3 shards, 1 bad rows left out" in said.output
    assert "1  label: missing" in said.output and "row 14: label: missing" in said.output
    assert sum(from_table(tmp_path / "shards", image=None).sizes.values()) == 12
    said = prepare(items, tmp_path / "shards", "--json")
    assert "0 of 3 shards are to be made" in said.stderr
    assert json.loads(said.stdout)["bad_rows"] == 1


@needs_beam
def test_a_pipeline_that_stops_says_how_to_go_on(items, tmp_path, monkeypatch):
    made = shard_writer.make_shard

    def stopping(job):
        if job.index == 1:
            raise OSError(28, "No space left on device")
        return made(job)

    monkeypatch.setattr(shard_writer, "make_shard", stopping)
    said = prepare(items, tmp_path / "shards")
    assert said.exit_code == 2 and "the disk is full" in said.stderr
    assert "of 3 shards are there. Go on with the same command" in said.stderr
    monkeypatch.setattr(shard_writer, "make_shard", made)
    assert prepare(items, tmp_path / "shards").exit_code == 0
    said = prepare(items, tmp_path / "shards", "--set", "data.label_separator=/")
    assert said.exit_code == 2 and "label_separator: | there, now /" in said.stderr


@needs_beam
def test_bad_rows_are_counters_of_the_pipeline(items, tmp_path):
    import apache_beam as beam

    from mmkd_tf.data.options import DatasetOptions, named_inputs
    from mmkd_tf.data.shard_pipeline import _counted

    options = DatasetOptions()
    inputs = named_inputs(None, image=None, text="text", options=options)
    how = shard_plan.shard_settings(items, inputs, "label", options)
    jobs = shard_plan.plan(items, tmp_path / "shards", how, rows_per_shard=5)
    pipeline = beam.Pipeline()
    pipeline | beam.Create(jobs) | beam.Map(lambda job: _counted(shard_writer.make_shard, job))
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counts = {one.key.metric.name: one.committed for one in found["counters"]}
    assert counts == {"rows": 12, "bad_rows": 1, "shards": 3, "left out: label: missing": 1}


def test_what_is_wrong_is_said_before_anything_is_made(items, tmp_path, monkeypatch):
    said = prepare(items, tmp_path / "shards", "--text", "caption")
    assert said.exit_code == 2 and "no column 'caption'" in said.stderr
    said = prepare(items, tmp_path / "shards", "--unlabelled", "--label", "label")
    assert said.exit_code == 2 and "nothing with --unlabelled" in said.stderr
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    said = prepare(items, tmp_path / "shards")
    assert said.exit_code == 2 and "pip install 'mmkd-tf[beam]'" in said.stderr
    assert not (tmp_path / "shards").exists()
