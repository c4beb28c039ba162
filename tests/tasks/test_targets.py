import numpy as np
import pandas as pd
import pytest

from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.rows import DataError
from mmkd_tf.data.table import from_table
from mmkd_tf.tasks import choose_task, find_task


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["red", "blue"], "single_label"),
        ([1, 2.5], "single_label"),  # numbers are never targets unasked
        (["red", "red|blue"], "multi_label"),
        (["red", ["red"]], "multi_label"),
        ([np.array(["red"], object)], "multi_label"),  # as Parquet files have lists
        (["|", "|x", "x | x"], "single_label"),  # no cell holds two labels
    ],
)
def test_the_cells_decide(cells, task):
    found, notes = choose_task(cells)
    assert found is find_task(task)
    assert bool(notes) == (task == "multi_label")
    assert choose_task(cells, name="regression") == (find_task("regression"), [])


def test_a_separator_that_no_cell_has():
    assert choose_task(["a b"], separator=" ")[0].name == "multi_label"
    with pytest.raises(ValueError, match="label_separator=';', which no label cell has"):
        choose_task(["a|b"], separator=";")
    with pytest.raises(ValueError, match="what stands between labels"):
        DatasetOptions(label_separator="")


def read_labels(cells, *, task, separator="|", names=("label",)):
    return find_task(task).read_labels(cells, separator=separator, names=names)


def test_label_sets():
    cells = [" red | blue|red ", "|", [], ("a|b", "c"), "", None, ["a", None], "a\nb|c"]
    labels, problems = read_labels([(cell,) for cell in cells], task="multi_label")
    # A separator alone says that there is none; the labels of a list may hold one.
    assert labels == [("red", "blue"), (), (), ("a|b", "c"), "", "", "", ""]
    assert problems[4] == "label: missing; write '|' for none of the labels"
    assert problems[5] == problems[4]
    assert "one of the list is missing" in problems[6]
    assert "line break" in problems[7]


def test_spaces_about_a_separator_do_not_count():
    cells = ["red, summer", "red,summer", ", ", ","]
    labels, problems = read_labels([(c,) for c in cells], task="multi_label", separator=", ")
    assert labels == [("red", "summer")] * 2 + [()] * 2 and not problems


def test_numbers():
    cells = [
        ("1.5", 2),
        ("-1e3", np.float32(0.5)),
        ("3,5", "x"),
        (None, 1),
        ("1e39", 1),
        ("nan", 1),
    ]
    labels, problems = read_labels(cells, task="regression", names=["price", "weight"])
    assert labels == [(1.5, 2.0), (-1000.0, 0.5), "", "", "", ""]
    assert problems[2].startswith("price '3,5': not a number; write it with a decimal point")
    assert problems[3] == problems[5] == "price: missing"
    assert "too large for float32" in problems[4]


def test_a_list_is_no_class():
    labels, problems = read_labels([(["a"],), ("b",)], task="single_label")
    assert labels == ["", "b"] and "task='multi_label'" in problems[0]


def test_arrays():
    sets = find_task("multi_label").label_array([("b",), (), ("a", "b")], ["a", "b"])
    np.testing.assert_array_equal(sets, np.array([[0, 1], [0, 0], [1, 1]], np.float32))
    numbers = find_task("regression").label_array([(1.5,), (2,)], ["price"])
    np.testing.assert_array_equal(numbers, np.array([[1.5], [2]], np.float32))
    classes = find_task("single_label").label_array(["b", "a"], ["a", "b"])
    np.testing.assert_array_equal(classes, np.array([1, 0], np.int32))
    assert (sets.dtype, numbers.dtype, classes.dtype) == (np.float32, np.float32, np.int32)


def test_names_of_targets():
    columns = find_task("regression").label_columns
    assert columns("price, weight") == ["price", "weight"]
    assert columns(["a,b"]) == ["a,b"]
    for wrong in ("price,price", "price,,weight", ["price", "price"], []):
        with pytest.raises(ValueError, match="names of columns, each once"):
            columns(wrong)
    for name in ("single_label", "multi_label"):
        columns = find_task(name).label_columns
        assert columns("price, weight") == ["price, weight"]
        for wrong in (["price", "weight"], "", []):
            with pytest.raises(ValueError, match="several only with task='regression'"):
                columns(wrong)
    assert find_task("retrieval").label_columns("anything") == []


