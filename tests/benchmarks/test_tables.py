"""The command that puts figures into the documentation; what it measures is measured by people."""

import pytest
from tables import BENCHMARKS, DOCS, replaced, tables_of

RATIOS = {"a / b": {"median": 1.5, "least": 1, "greatest": 2}}
MEASURED = {
    "training": {"seconds": {"a": 3.0, "b": 2.0}, "ratios": RATIOS},
    "training_step": {"milliseconds": {"a": 3.0, "b": 2.0}, "ratios": RATIOS},
    "data": {"seconds": {"a": 3.0, "b": 2.0}, "ratios": RATIOS},
    "features": {"lite": {"kind": "image", "load_s": 1.0, "ms": 20.0, "rate": 0.98}},
    "start": {"help": 0.5},
    "run": {"read": {"milliseconds": 3.6, "times": 2, "bytes": 1000}},
    "edge": {
        "texts": {"5 words": {}, "10 words": {}},
        "files": {
            "mixed": {
                "bytes": 2048,
                "peak_memory_mib": 4.0,
                "latency_ms": {"1": {"5 words": {"median": 0.115, "p95": 0.2}}},
            }
        },
        "ratios": RATIOS,
    },
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_page_has_a_place_for_its_tables(name):
    page = (DOCS / BENCHMARKS[name].page).read_text(encoding="utf-8")
    made = replaced(page, name, tables_of(name, MEASURED[name]))
    assert made != page and replaced(made, name, tables_of(name, MEASURED[name])) == made
    assert len(made.split("<!-- ")) == len(page.split("<!-- "))


def test_what_the_tables_say():
    (edge, ratios), (run,) = (tables_of(name, MEASURED[name]) for name in ("edge", "run"))
    assert edge.rows == [("mixed", "2", "4.0", "115", "")]
    assert ratios.rows == [("a / b", "1.50", "1.00", "2.00")]
    assert run.rows[-1][:5] == ("all", "7.2", "1", "1,000", "2.0 h, 1 GB")


def test_a_page_without_a_place_is_said():
    with pytest.raises(ValueError, match="`studies.md`: one place for training, from <!-- train"):
        replaced("# Studies\n", "training", [])
