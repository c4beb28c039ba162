"""A run's teacher answers rows of shards, and students look its answers up."""

import importlib.util
import io
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.backbones.encoder import TextEncoder
from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.data.shard_plan import plan, shard_settings
from mmkd_tf.data.shard_writer import finish, make_shard
from mmkd_tf.distill import transfer
from mmkd_tf.distill.shard_answers import answers_folder, are_answered, find_answers
from mmkd_tf.distill.transfer import ask, unlabelled_rows
from mmkd_tf.files.shards import Shards, shard_files
from mmkd_tf.runs import labelling
from mmkd_tf.runs.data import dataset_options, load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.roles import untrained_teacher
from mmkd_tf.runs.training import transfer_rows

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not HAS_BEAM, reason="apache-beam is not installed")
TEXT, LETTERS = {"kind": "text", "length": 4}, {"text": ["letters"]}
FACTS = {"kind": "tabular", "columns": ["price", "maker"]}
PICTURE = {"kind": "image", "size": 16, "student": {"size": 8}}
# By what the teacher reads: tensors alone, features in heads, and features beside tensors.
TEACHERS = {
    "tensors": {"inputs": {"text": TEXT, "facts": FACTS}, "teacher.encoders": "scratch"},
    "heads": {
        "inputs": {"text": TEXT, "facts": FACTS},
        "teacher.encoders": LETTERS,
        "teacher.folds": 2,
    },
    "both": {"inputs": {"text": TEXT, "image": PICTURE}, "teacher.encoders": LETTERS},
}


def write_rows(path, first, number):
    """Texts, of which some are empty, pictures, numbers that some rows lack, categories, labels."""
    rng = np.random.default_rng(first)
    rows = range(first, first + number)
    files = []
    for _ in rows:
        files.append(io.BytesIO())
        Image.fromarray(rng.integers(0, 256, [16, 16, 3], np.uint8)).save(files[-1], "PNG")
    words = ["".join(rng.choice([*"abcdefghij"], 6)) for _ in rows]
    frame = pd.DataFrame(
        {
            "text": ["" if row % 7 == 0 else f"a {words[row - first]} cup" for row in rows],
            "image": [file.getvalue() for file in files],
            "price": [None if row % 5 == 0 else row / 3 for row in rows],
            "maker": ["xyz"[row % 3] for row in rows],
            "label": ["ab"[row % 2] for row in rows],
        }
    )
    frame.to_parquet(path, index=False)
    return path


def begun(folder, settings):
    """A run as it is once it has a teacher, whose weights are left as they were at first."""
    given = {"data.source": str(folder / "items.parquet"), "student.inherit": "none", **settings}
    if not (folder / "items.parquet").exists():
        write_rows(folder / "items.parquet", 0, 24)
    config = make_config(given)
    teacher = untrained_teacher(config, load_dataset(config))
    run = RunFolder(folder / "run")
    run.begin(config)
    run.save_model("teacher", teacher)
    run.release()
    return config, teacher


def planned(config, folder, table="more.parquet", label=None):
    how = shard_settings(folder / table, config.inputs, label, dataset_options(config))
    return plan(folder / table, folder / "shards", how, rows_per_shard=6)


def made(jobs):
    for job in jobs:
        make_shard(job)
    finish(jobs)
    return jobs[0].output


def shards_of(config, folder):
    """12 rows without labels, and four that repeat rows of the table, some of them held out."""
    write_rows(folder / "more.parquet", 100, 12)
    both = [pd.read_parquet(folder / name) for name in ("items.parquet", "more.parquet")]
    pd.concat(both).iloc[20:].to_parquet(folder / "more.parquet", index=False)
    return made(planned(config, folder))


def learning_from(config, shards):
    data = config.data.model_copy(update={"unlabelled": str(shards)})
    return config.model_copy(update={"data": data})


def answered(run, shards):
    asked = labelling.teacher_of(run, shards)
    wanted = labelling.unanswered(shards, asked)
    return asked, [labelling.answer_shard(shards, asked, entry) for entry in wanted]


@pytest.fixture
def letters(register_letters):
    register_letters("glorot_uniform", ["a", "cup"])