def tagged(count=60):
    rng = np.random.default_rng(0)
    tags = ["|".join(t for t in ("x", "y", "z") if rng.random() < 0.5) or "|" for _ in range(count)]
    return pd.DataFrame({"text": [f"thing {n}" for n in range(count)], "label": tags})


def test_a_dataset_of_several_labels():
    dataset = from_table(tagged(), image=None)
    assert dataset.task.name == "multi_label" and dataset.class_names == ["x", "y", "z"]
    total = sum(part.labels.sum(axis=0) for part in dataset.splits.values())
    expected = [tagged().label.str.contains(name).sum() for name in "xyz"]
    np.testing.assert_array_equal(total, expected)
    assert [sum(dataset.class_counts[s][n] for s in dataset.sizes) for n in "xyz"] == expected
    assert "3 labels" in repr(dataset) and "task=single_label" in dataset.notes[0]
    lists = tagged().assign(label=[cell.strip("|").split("|") for cell in tagged().label])
    lists["label"] = [[name for name in names if name] for names in lists.label]
    same = from_table(lists, image=None)
    assert same.fingerprint() == dataset.fingerprint()
    one_each = from_table(tagged(), image=None, options=DatasetOptions(task="single_label"))
    assert "x|y" in one_each.class_names and one_each.fingerprint() != dataset.fingerprint()


def test_a_dataset_of_numbers():
    frame = tagged().assign(price=np.arange(60) * 0.5, weight=1000.0 + np.arange(60) % 7)
    options = DatasetOptions(task="regression")
    dataset = from_table(frame, image=None, label="price,weight", options=options)
    assert dataset.task.name == "regression" and dataset.class_names == ["price", "weight"]
    train = dataset.splits["train"].labels
    mean, deviation = dataset.target_statistics
    np.testing.assert_allclose(mean, train.astype(float).mean(axis=0))
    np.testing.assert_allclose(deviation, train.astype(float).std(axis=0))
    assert "price: mean" in repr(dataset) and dataset.class_counts["train"] == {}
    assert from_table(tagged(), image=None).target_statistics is None


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"label": ["a"] * 60}, {"task": "multi_label"}, "each row has exactly one label"),
        ({"label": ["a|b"] * 60}, {}, "all rows have the same labels"),
        ({"label": ["|"] * 60}, {"task": "multi_label"}, "no labels"),
        (
            {"label": [f"a{n}|b{n}" for n in range(60)]},
            {},
            "120 different labels in 60 rows, such as 'a0': too many",
        ),
        ({"label": ["2.5"] * 60}, {"task": "regression"}, "label is 2.5 in all rows or nearly so"),
        ({"label": ["x"] * 60}, {"task": "regression"}, "no numbers to learn"),
        (
            {"label": [f"{n}.5" for n in range(60)]},
            {},
            "measurements, not classes; learn them as numbers with task='regression'",
        ),
    ],
)
def test_labels_that_teach_nothing(changes, options, message):
    with pytest.raises(DataError, match=message):
        from_table(tagged().assign(**changes), image=None, options=DatasetOptions(**options))


def test_numbers_that_are_equal_in_what_is_left_for_training():
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": ["1.5", "2.5", "3.5"]})
    with pytest.raises(DataError, match="left for training: label is"):
        from_table(table, image=None, options=DatasetOptions(task="regression"))


def test_all_problems_of_labels_come_together():
    frame, test = tagged(), tagged(5).assign(label=["x", "x|unheard", "", "y", "|"])
    frame.loc[3, "label"] = None
    with pytest.raises(DataError) as caught:
        from_table(frame, image=None, test=test)
    assert caught.value.num_problems == 3
    for line in (
        "row 3: label: missing",
        "row 1: label 'unheard': no training row has it",
        "row 2: label: missing",
    ):
        assert line in str(caught.value)


def test_several_columns_only_for_numbers():
    with pytest.raises(ValueError, match="several only with task='regression'"):
        from_table(tagged(), image=None, label=["label", "text"])
