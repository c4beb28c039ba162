from mmkd_tf.report.run_tables import files, levels
from mmkd_tf.report.summary import exports_text

FILE = {
    "file": "student_small.tflite",
    "quantize": "dynamic",
    "bytes": 66_560,
    "latency_ms": 0.1234,
    "latency_spread_ms": [0.1, 0.15],
    "accuracy": 0.625,
    "keras_accuracy": 0.63,
    "top1_agreement": 0.995,
    "max_abs_logit_difference": 0.0123,
    "num_examples": 186,
    "test_accuracy": 0.61,
    "test_top1_agreement": 0.991,
}
RUNGS = (
    {"level": "float32", "bytes": 170_000, "reason": None},
    {"level": "dynamic", "bytes": 60_000, "reason": None, "latency_ms": 0.08},
    {"level": "mixed", "bytes": None, "reason": "ValueError: a | b"},
    {"level": "mixed4", "bytes": 50_000, "reason": "loses 0.0100 of accuracy, more than 0.005"},
)
SEEN = {
    "accuracy": 0.62,
    "top1_agreement": 0.98,
    "max_abs_logit_difference": 0.02,
    "latency_ms": 0.1,
}
EXPORTS = [
    {
        **FILE,
        "quantize": "float32",
        "latency_spread_ms": None,
        "accuracy": None,
        "test_top1_agreement": None,
        "ladder": (),
    },
    {**FILE, "ladder": tuple({**SEEN, **rung} for rung in RUNGS)},
]


def test_text_shows_files_levels_and_why_one_was_not_taken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = exports_text(EXPORTS).splitlines()
    small = next(line for line in lines if " dynamic " in line)
    assert small.split()[1:] == [
        "dynamic",
        "65.0",
        "0.123",
        "0.625",
        "0.630",
        "0.012",
        "99.5%",
        "99.1%",
    ]
    assert "Levels tried for student_small.tflite:" in lines
    assert any(line.startswith("dynamic") and line.endswith("taken") for line in lines)
    assert any(line.endswith("loses 0.0100 of accuracy, more than 0.005") for line in lines)
    mixed = next(line for line in lines if line.startswith("mixed "))
    assert mixed.split(maxsplit=1)[1] == "can't be made: ValueError: a | b"
    assert lines[-1] == "Measured on 186 validation examples."


def test_what_is_not_known_is_a_dash():
    first, second = files(EXPORTS).rows
    assert first[4] == first[5] == first[9] == "-" and second[4] == "0.100 to 0.150"
    assert "-" not in second
    assert second[-1] == "0.610"


def test_a_file_that_an_older_runtime_refuses_is_named():
    assert "4-bit" not in exports_text(EXPORTS)
    said = exports_text([EXPORTS[0], EXPORTS[1] | {"quantize": "dynamic4"}])
    assert "student_small.tflite has 4-bit weights" in said and "--quantize dynamic" in said


def test_markdown_shows_the_same():
    (tried,) = levels(EXPORTS)
    assert "| dynamic | 58.6 | 0.80 | 0.620 | 98.0% | 0.02 | taken |" in tried.to_markdown()
    assert "can't be made: ValueError: a \\| b |" in tried.to_markdown()


def test_exports_of_numbers_are_not_called_accurate():
    exports = [export | {"task": "regression", "ladder": ()} for export in EXPORTS]
    columns = files(exports).columns
    assert columns[5:] == (
        "validation R2",
        "in Keras",
        "largest difference in standard deviations",
        "near Keras",
        "on test",
        "R2 on test",
    )
