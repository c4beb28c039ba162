import csv

import pytest
from data import CLAIM, SHARE, benchmark_times, data_text, write_table
from PIL import Image


def test_rows_are_different_pictures_with_titles(tmp_path, monkeypatch):
    monkeypatch.setattr("data.RENDERED", 3)
    path = write_table(tmp_path / "table", 5)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    pictures = [Image.open(path.parent / row["image"]) for row in rows]
    assert len(rows) == 5 == len({picture.tobytes() for picture in pictures})
    assert {picture.size for picture in pictures} == {(64, 64)} and all(r["text"] for r in rows)


def test_refuses_numbers_that_measure_nothing():
    with pytest.raises(ValueError, match="`num_rounds`, `num_rows`: 1 or more"):
        benchmark_times(num_rounds=0, num_rows=0)


def test_every_figure_has_its_line():
    ratio = {"median": 0.97, "least": 0.9, "greatest": 1.1}
    times = {"seconds": {"first epoch": 23.2}, "ratios": {CLAIM: ratio, SHARE: ratio}}
    memory = {
        "peak_memory_mib": {2000: 800.0, 200_000: 1100.0},
        "kept_mib": {2000: 0.0, 200_000: 2400.0},
        "seconds": {2000: 60.0, 200_000: 900.0},
    }
    lines = data_text(times, memory).splitlines()
    assert lines[1].split() == ["first", "epoch", "23.20"]
    assert lines[-1].split() == ["200,000", "1,100", "300", "2,400", "900"]
    assert any(line.split()[-3:] == ["0.970", "0.900", "1.100"] for line in lines)
