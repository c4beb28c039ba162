"""Runs a file on examples in every way that a comparison with Keras needs."""

from collections.abc import Callable, Mapping

import numpy as np

_LARGE_BATCH = 32
_NUM_ABSENT = 50
_LARGEST_DEVIATION = 1e-5

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def sizes_to_try(batch_size: int | None, *, num_examples: int) -> tuple[int, ...]:
    """Gives the batch sizes to run a file with.

    Args:
        batch_size: What the file takes at a time, None for any.
        num_examples: Number of examples that there are.

    Returns:
        The one size, or a large one, one that leaves a rest, and 1: the interpreter first
        allocates for many examples, then for few.
    """
    if batch_size is not None:
        return (batch_size,)
    leaves_rest = next(size for size in range(3, num_examples + 4) if num_examples % size)
    return tuple(dict.fromkeys([min(num_examples, _LARGE_BATCH), leaves_rest, 1]))


def run_both_ways(run: Run, inputs: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Runs a file on examples in their order and in the reverse order.

    Returns:
        Probabilities `[n, num_classes]`.

    Raises:
        RuntimeError: If the answers depend on the order.
    """
    probabilities = run_batches(run, inputs, size)
    backwards = {name: values[::-1] for name, values in inputs.items()}
    again = run_batches(run, backwards, size)[::-1]
    if not np.allclose(probabilities, again, atol=_LARGEST_DEVIATION):
        raise RuntimeError(
            "The exported file answers otherwise when examples come in another order, in batches "
            f"of {size}, so it keeps a state between calls or mixes examples. Report the model's "
            "layers as a defect of mmkd_tf."
        )
    return probabilities


def run_batches(run: Run, inputs: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Runs a file on examples, `size` of them at a time: probabilities `[n, num_classes]`."""
    num_examples = len(next(iter(inputs.values())))
    batches = [
        run({name: np.ascontiguousarray(values[i : i + size]) for name, values in inputs.items()})
        for i in range(0, num_examples, size)
    ]
    return np.concatenate(batches)


def without(inputs: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Gives the first 50 examples, with one modality absent."""
    return {
        key: np.zeros_like(values[:_NUM_ABSENT]) if key == name else values[:_NUM_ABSENT]
        for key, values in inputs.items()
    }
