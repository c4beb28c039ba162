import numpy as np
import pytest

from mmkd_tf.export import latency
from mmkd_tf.export.convert import convert
from mmkd_tf.export.latency import interleaved_latency_ms, latency_ms, median_ms
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
    monkeypatch.setattr(latency, "time", clock)
    assert median_ms(clock.run, [0.001, 0.002, 0.009], calls=30) == pytest.approx(2.0)
    assert clock.rows[3:] == [0.001, 0.002, 0.009] * 10


def test_a_slow_file_is_called_five_times(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    assert median_ms(clock.run, [10.0], calls=9, seconds=1.0) == 10_000
    assert len(clock.rows) == 1 + 5


def test_measures_a_file(model, class_names, examples, tmp_path):
    path = tmp_path / "a.tflite"
    export_tflite(model, path, class_names=class_names, examples=examples)
    assert 0 < latency_ms(path, examples, calls=10) < 100


@pytest.mark.parametrize("batch_size", [1, 16, None])
def test_measures_each_file(model, examples, batch_size):
    content = convert(model, examples, batch_size=batch_size)
    found = interleaved_latency_ms({"a": content, "b": content}, examples)
    assert list(found) == ["a", "b"]
    assert all(0.001 < value < 100 for value in found.values())


def test_calls_in_turn_and_leaves_the_first_round_out(monkeypatch):
    clock, calls = [0.0], []

    class Runner:
        batch_size, inputs = 2, {"x": None}

        def __init__(self, content, num_threads):
            self.content = content

        def __call__(self, tensors):
            calls.append((self.content, len(tensors["x"])))
            # The first round takes long.
            clock[0] += 100 if len(calls) <= 2 * latency._CALLS_A_ROUND else self.content

    monkeypatch.setattr(latency, "TensorRunner", Runner)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock[0])
    found = interleaved_latency_ms({"slow": 0.3, "fast": 0.1}, {"x": np.zeros(5)})
    assert found == {"slow": pytest.approx(300), "fast": pytest.approx(100)}
    per = latency._CALLS_A_ROUND
    assert [name for name, _ in calls[: 4 * per]] == ([0.3] * per + [0.1] * per) * 2
    assert [size for _, size in calls[:3]] == [2, 2, 1]
    # Time was up in the warm-up, yet a median of nothing would say nothing.
    assert len(calls) == 2 * per * (1 + latency._MIN_ROUNDS)
