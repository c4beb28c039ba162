"""Cells of several columns: kinds, problems, numbers, models, files, answers."""

import csv
import math
from datetime import UTC, date, datetime
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

import mmkd_tf
from mmkd_tf.edge import Classifier
from mmkd_tf.edge.tabular import TabularReader, read_cell
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.files.tables import TableError
from mmkd_tf.modalities import input_options
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.models import build_student, build_teacher
from mmkd_tf.models.seeding import seeded


def options(*columns, **more):
    return input_options({"kind": "tabular", "columns": list(columns), **more})


def fitted(rows, *columns, **more):
    chosen = options(*columns, **more)
    values, problems = Tabular.read(rows, chosen)
    assert not problems
    return Tabular.fit("details", values, chosen), values


ROWS = [
    ("1.5", "red", "2020-01-31"),
    ("2", "blue", ""),
    ("", "red", "20200131"),
    ("9", "blue", "2020-02-01 00:00"),
]


def test_kinds_of_columns_are_found_and_cells_become_numbers():
    modality, values = fitted(ROWS, "price", "colour", "built")
    assert [one["kind"] for one in modality.columns] == ["numeric", "categorical", "date"]
    assert values[0] == (1.5, "red", datetime(2020, 1, 31))
    assert modality.to_tensor(values).numpy().tolist() == [
        [1, 1.5, 2, 18292, 1, 1, 1],
        [1, 2, 1, 0, 1, 1, 0],
        [1, 0, 2, 18292, 0, 1, 1],
        [1, 9, 1, 18293, 1, 1, 1],
    ]
    new = [(None, "green", None), (None, None, None)]  # never seen; absent
    assert modality.to_tensor(new).numpy().tolist() == [[1, 0, 0, 0, 0, 1, 0], [0] * 7]
    assert modality.shown(values[0])["words"] == "price 1.5, colour red, built 2020-01-31 00:00:00"


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        ("numeric", "1,5", "'1,5', no number such as 1234.5, with a point and no comma"),
        ("numeric", "inf", "an infinite number"),
        ("numeric", -math.inf, "an infinite number"),
        ("numeric", "1e999", "an infinite number"),
        ("numeric", 10**400, "an infinite number"),
        ("numeric", "many", "'many', no number"),
        ("numeric", [1, 2], "one value. It holds a list"),
        ("date", "1899-12-31", "a date before 1900"),
        ("date", "2023-02-30", "no date such as 2023-01-31"),
        ("date", "3/4/2023", "no date such as 2023-01-31"),
        ("date", "9999-12-31T23:59-05:00", "no date"),
        ("date", 7.5, "no date"),
        (None, "1,5", "'1,5', no number"),  # beside nine numbers
    ],
)
def test_bad_cells_are_listed_by_row(kind, cell, reason):
    others = ["2020-01-01" if kind == "date" else "7"] * 9
    rows = [(one, "x") for one in [*others, cell]]
    values, problems = Tabular.read(rows, options("a", "b", kinds={"a": kind} if kind else {}))
    assert list(problems) == [9] and values[9] == (None, "x")
    with pytest.raises(AssertionError, match=f"row of cells: column 'a' .*{reason}"):
        raise AssertionError(problems[9])


def test_columns_of_bad_numbers_and_dates_are_not_taken_for_names():
    rows = [
        ("1,5", "inf", "1820-01-01", "a,b"),
        ("1,234.5", "", "", "c"),
        ("", 2, "2020-01-01", ""),
    ]
    _, problems = Tabular.read(rows, options("a", "b", "c", "d"))
    assert list(problems) == [0, 1] and problems[1].count("column") == 1
    assert all(word in problems[0] for word in ("'a' '1,5', no number", "infinite", "before 1900"))


def test_what_counts_as_missing_and_what_as_the_same():
    for cell in ("", " NA ", "?", "n/a", None, math.nan, pd.NA, pd.NaT, np.datetime64("NaT")):
        assert read_cell("numeric", cell) is read_cell("date", cell) is None
        assert (read_cell("categorical", cell) is None) == (not isinstance(cell, str) or not cell)
    names = [read_cell("categorical", cell) for cell in (3, 3.0, "3.0", np.int64(3), b"3", True)]
    assert names == [*["3"] * 5, "True"]
    assert [read_cell("numeric", cell) for cell in (True, "false", b"2", " 3e1 ")] == [1, 0, 2, 30]


