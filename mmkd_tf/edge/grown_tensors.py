"""Finds the results of a TFLite model that are as large as numbers say which its operators read."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

MOST_BYTES_OF_NUMBERS = 512  # of a constant that says a shape; larger ones say none
_INTS = {2: "<i4", 4: "<i8"}  # by type of a tensor
_FLOATS = {0: "<f4"}
_LARGEST = 2**62

# Operators by their numbers in the schema. Of some one input says the whole shape:
_SHAPED = {94: 0, 148: 0, 146: 0, 130: 1, 68: 1, 122: 2, 67: 0, 141: 0}
# FILL, RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL, BROADCAST_TO, SPARSE_TO_DENSE, SCATTER_ND,
# TRANSPOSE_CONV, CONV_3D_TRANSPOSE. Of others how often another input is repeated:
_TILE, _ONE_HOT, _SEGMENT_SUM = 69, 85, 125
_UNSORTED = (155, 156, 157, 158)  # segments' sum, product, maximum, minimum
_RESIZE, _PAD, _RANGE = (23, 97), (34, 60, 100), 96
# What computes such numbers of others.
_SHAPE, _PACK, _CONCATENATION, _STRIDED_SLICE, _GATHER, _SLICE = 77, 83, 2, 45, 36, 65
_SAME = (53, 22, 43, 70)  # CAST, RESHAPE, SQUEEZE, EXPAND_DIMS
_ADD, _MUL, _MAXIMUM, _REDUCE_PROD = 0, 18, 55, 81


@dataclass
class Tensors:
    """The tensors of a subgraph, each list by their number."""

    shapes: Sequence[Sequence[int]]
    types: Sequence[int]
    weights: Sequence[bytes | None]  # a constant's first bytes; None of what is computed
    numbers: dict[int, list | None] = field(default_factory=dict)  # bounds of values, as found
    counts: dict[int, int] = field(default_factory=dict)  # of values, where an operator says them

    def count(self, tensor: int) -> int:
        """At most how many values a tensor has."""
        shape = math.prod(max(1, side) for side in self.shapes[tensor])
        return max(shape, self.counts.get(tensor, 0))

    def values(self, tensor: int) -> list | None:
        """What the values of a tensor are at most; None if that is not known."""
        if tensor in self.numbers:
            return self.numbers[tensor]
        form = (_INTS | _FLOATS).get(self.types[tensor])
        constant = self.weights[tensor]
        if not constant or form is None or len(constant) >= MOST_BYTES_OF_NUMBERS:
            return None
        return np.frombuffer(constant, form, len(constant) // np.dtype(form).itemsize).tolist()


def grow(operators: Iterable[tuple[int, Sequence[int], Sequence[int]]], tensors: Tensors) -> None:
    """Finds how many values the operators' results have at most, for `Tensors.count`.

    Args:
        operators: The kind, the inputs and the outputs of each, in the order of running.
        tensors: The tensors that these are numbers of.

    Raises:
        IndexError: If there is no such tensor.
    """
    for kind, given, made in operators:
        if not made or not given or min(given) < 0 or min(made) < 0:
            continue
        tensors.numbers[made[0]] = _computed(kind, given, made[0], tensors)
        if (count := _count(kind, given, tensors)) is not None:
            tensors.counts[made[0]] = min(count, _LARGEST)


def _count(kind: int, given: Sequence[int], tensors: Tensors) -> int | None:
    """How many values an operator gives at most, where numbers say it."""
    if kind in _SHAPED and len(given) > _SHAPED[kind]:
        return _product(tensors.values(given[_SHAPED[kind]]))
    if len(given) < 2:
        return None
    first, second = tensors.count(given[0]), tensors.values(given[1])
    shape = tensors.shapes[given[0]]
    if kind in (_TILE, _ONE_HOT):
        return _times(first, _product(second))
    if kind == _SEGMENT_SUM:
        return _times(first, max(second) + 1 if second else None)
    if kind in _UNSORTED and len(given) > 2:
        return _times(first, _product(tensors.values(given[2])))
    if kind in _RESIZE and len(shape) == 4:
        return _times(max(1, shape[0]) * max(1, shape[3]), _product(second))
    if kind in _PAD and second and len(second) == 2 * len(shape):
        sums = [max(1, s) + second[2 * i] + second[2 * i + 1] for i, s in enumerate(shape)]
        return max(_product(sums) or 0, first)
    if kind == _RANGE and len(given) > 2:
        begin, end, step = (tensors.values(one) for one in given[:3])
        if begin and end and step and step[0]:
            return math.ceil(min(abs(end[0] - begin[0]) / abs(step[0]), _LARGEST))
    return None


def _computed(kind: int, given: Sequence[int], made: int, tensors: Tensors) -> list | None:
    """What the values of an operator's result are at most."""
    if kind == _SHAPE:
        return [max(1, side) for side in tensors.shapes[given[0]]]
    read = [tensors.values(one) for one in given]
    first = read[0]
    if kind in (_PACK, _CONCATENATION):
        known = [values for values in read if values is not None]
        return [one for values in known for one in values] if len(known) == len(read) else None
    if first is None or not first:
        return None
    if kind in _SAME:
        return first
    if kind in (_STRIDED_SLICE, _GATHER, _SLICE):
        number, place = tensors.count(made), read[1] if len(read) > 1 else None
        if number == 1 and place and 0 <= place[0] < len(first) and place[0] == int(place[0]):
            return [first[int(place[0])]]
        return [max(first)] * number if number <= MOST_BYTES_OF_NUMBERS else None
    if kind == _REDUCE_PROD:
        return [_product(first)]
    second = read[1] if len(read) > 1 else None
    if kind in (_ADD, _MUL, _MAXIMUM) and second:
        number = max(len(first), len(second))
        if {len(first), len(second)} <= {1, number}:
            pairs = zip(
                first * (number // len(first)), second * (number // len(second)), strict=True
            )
            if kind == _MAXIMUM:
                return [max(a, b) for a, b in pairs]
            return [a * b if kind == _MUL else a + b for a, b in pairs]
    return None


def _product(values: Sequence | None) -> int | None:
    if values is None:
        return None
    whole = (int(value) if abs(value) < _LARGEST else _LARGEST for value in values)
    return min(_LARGEST, math.prod(max(0, value) for value in whole))


def _times(count: int, often: int | None) -> int | None:
    return None if often is None else min(_LARGEST, count * often)
