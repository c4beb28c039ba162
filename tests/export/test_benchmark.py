import pytest

from mmkd_tf.export import benchmark
from mmkd_tf.export.benchmark import latency_ms, median_ms
from mmkd_tf.export.tflite import export_tflite


class Clock:
    """Stands for time.perf_counter; a call of `run` takes as many seconds as its row says."""

    def __init__(self):
        self.now = 0.0
        self.rows = []

    def perf_counter(self):
        return self.now

    def run(self, row):
        self.now += row
        self.rows.append(row)


def test_median_of_calls_on_the_rows_in_turn(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(benchmark, "time", clock)
    assert median_ms(clock.run, [0.001, 0.002, 0.009], calls=30) == pytest.approx(2.0)
    assert clock.rows[3:] == [0.001, 0.002, 0.009] * 10


def test_a_slow_file_is_called_five_times(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(benchmark, "time", clock)
    assert median_ms(clock.run, [10.0], calls=9, seconds=1.0) == 10_000
    assert len(clock.rows) == 1 + 5


def test_measures_a_file(model, class_names, examples, tmp_path):
    path = tmp_path / "a.tflite"
    export_tflite(model, path, class_names=class_names, examples=examples)
    assert 0 < latency_ms(path, examples, calls=10) < 100
