import pytest
from start import benchmark_start


def test_refuses_numbers_that_measure_nothing():
    with pytest.raises(ValueError, match="`num_rounds`: 1 or more. Received: 0"):
        benchmark_start(num_rounds=0)
