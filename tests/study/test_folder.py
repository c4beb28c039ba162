import numpy as np
import pytest
import yaml

from mmkd_tf.config import RunConfig
from mmkd_tf.study.folder import Outcome, UnitFolder

OUTCOME = Outcome(
    logits={
        "validation": np.array([[1, 2]], np.float32),
        "test": np.array([[0.5, -1]], np.float32),
    },
    labels={"validation": np.array([1], np.int32), "test": np.array([0], np.int32)},
    without={
        "validation": {"text": np.array([[3, 4]], np.float32)},
        "test": {"text": np.array([[5, 6]], np.float32)},
    },
    parameters=7,
    seconds=1.5,
)


def test_an_outcome_comes_back_as_it_was(tmp_path):
    folder = UnitFolder(tmp_path)
    assert folder.outcome("teacher") is None
    folder.save_outcome("teacher", OUTCOME)
    back = folder.outcome("teacher")
    for split in ("validation", "test"):
        np.testing.assert_array_equal(back.logits[split], OUTCOME.logits[split])
        np.testing.assert_array_equal(back.labels[split], OUTCOME.labels[split])
        assert list(back.without[split]) == ["text"]
        np.testing.assert_array_equal(back.without[split]["text"], OUTCOME.without[split]["text"])
    assert back.logits["test"].dtype == np.float32
    assert (type(back.parameters), type(back.seconds)) == (int, float)
    assert (back.parameters, back.seconds) == (7, 1.5)


def test_an_outcome_predicts_each_split_complete_or_not():
    for split in ("validation", "test"):
        predictions = OUTCOME.predictions(split)
        assert predictions.labels is OUTCOME.labels[split]
        assert predictions.logits is OUTCOME.logits[split]
        assert OUTCOME.predictions(split, without="text").logits is OUTCOME.without[split]["text"]


def test_a_teacher_is_taken_from_another_unit_if_it_is_there(tmp_path):
    folder, other = UnitFolder(tmp_path / "own"), UnitFolder(tmp_path / "other")
    folder.path.mkdir(), other.path.mkdir()
    assert not folder.take_teacher(folder.path)
    other.save_outcome("teacher", OUTCOME)
    assert not folder.take_teacher(other.path)  # the model itself is not there yet
    (other.path / "teacher.keras").write_bytes(b"model")
    assert folder.take_teacher(other.path)
    assert (folder.path / "teacher.keras").read_bytes() == b"model"
    assert folder.outcome("teacher").parameters == 7


def test_an_outcome_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = UnitFolder(tmp_path)

    def half(file, **arrays):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OSError, match="No space"):
        folder.save_outcome("teacher", OUTCOME)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_outcome_is_named(tmp_path):
    folder = UnitFolder(tmp_path)
    folder.save_outcome("teacher", OUTCOME)
    whole = (tmp_path / "teacher.npz").read_bytes()
    for part in (b"", whole[:200], whole[:400] + b"x" + whole[401:]):
        (tmp_path / "teacher.npz").write_bytes(part)
        with pytest.raises(ValueError, match="teacher.npz`: .*damaged.*Remove it"):
            folder.outcome("teacher")


def test_says_which_settings_differ(tmp_path):
    folder = UnitFolder(tmp_path / "emoji" / "seed-0")
    recipes = {"soft": RunConfig(temperature=5)}
    assert folder.differences(RunConfig(), recipes) == []
    folder.begin(RunConfig(), recipes)
    # A setting of the distilled student does not concern the others, nor a further recipe.
    more = {**recipes, "hard": RunConfig(temperature=1)}
    assert folder.differences(RunConfig(temperature=9), more) == []
    lines = folder.differences(RunConfig(epochs=3), {"soft": RunConfig(temperature=6)})
    assert [line.split(": ", 1)[1] for line in lines] == [
        "epochs was 32, is now 3",
        "temperature was 5.0, is now 6.0",
    ]
    with pytest.raises(ValueError, match="epochs was 32, is now 3"):
        folder.begin(RunConfig(epochs=3), recipes)


def test_a_setting_younger_than_the_folder_had_its_default(tmp_path):
    folder = UnitFolder(tmp_path)
    folder.begin(RunConfig(), {})
    file = tmp_path / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    del settings["weight_decay"]
    file.write_text(yaml.safe_dump(settings))
    assert folder.differences(RunConfig(), {}) == []
    assert len(folder.differences(RunConfig(weight_decay=0.5), {})) == 1


def test_where_a_table_lies_does_not_matter(tmp_path):
    folder = UnitFolder(tmp_path)
    folder.begin(RunConfig(data="/here/items.csv", test="/here/test.csv"), {})
    assert "/here" not in (tmp_path / "config.yaml").read_text()
    assert folder.differences(RunConfig(data="/there/items.csv", test="/there/test.csv"), {}) == []
    assert len(folder.differences(RunConfig(data="/there/other.csv", test=0.2), {})) == 2