@pytest.mark.parametrize(
    "cell",
    ["2023-01-31", "20230131", "2023-01-31T02:00+02:00", "2023-01-31 00:00:00Z", date(2023, 1, 31)]
    + [pd.Timestamp("2023-01-31"), np.datetime64("2023-01-31"), np.datetime64("2023-01-31", "ns")]
    + [datetime(2023, 1, 31, tzinfo=UTC)],
)
def test_a_date_is_the_same_in_all_forms(cell):
    assert read_cell("date", cell) == datetime(2023, 1, 31)


def test_columns_that_say_nothing_are_named_and_do_no_harm():
    rows = [("", "7", str(at), "x") for at in range(4)]
    with pytest.warns(UserWarning, match="say nothing.*: empty, constant, names"):
        kinds = {"names": "categorical", "same": "categorical"}
        modality, _ = fitted(rows, "empty", "constant", "names", "same", kinds=kinds)
    model = build_teacher(SimpleNamespace(modalities={"details": modality}, num_classes=2))
    strange = modality.to_tensor([("word", 1e38, "new", "y"), (None, -1e38, None, None)])
    assert np.isfinite(model({"details": strange})).all()


def test_thousands_of_categories_keep_the_frequent_ones():
    rows = [(str(at),) for at in range(3000) for _ in range(1 + (at < 2500))]
    modality, _ = fitted(rows, "code", kinds={"code": "categorical"}, most_categories=2000)
    assert len(modality.columns[0]["categories"]) == 2000
    data = SimpleNamespace(modalities={"details": modality}, num_classes=2)
    sizes = [build(data).count_params() for build in (build_teacher, build_student)]
    assert sizes[0] >= 20 * sizes[1]


def test_no_outlier_moves_what_models_read():
    rng = np.random.default_rng(0)
    rows = [(float(x),) for x in rng.standard_cauchy(500)]
    modality, values = fitted([*rows, (1e37,)], "a")
    model = build_student(SimpleNamespace(modalities={"details": modality}, num_classes=2))
    cells = keras.Model(model.input, model.get_layer("details_cells").output)
    read = np.asarray(cells({"details": modality.to_tensor(values)}))[:, 1:]
    # The first and the last bin reach to the outliers; those between tell the others apart.
    assert np.abs(read).max() <= 1 and read[:500, 1:-1].std(axis=0).min() > 0.2
    shift = np.asarray(modality.augment(modality.to_tensor(values), np.ones([501, 2], "int32")))
    kept = shift[:, 2] > 0
    kept[500] = False
    assert 0 < np.abs(shift[kept, 1] - np.array(values)[kept, 0]).max() < 1


def test_unknown_and_missing_categories_are_one_to_models():
    modality, _ = fitted(ROWS, "price", "colour", "built")
    data = SimpleNamespace(modalities={"details": modality}, num_classes=2)
    model = seeded(build_teacher(data), seed=1)
    rows = modality.to_tensor([(1.0, "green", None), (1.0, None, None), (1.0, "red", None)])
    unknown, missing, known = np.asarray(model({"details": rows}))
    np.testing.assert_array_equal(unknown, missing)
    assert np.abs(known - missing).max() > 1e-3


@pytest.mark.parametrize(
    "more",
    [
        {"columns": ["a", "a"]},
        {"columns": []},
        {"columns": ["a"], "kinds": {"b": "numeric"}},
        {"kinds": {"b": "numeric"}},
    ],
)
def test_options_that_do_not_fit_are_refused(more):
    with pytest.raises(ValueError, match="`columns`: each once, and all of `kinds`"):
        input_options({"kind": "tabular", **more})


