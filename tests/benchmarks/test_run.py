"""The projection of a run's stages; what they cost is measured by people."""

import pytest
from run import benchmark_run, run_text

MEASURED = {
    "read": {"milliseconds": 3.6, "times": 1, "bytes": 1000},
    "train": {"milliseconds": 1.8, "times": 10, "bytes": 0},
}


def test_hours_of_one_core_and_bytes_of_many_examples():
    head, read, train, every = run_text(MEASURED).splitlines()
    assert head.split() == ["stage", "ms", "times", "bytes", "1e6", "1e8", "1e9"]
    assert read.split()[1:8] == ["3.600", "1", "1000", "1", "h", "1", "GB"]
    assert train.split()[-4:] == ["5,000", "h", "0", "GB"]
    assert every.split()[-8:] == ["600", "h", "100", "GB", "6,000", "h", "1,000", "GB"]


def test_few_examples_measure_nothing():
    with pytest.raises(ValueError, match="`num_examples`: 64 or more. Received: 8"):
        benchmark_run(num_examples=8)