@pytest.mark.parametrize("kind", TEACHERS)
def test_answers_that_were_kept_are_those_that_asking_gives(kind, tmp_path, letters, monkeypatch):
    config, teacher = begun(tmp_path, TEACHERS[kind])
    shards = shards_of(config, tmp_path)
    config, notes = learning_from(config, shards), []
    dataset = load_dataset(config)
    by_asking = transfer_rows(teacher, dataset, config, say=notes.append)
    assert notes == [] and 12 <= len(by_asking) <= 16
    _, counts = answered(tmp_path / "run", shards)
    assert sum(one["rows answered"] for one in counts) == 16
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "ask", None)
        patch.setattr(TextEncoder, "features", None)  # those of labelled rows are kept
        assert load_dataset(config).fingerprint() == dataset.fingerprint()
        looked_up = transfer_rows(teacher, dataset, config, say=notes.append)
    assert len(notes) == 1 and notes[0].startswith("16 answers of this teacher are read from")
    np.testing.assert_allclose(looked_up.logits, by_asking.logits, rtol=0, atol=1e-5)
    for name, values in by_asking.values.items():
        np.testing.assert_array_equal(looked_up.values[name], values)
    assert np.ptp(by_asking.logits, axis=0).min() > 1e-3  # rows differ

    teacher.weights[-1].assign(teacher.weights[-1] + 1)
    again = transfer_rows(teacher, dataset, config, say=notes.append)
    assert "answers of another teacher, or to other rows, are not used" in notes[1]
    assert np.abs(again.logits - by_asking.logits).max() > 1e-3


