import numpy as np
import pytest
from edge_files import rounds
from edge_files.rounds import ModelFile, measure


class FakeWorker:
    """Takes 1 ms for the first file, 2 ms for the second; notes who is called when."""

    calls, closed = [], []

    def __init__(self, file, examples, *, num_threads):
        if file.name == "refused":
            raise RuntimeError("no")
        self.key = (file.name, num_threads)
        self.peak_memory_mib = 7.0 * num_threads

    def outputs(self, case):
        return np.array([[0.5, 0.5]])

    def times(self, case, num_calls):
        self.calls.append((case, *self.key))
        return np.full(num_calls, {"a": 1.0, "b": 2.0}[self.key[0]])

    def close(self):
        self.closed.append(self.key)


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(rounds, "Worker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "calls", [])
    monkeypatch.setattr(FakeWorker, "closed", [])
    return FakeWorker


def run(tmp_path, **options):
    files = [ModelFile(name, tmp_path / name, "litert") for name in ("a", "refused", "b")]
    return measure(files, tmp_path, ["short", "real lengths"], num_calls=4, **options)


def test_each_round_calls_all_and_begins_with_another(workers, tmp_path):
    run(tmp_path, num_rounds=2)
    keys = [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    expected = [
        (case, *key)
        for index in range(3)  # the first warms up
        for case in ("short", "real lengths")
        for key in keys[index:] + keys[:index]
    ]
    assert workers.calls == expected


def test_keeps_the_rounds_that_count(workers, tmp_path):
    measured, refused = run(tmp_path, num_rounds=2)
    assert refused == {"refused": "no"} and list(measured) == ["a", "b"]
    assert measured["b"].peak_memory_mib == 7.0
    for num_threads in (1, 2):
        for case in ("short", "real lengths"):
            np.testing.assert_array_equal(measured["b"].times[num_threads][case], [[2.0] * 4] * 2)


def test_processes_end_also_after_a_mistake(workers, tmp_path, monkeypatch):
    def fail(self, case, num_calls):
        raise RuntimeError("died")

    monkeypatch.setattr(FakeWorker, "times", fail)
    with pytest.raises(RuntimeError, match="died"):
        run(tmp_path, num_rounds=1)
    assert workers.closed == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
