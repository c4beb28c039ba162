from mmkd_tf.report.exports_page import exports_lines, exports_markdown

FILE = {
    "file": "student_small.tflite",
    "quantize": "dynamic",
    "bytes": 66_560,
    "latency_ms": 0.1234,
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
    {"level": "dynamic", "bytes": 60_000, "reason": None},
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
    {**FILE, "quantize": "float32", "accuracy": None, "test_top1_agreement": None, "ladder": ()},
    {**FILE, "ladder": tuple({**SEEN, **rung} for rung in RUNGS)},
]


def test_text_shows_files_levels_and_why_one_was_not_taken():
    lines = exports_lines(EXPORTS)
    small = next(line for line in lines if " dynamic " in line)
    assert small.split()[1:] == [
        "dynamic",
        "65.0",
        "0.123",
        "0.625",
        "0.630",
        "99.5%",
        "99.1%",
        "1.2e-02",
    ]
    assert any(line.startswith("dynamic") and line.endswith("taken") for line in lines)
    assert any(line.endswith("loses 0.0100 of accuracy, more than 0.005") for line in lines)
    assert "mixed     can't be made: ValueError: a | b" in lines
    assert lines[-1] == "Measured on 186 validation examples."


def test_markdown_rows_have_as_many_cells_as_their_header():
    lines = exports_markdown(EXPORTS)
    assert "| dynamic | 58.6 | 0.100 | 0.620 | 98.0% | taken |" in lines
    tables, columns = 0, None
    for line in lines:
        if not line.startswith("|"):
            columns = None
            continue
        cells = line.replace("\\|", "").count("|")
        tables += columns is None
        columns = columns or cells
        assert cells == columns, line
    assert tables == 2