def frame(number=60):
    rng = np.random.default_rng(0)
    price = rng.normal(size=number).round(3)
    colour = rng.choice(["red", "blue"], number)
    label = np.where((price > 0) ^ (colour == "red"), "yes", "no")
    return pd.DataFrame({"price": price, "colour": colour, "label": label})


INPUTS = {"details": {"kind": "tabular", "columns": ["price", "colour"]}}


def test_the_label_is_no_input():
    inputs = {"details": {"kind": "tabular", "columns": ["price", "label"]}}
    with pytest.raises(TableError, match="`inputs`: columns that do not hold the answer.*label"):
        mmkd_tf.from_table(frame(), inputs=inputs)


def test_a_held_out_table_of_another_kind_is_refused():
    other = frame().assign(price="dear")
    with pytest.raises(ValueError, match="cells as in training.*'price' 'dear', no number"):
        mmkd_tf.from_table(frame(), inputs=INPUTS, test=other)


def test_a_file_answers_as_keras_does_and_reads_rows_without_tensorflow(tmp_path):
    dataset = mmkd_tf.from_table(frame(), inputs=INPUTS)
    student = build_student(dataset)
    path = tmp_path / "student.tflite"
    export_tflite(
        student,
        path,
        class_names=dataset.class_names,
        examples=dataset.splits["train"].inputs,
        modalities=dataset.modalities,
        options=TFLiteOptions(),
    )
    classifier = Classifier(path)
    answers = [
        classifier.predict(details=value).probabilities
        for value in (
            {"colour": "red", "price": 0.5},
            [0.5, "red"],
            "price=0.5, colour=red",
        )
    ]
    assert all(answer == answers[0] for answer in answers)
    assert classifier.unknown_words(details={"colour": "green"}) == {"details": ("green",)}
    for value, reason in (
        ({"prize": 1}, "cells of price, colour, as a dict, .* Received: prize"),
        ([1], "Received: 1 cells"),
        ({"price": "0,5"}, "column 'price' '0,5', no number"),
        ("0.5", "as a text 'price=...,colour=...'. Received: '0.5'"),
    ):
        with pytest.raises(ValueError, match=f"`details`: .*{reason}"):
            classifier.predict(details=value)
    with pytest.raises(TypeError, match="`details`: cells of price, colour.*Received: int"):
        classifier.predict(details=3)


def test_the_reader_gives_what_training_reads():
    modality, values = fitted(ROWS, "price", "colour", "built")
    shape = (7,)
    reader = TabularReader("details", shape, np.dtype("float32"), {}, modality.files())
    for cells, tensor in zip(ROWS, modality.to_tensor(values).numpy(), strict=True):
        np.testing.assert_array_equal(reader(cells), tensor)
    assert not reader({}).any() and not reader("").any()
    with pytest.raises(ValueError, match="need the text columns.json"):
        TabularReader("details", shape, np.dtype("float32"), {}, {})


def test_of_one_column_a_text_is_the_cell():
    files = {"columns.json": '[{"name": "a", "kind": "categorical", "categories": ["x=1, y"]}]'}
    reader = TabularReader("details", (3,), np.dtype("float32"), {}, files)
    for value in ("x=1, y", ["x=1, y"], {"a": "x=1, y"}, 'a=z,"a=x=1, y"'):
        assert reader(value).tolist() == [1, 1, 1]


def test_a_table_is_answered_by_the_columns_that_the_file_names(tmp_path, capsys):
    from mmkd_tf.commands.answers import predict_table

    dataset = mmkd_tf.from_table(frame(), inputs=INPUTS)
    export_tflite(
        build_student(dataset),
        tmp_path / "student.tflite",
        class_names=dataset.class_names,
        examples=dataset.splits["train"].inputs,
        modalities=dataset.modalities,
        options=TFLiteOptions(),
    )
    frame(5).drop(columns="colour").to_csv(tmp_path / "new.csv", index=False)
    asked = {
        "output": tmp_path / "out.csv",
        "skip_bad_rows": False,
        "as_json": False,
        "overwrite": False,
    }
    predict_table(tmp_path / "student.tflite", tmp_path / "new.csv", {}, **asked)
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and {row["prediction"] for row in rows} <= {"yes", "no"}
