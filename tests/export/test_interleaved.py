import numpy as np
import pytest

from mmkd_tf.export import interleaved
from mmkd_tf.export.convert import convert
from mmkd_tf.export.interleaved import interleaved_latency_ms


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
            clock[0] += 100 if len(calls) <= 2 * interleaved._CALLS_A_ROUND else self.content

    monkeypatch.setattr(interleaved, "TensorRunner", Runner)
    monkeypatch.setattr(interleaved.time, "perf_counter", lambda: clock[0])
    found = interleaved_latency_ms({"slow": 0.3, "fast": 0.1}, {"x": np.zeros(5)})
    assert found == {"slow": pytest.approx(300), "fast": pytest.approx(100)}
    per = interleaved._CALLS_A_ROUND
    assert [name for name, _ in calls[: 4 * per]] == ([0.3] * per + [0.1] * per) * 2
    assert [size for _, size in calls[:3]] == [2, 2, 1]
    # Time was up in the warm-up, yet a median of nothing would say nothing.
    assert len(calls) == 2 * per * (1 + interleaved._MIN_ROUNDS)