def test_what_is_missing_is_answered_and_nothing_else(tmp_path, monkeypatch):
    config, teacher = begun(tmp_path, TEACHERS["tensors"])
    shards = shards_of(config, tmp_path)
    asked, counts = answered(tmp_path / "run" / "teacher.keras", shards)
    assert counts == [{"rows answered": n, "shards reused": 0} for n in (5, 5, 6)]
    first, second, third = shard_files(folder := answers_folder(shards, asked.key))
    whole, note = find_answers(shards, asked.key)
    assert whole.shape == (16, 2) and whole.dtype == np.float32
    before = second.stat().st_mtime_ns
    first.unlink()
    third.write_bytes(third.read_bytes()[:-10])
    found, note = find_answers(shards, asked.key)
    assert found is None and "1 of 3 shards are answered by this teacher" in note

    def stopped(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(labelling, "ask", stopped)
        with pytest.raises(OSError, match="No space left"):
            answered(tmp_path / "run", shards)
    assert sorted(folder.iterdir()) == [second, third]
    assert len(answered(tmp_path / "run", shards)[1]) == 2
    assert second.stat().st_mtime_ns == before
    np.testing.assert_array_equal(find_answers(shards, asked.key)[0], whole)
    (entry, *_) = Shards.open(shards).manifest["shards"]
    reused = {"rows answered": 0, "shards reused": 1}
    assert labelling.answer_shard(shards, asked, entry) == reused
    # A shard of other rows under the same name has no answers.
    other = {**entry, "sha256": "0" * 64}
    assert are_answered(shards, entry, asked.key) and not are_answered(shards, other, asked.key)
    content = bytearray(first.read_bytes())
    content[60] ^= 255
    first.write_bytes(content)
    found, note = find_answers(shards, asked.key)
    assert found is None and "a damaged shard" in note and "data label` again" in note
    # The folder stays one of shards, which `data prepare` goes on with.
    assert len(planned(config, tmp_path)) == 3


def test_of_rows_from_elsewhere_alone_the_teacher_is_asked(tmp_path, monkeypatch):
    write_rows(tmp_path / "table.parquet", 0, 30)
    frame = pd.read_parquet(tmp_path / "table.parquet")
    frame.loc[[3, 8, 9, 22], "label"] = None
    frame.to_parquet(tmp_path / "table.parquet", index=False)
    settings = TEACHERS["tensors"] | {"data.unlabelled_rows": True, "data.source": "shards"}
    shards = made(planned(make_config(settings), tmp_path, "table.parquet", "label"))
    config, teacher = begun(tmp_path, settings | {"data.source": str(shards)})
    answered(tmp_path / "run", shards)
    (tmp_path / "more.txt").write_text("a new cup\nanother lamp\na third one\n")
    config, notes, asked = learning_from(config, tmp_path / "more.txt"), [], []
    dataset = load_dataset(config)
    monkeypatch.setattr(transfer, "ask", lambda *given: asked.append(given) or ask(*given))
    rows = transfer_rows(teacher, dataset, config, say=notes.append)
    ((_, given),) = asked
    assert rows.sources == {"unlabelled": 3, "unlabelled_rows": 4} and len(given["text"]) == 3
    by_asking = unlabelled_rows(teacher, dataset)
    np.testing.assert_allclose(rows.logits, by_asking.logits, rtol=0, atol=1e-5)
    assert len(notes) == 1 and notes[0].startswith("30 answers of this teacher")


def invoke(*arguments):
    return CliRunner().invoke(app, ["data", "label", *map(str, arguments)])


@needs_beam
def test_shards_are_labelled_by_a_pipeline(tmp_path):
    config, teacher = begun(tmp_path, TEACHERS["tensors"])
    shards = shards_of(config, tmp_path)
    said = invoke(shards, "--teacher", tmp_path / "run")
    assert said.exit_code == 0, said.output
    assert "3 of 3 shards are to be answered" in said.stderr
    assert "16 rows answered, 0 shards reused" in said.stdout
    asked = labelling.teacher_of(tmp_path / "run", shards)
    whole, _ = find_answers(shards, asked.key)
    next(answers_folder(shards, asked.key).iterdir()).unlink()
    said = invoke(shards, "--teacher", tmp_path / "run")
    assert said.exit_code == 0 and "2 shards reused" in said.stdout
    np.testing.assert_allclose(find_answers(shards, asked.key)[0], whole, rtol=0, atol=1e-5)


@needs_beam
def test_what_was_answered_is_counted(tmp_path):
    import apache_beam as beam

    from mmkd_tf.data.shard_pipeline import NAMESPACE, _counted

    config, _ = begun(tmp_path, TEACHERS["tensors"])
    shards = shards_of(config, tmp_path)
    asked = labelling.teacher_of(tmp_path / "run", shards)
    first, *others = labelling.unanswered(shards, asked)
    labelling.answer_shard(shards, asked, first)
    make = partial(labelling.answer_shard, shards, asked)
    pipeline = beam.Pipeline()
    pipeline | beam.Create([first, *others]) | beam.Map(partial(_counted, make))
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counts = {one.key.metric.name: one.committed for one in found["counters"]}
    assert counts == {"rows answered": 11, "shards reused": 1, "shards": 3}


def test_what_does_not_fit_is_refused(tmp_path, letters, monkeypatch):
    config, teacher = begun(tmp_path, TEACHERS["tensors"])
    shards, run = shards_of(config, tmp_path), tmp_path / "run"
    with pytest.raises(ValueError, match="`--teacher`: the folder of a run, or teacher.keras"):
        labelling.teacher_of(tmp_path / "walk", shards)
    elsewhere = {"text": {**TEXT, "column": "title"}, "facts": {**FACTS, "columns": ["weight"]}}
    for settings, expected in (
        ({"inputs": elsewhere}, "one of the columns that the teacher reads, title, weight. Rec"),
        ({"teacher.encoders": LETTERS, "teacher.finetune": "top"}, "encoders that were trained on"),
        ({"data.task": "retrieval"}, "the task retrieval, whose students"),
    ):
        other = make_config({**TEACHERS["tensors"], **settings})
        with monkeypatch.context() as patch:
            patch.setattr(labelling, "_loaded", lambda _, other=other: (teacher, other, {}))
            with pytest.raises(ValueError, match=expected):
                labelling.teacher_of(run, shards)
    # Another teacher in the folder than the command began with.
    asked = labelling.teacher_of(run, shards)
    (entry, *_) = labelling.unanswered(shards, asked)
    with pytest.raises(ValueError, match="the same on all workers"):
        labelling.answer_shard(shards, replace(asked, key={**asked.key, "form": 0}), entry)
    (run / "teacher.keras").unlink()
    labelling._loaded.cache_clear()
    with pytest.raises(ValueError, match=r"with a teacher.keras. Received: .* without. A released"):
        labelling.teacher_of(run, shards)
