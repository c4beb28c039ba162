import pytest
from edge_files.results import edge_text


@pytest.fixture
def measured():
    def latency(scale):
        return {
            threads: {
                "5 words": {"median": 0.05 * scale, "p95": 0.06 * scale},
                "real lengths": {"median": 1.25 * scale, "p95": 2.5 * scale},
            }
            for threads in ("1", "2")
        }

    ours = {
        "bytes": 204800,
        "peak_memory_mib": 4.25,
        "max_abs_logit_difference": 2.5e-7,
        "operators": {"CONV_2D": 4, "ADD": 2, "WHILE": 1},
        "latency_ms": latency(1),
    }
    return {
        "model": "student",
        "parameters": 47129,
        "num_rounds": 15,
        "num_calls": 100,
        "made_examples": True,
        "texts": {
            "5 words": {"least": 5, "mean": 5.0, "greatest": 5},
            "real lengths": {"least": 1, "mean": 5.5, "greatest": 10},
        },
        "files": {
            "float32": ours,
            "text branch": {**ours, "max_abs_logit_difference": None, "latency_ms": latency(2)},
        },
        "absent": {"ONNX Runtime": "not installed; get it with: pip install onnx"},
        "ratios": {"float32 / peer": {"median": 0.612, "least": 0.5, "greatest": 0.75}},
    }


def line(text, start, number=0):
    return [line for line in text.splitlines() if line.startswith(start)][number].split()


def test_every_figure_has_its_place(measured):
    text = edge_text(measured)
    assert text.startswith("student, 47,129 parameters; 15 rounds of 100 calls\n")
    assert line(text, "float32") == ["float32", *"200.0 4.2 2.5e-07 7 of 3 kinds".split()]
    assert line(text, "text branch")[2:5] == ["200.0", "4.2", "-"]
    assert line(text, "float32", 1) == ["float32", "50", "(60)", "1,250", "(2,500)"]
    assert line(text, "text branch", 2)[2:] == ["100", "(120)", "2,500", "(5,000)"]
    assert line(text, "float32 / peer")[-3:] == ["0.612", "0.500", "0.750"]
    assert "- float32: CONV_2D 4, ADD 2, WHILE\n" in text
    assert "- ONNX Runtime: not installed; get it with: pip install onnx\n" in text
    assert "microseconds, 1 thread:" in text and "microseconds, 2 threads:" in text


def test_tells_the_lengths_of_the_texts(measured):
    words = "Words in a text: 5 words: 5; real lengths: 1 to 10, mean 5.5."
    assert f"{words} Real lengths are made here" in " ".join(edge_text(measured).split())
    measured["made_examples"] = False
    given = f"{words} Real lengths are those of the examples given."
    assert given in " ".join(edge_text(measured).split())


def test_no_line_is_too_long_for_a_terminal(measured):
    measured["files"]["float32"]["operators"] = {f"OPERATOR_{i}": i for i in range(1, 40)}
    assert max(map(len, edge_text(measured).splitlines())) <= 100


def test_tables_are_aligned(measured):
    blocks = edge_text(measured).split("\n\n")
    tables = [block.splitlines() for block in blocks if "\nfloat32 " in f"\n{block}"]
    assert len(tables) == 4
    for table in tables:
        rows = [row for row in table if row.startswith(("file", "ratio", "float32", "text"))]
        assert len(rows) >= 2 and len({len(row) for row in rows}) == 1


def test_leaves_out_what_there_is_not(measured):
    text = edge_text(measured | {"absent": {}, "ratios": {}, "texts": {}})
    assert "not measured" not in text and "ratio" not in text and "Words" not in text
