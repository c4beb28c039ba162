import shutil
from importlib.metadata import version

import pytest

from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.runs.folder import RunFolder, default_folder, versions


def test_begin_notes_the_settings_and_resume_reads_them(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.begin(make_config({"epochs": 3}))
    assert folder.resume({}) == make_config({"epochs": 3})
    assert folder.resume({"epochs": 3}) == make_config({"epochs": 3})
    with pytest.raises(ValueError, match="training.epochs: was 3, now 4"):
        folder.resume({"epochs": 4})


def test_refuses_a_folder_that_holds_something(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds 1 other files \(thesis.tex\)"):
        RunFolder(tmp_path).begin(RunConfig())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="the file"):
        RunFolder(tmp_path / "thesis.tex").begin(RunConfig())


def test_tells_a_finished_run_from_an_interrupted_one(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(RunConfig())
    with pytest.raises(ValueError, match="interrupted. Go on with --resume"):
        folder.begin(RunConfig())
    folder.write_text("results.json", "{}")
    with pytest.raises(ValueError, match="holds a finished run"):
        folder.begin(RunConfig())
    with pytest.raises(ValueError, match="which is finished"):
        folder.resume({})


def test_a_run_of_before_there_were_pretrained_encoders_has_none(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "config.yaml").write_text("{epochs: 3, relation_weight: 0.5}")
    config = folder.read_config()
    assert (config.teacher.encoders, config.student.inherit) == ("scratch", "none")
    assert (config.training.epochs, config.distillation.relation_weight) == (3, 0.5)
    (tmp_path / "config.yaml").write_text("{teacher: {fusion: gated}, student: {fusion: null}}")
    config = folder.resume({"teacher.encoders": "scratch"})
    assert (config.teacher.encoders, config.teacher.fusion) == ("scratch", "gated")
    with pytest.raises(ValueError, match="student.inherit: was 'none', now 'tiny'"):
        folder.resume({"student.inherit": "tiny"})


def test_what_a_run_noted_of_its_encoders_is_read(tmp_path):
    for number, settings in enumerate(
        (
            {},
            {"teacher.encoders": "scratch"},
            {"teacher.encoders": {"text": ["minilm"]}, "student.inherit": "tiny"},
        )
    ):
        folder = RunFolder(tmp_path / str(number))
        folder.begin(make_config(settings))
        assert folder.read_config() == make_config(settings)


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match="one without config.yaml"):
        RunFolder(tmp_path).resume({})


def test_refuses_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 2**20))
    with pytest.raises(ValueError, match="at least 100 MiB free.*with 1 MiB"):
        RunFolder(tmp_path).check_space(100 * 2**20)


def test_a_file_that_can_not_be_written_whole_leaves_the_old_one(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_text("labels.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        folder.write_text("labels.txt", "new \ud800")
    assert (tmp_path / "labels.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]


def test_versions_are_those_of_python_and_packages():
    assert list(versions()) == ["python", "mmkd-tf", "tensorflow", "keras", "numpy"]
    more = versions("Pillow")
    assert more == {**versions(), "Pillow": version("Pillow")}
    assert more["python"].startswith("3.")


def test_give_up_removes_only_what_a_run_made(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(RunConfig())
    folder.add_seconds("data", 1.5)
    folder.add_seconds("data", 1.0)
    assert folder.seconds() == {"data": 2.5}
    folder.give_up()
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    kept = RunFolder(tmp_path / "empty")
    kept.begin(RunConfig())
    kept.give_up()
    assert (tmp_path / "empty").is_dir() and not list((tmp_path / "empty").iterdir())
    folder.begin(RunConfig())
    folder.write_text("labels.txt", "")
    folder.give_up()
    assert (tmp_path / "run" / "config.yaml").is_file()


def test_finish_removes_what_a_kill_left(tmp_path):
    folder = RunFolder(tmp_path)
    folder.add_seconds("data", 1.0)
    (tmp_path / ".student_saved_model.17.tmp").mkdir()
    (tmp_path / ".labels.txt.unfinished").write_text("")
    folder.write_text("labels.txt", "a")
    folder.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]


def test_data_are_known_again(tmp_path):
    folder = RunFolder(tmp_path)
    folder.check_same_data("abc")
    folder.check_same_data("abc")
    with pytest.raises(ValueError, match="the data that the run began with"):
        folder.check_same_data("abd")


def test_default_folder_is_a_new_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(default_folder("items")) == "saved_models/items"
    (tmp_path / "saved_models" / "items").mkdir(parents=True)
    assert str(default_folder("items")) == "saved_models/items-2"
