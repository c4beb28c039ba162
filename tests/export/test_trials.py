import numpy as np
import pytest

from mmkd_tf.export.trials import run_batches, run_both_ways, sizes_to_try, without


@pytest.mark.parametrize(
    ("batch_size", "num_examples", "expected"),
    [
        (1, 50, (1,)),
        (8, 50, (8,)),
        (None, 500, (32, 3, 1)),
        (None, 96, (32, 5, 1)),
        (None, 12, (12, 5, 1)),
        (None, 1, (1, 3)),  # the rest of three is one
    ],
)
def test_sizes(batch_size, num_examples, expected):
    assert sizes_to_try(batch_size, num_examples=num_examples) == expected


def test_batches_are_as_large_as_asked_for_and_come_in_order():
    seen = []

    def run(tensors):
        seen.append(len(tensors["x"]))
        assert tensors["x"].flags.c_contiguous
        return tensors["x"] + tensors["y"]

    inputs = {"x": np.arange(7.0)[:, None], "y": np.ones([7, 1])}
    found = run_both_ways(run, inputs, 3)
    np.testing.assert_array_equal(found, np.arange(1.0, 8)[:, None])
    assert seen == [3, 3, 1, 3, 3, 1]
    assert run_batches(run, inputs, 7).shape == (7, 1)


def test_answers_that_depend_on_the_order_are_refused():
    calls = iter(range(100))
    with pytest.raises(RuntimeError, match="in batches of 2, so it keeps a state"):
        run_both_ways(lambda tensors: tensors["x"] + next(calls), {"x": np.zeros([4, 1])}, 2)


def test_one_modality_is_absent():
    inputs = {"x": np.ones([60, 2], "uint8"), "y": np.ones([60, 3])}
    found = without(inputs, "x")
    assert found["x"].shape == (50, 2) and found["x"].dtype == np.uint8 and not found["x"].any()
    np.testing.assert_array_equal(found["y"], np.ones([50, 3]))
