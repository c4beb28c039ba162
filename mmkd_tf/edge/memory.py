"""Tells how much memory a TFLite model asks for, before an interpreter is given it."""

import itertools
import math
import struct
from dataclasses import dataclass, field

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from mmkd_tf.edge.operator_shapes import (
    IF,
    WHILE,
    Shape,
    Step,
    UnknownSizeError,
    scratch_bytes,
    shapes_of,
)
from mmkd_tf.edge.operator_values import DTYPES, MOST_NUMBERS, small, values_of

# Where the schema of TFLite puts what is read here, in the tables' own numbering.
_CODES, _SUBGRAPHS, _BUFFERS = 6, 8, 12
_OLD_CODE, _CODE = 4, 10  # of an operator's kind
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 4, 6, 8, 10  # of a subgraph
_OPERATOR_KIND, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPTIONS = 4, 6, 8, 12
_SHAPE, _TYPE, _BUFFER, _IS_VARIABLE, _SPARSITY, _SIGNATURE = 4, 6, 8, 14, 16, 18  # of a tensor
_CALLED = (4, 6)  # of the options of WHILE and IF: the two subgraphs
_DATA, _PLACE = 4, 6  # of a buffer: its bytes, or where they lie behind the tables
_BYTES = {1: 2, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 16: 2, 17: 1}
_BYTES_OF_OTHERS = 4  # float32 and int32 are the usual ones
_MOST_ENTRIES = 1_000_000  # of all vectors that are read; a model of 10,000 operators has 150,000
_MOST_STEPS = 100_000  # of all subgraphs, each time that an operator calls one
_MOST_CALLS = 16  # within each other
_DAMAGED = (struct.error, IndexError, TypeError, ValueError, ArithmeticError)


class ModelMemory:
    """The tables of a TFLite model, as far as they say how much it asks for.

    Args:
        content: The whole file.

    Raises:
        ValueError: If it is damaged.
    """

    def __init__(self, content: bytes):
        try:
            (root,) = struct.unpack_from("<I", content)
            model, vectors = Table(content, root), _Vectors()
            buffers = [_values(buffer) for buffer in vectors.tables(model, _BUFFERS)]
            kinds = [
                max(
                    _number(code, _OLD_CODE, number_types.Int8Flags),
                    _number(code, _CODE, number_types.Int32Flags),
                )
                for code in vectors.tables(model, _CODES)
            ]
            tables = vectors.tables(model, _SUBGRAPHS)
            self._graphs = [_graph(table, buffers, kinds, vectors) for table in tables]
        except _DAMAGED as error:
            raise ValueError(f"its tables are damaged ({error})") from error

    def needed(self, num_examples: int = 1) -> int:
        """Computes the most bytes that the tensors take at a time.

        Weights are left out: they lie in the file. Shapes are computed as the interpreter does,
        whatever the file says of results.

        Args:
            num_examples: The size of inputs whose first one is open.

        Raises:
            UnknownSizeError: If it can't be told: an operator is none of those that exported models
                have, or its result's size comes of more than constants and shapes.
            ValueError: If shapes don't fit together.
        """
        called = {number for graph in self._graphs for op in graph.operators for number in op.calls}
        walk = _Walk(self._graphs, num_examples)
        try:
            roots = set(range(len(self._graphs))) - (called - {0})
            return sum(walk.through(number)[0] for number in sorted(roots))
        except UnknownSizeError:
            raise
        except _DAMAGED as error:
            raise ValueError(f"its tables are damaged ({error})") from error


@dataclass(frozen=True)
class _Operator:
    kind: int
    inputs: list[int]  # -1 for one that is left out
    outputs: list[int]
    options: Table | None
    calls: list[int]  # subgraphs that it runs


@dataclass(frozen=True)
class _Tensor:
    shape: Shape
    is_open: bool  # in its first size
    type: int
    buffer: bytes | None  # a constant's first bytes; None of what is computed
    is_variable: bool

    def bytes(self, shape: Shape) -> int:
        """Of this tensor, or of the shape that it will have, whichever is more."""
        size = _BYTES.get(self.type, _BYTES_OF_OTHERS)
        return size * max(math.prod(self.shape), math.prod(shape))

    def values(self) -> np.ndarray | None:
        """Of a small constant."""
        if not self.buffer or self.type not in DTYPES or math.prod(self.shape) > MOST_NUMBERS:
            return None
        values = np.frombuffer(self.buffer, DTYPES[self.type], math.prod(self.shape))
        return small(values.reshape(self.shape), self.type)


@dataclass(frozen=True)
class _Graph:
    tensors: list[_Tensor]
    inputs: list[int]
    outputs: list[int]
    operators: list[_Operator]


# The shapes of tensors: the most and the least that they may have, most often the same.
Shapes = tuple[list[Shape], list[Shape]]


@dataclass
class _Walk:
    """Goes through subgraphs as the interpreter will."""

    graphs: list[_Graph]
    num_examples: int
    steps_left: int = _MOST_STEPS
    within: list[int] = field(default_factory=list)

    def through(self, number: int, given: Shapes | None = None) -> tuple[int, Shapes]:
        """The most bytes that a subgraph takes at a time, and the shapes of what it gives.

        Its tensors live from the operator that makes them to the last that reads them. What is made
        while it runs, as its size is computed or another subgraph gives it, is kept to the end.
        """
        graph = self.graphs[number]
        if len(self.within) >= _MOST_CALLS or number in self.within:
            raise ValueError("subgraphs that call each other without end")
        self.within.append(number)
        shapes = self._begin(graph, given)
        values = [tensor.values() for tensor in graph.tensors]
        known = values, list(values)
        died, end = _last_uses(graph), len(graph.operators)
        change = [0] * (end + 2)

        def add(size: int, born: int, last: int) -> None:
            change[born] += size
            change[last + 1] -= size

        for index, tensor in enumerate(graph.tensors):
            if tensor.is_variable:
                add(tensor.bytes(tensor.shape), 0, end)
            elif index in graph.inputs:
                add(tensor.bytes(shapes[0][index]), 0, died.get(index, 0))
        for time, op in enumerate(graph.operators):
            self.steps_left -= 1
            if self.steps_left < 0:
                raise ValueError(f"more than {_MOST_STEPS:,} operators")
            most, least = steps = [_step(op, *each) for each in zip(shapes, known, strict=True)]
            most.other, least.other, least.is_least = least, most, True
            if op.calls:
                taken, made = self._call(op, most)
                add(taken, time, end)
            else:
                made = shapes_of(most), shapes_of(least)
                add(scratch_bytes(most, made[0]), time, time)
            computed = {i for i in most.read if graph.tensors[op.inputs[i]].buffer is None}
            is_kept = bool(op.calls or computed)
            for index, *sides in zip(op.outputs, *made, strict=False):
                shapes[0][index], shapes[1][index] = sides
                last = end if is_kept else died.get(index, time)
                add(graph.tensors[index].bytes(sides[0]), time, last)
            if op.outputs and not op.calls:
                first = op.outputs[0]
                kind, form = graph.tensors[first].type, shapes[0][first]
                if form == shapes[1][first]:
                    found = [values_of(step, form, kind) for step in steps]
                    if found[0] is not None and found[1] is not None:
                        known[0][first], known[1][first] = found
        self.within.pop()
        outputs = [shapes[0][i] for i in graph.outputs], [shapes[1][i] for i in graph.outputs]
        return max(itertools.accumulate(change)), outputs

    def _begin(self, graph: _Graph, given: Shapes | None) -> Shapes:
        shapes = [tensor.shape for tensor in graph.tensors]
        if given is None:
            for index in graph.inputs:
                if graph.tensors[index].is_open:
                    shapes[index] = (self.num_examples, *shapes[index][1:])
            return shapes, list(shapes)
        most, least = shapes, list(shapes)
        for index, *sides in zip(graph.inputs, *given, strict=True):
            most[index], least[index] = sides
        return most, least

    def _call(self, op: _Operator, step: Step) -> tuple[int, Shapes]:
        """What the subgraphs take that an operator runs, and what it gives."""
        count, least = range(len(step.shapes)), step.other or step
        given = [step.shape(i) for i in count], [least.shape(i) for i in count]
        if op.kind == IF:
            given = given[0][1:], given[1][1:]
            (first, made), (second, others) = (self.through(n, given) for n in op.calls)
        else:  # what the body of a loop gives, it is given the next time
            made, others = None, given
            while made != others:
                made = others
                (first, _), (second, others) = (self.through(n, made) for n in op.calls)
                others = others[0], _least(others[1], made[1])
                if others[0] != made[0]:
                    break
        if made[0] != others[0]:
            raise UnknownSizeError(
                f"operator {op.kind}, of which results have one shape or another"
            )
        return first + second, (made[0], _least(made[1], others[1]))


def _step(op: _Operator, shapes: list[Shape], known: list[np.ndarray | None]) -> Step:
    return Step(
        op.kind,
        [None if i < 0 else shapes[i] for i in op.inputs],
        [None if i < 0 else known[i] for i in op.inputs],
        len(op.outputs),
        op.options,
    )


def _least(first: list[Shape], second: list[Shape]) -> list[Shape]:
    """By tensor the lesser sides."""
    pairs = zip(first, second, strict=True)
    return [tuple(map(min, zip(a, b, strict=True))) for a, b in pairs]


def _last_uses(graph: _Graph) -> dict[int, int]:
    """By tensor, the last operator that makes or reads it.

    Raises:
        ValueError: If one is made twice, or read before it is made: with what it was the time
            before, it would grow from call to call.
    """
    last: dict[int, int] = {}
    made = {index for index in graph.inputs}
    for time, op in enumerate(graph.operators):
        for index in op.outputs:
            tensor = graph.tensors[index]
            if index in made or index in last or tensor.buffer is not None or tensor.is_variable:
                raise ValueError("a tensor that is made twice, or read before it is made")
            made.add(index)
        last |= dict.fromkeys([*op.inputs, *op.outputs], time)
    return last | dict.fromkeys(graph.outputs, len(graph.operators))


def _graph(
    table: Table, buffers: list[bytes | None], kinds: list[int], vectors: "_Vectors"
) -> _Graph:
    tensors = [_tensor(each, buffers, vectors) for each in vectors.tables(table, _TENSORS)]
    operators = []
    for each in vectors.tables(table, _OPERATORS):
        offset = each.Offset(_OPTIONS)
        options = None
        if offset:
            options = Table(each.Bytes, 0)
            each.Union(options, offset)
        kind = kinds[_number(each, _OPERATOR_KIND, number_types.Uint32Flags)]
        calls = []
        if kind in (WHILE, IF) and options:
            calls = [_number(options, slot, number_types.Int32Flags) for slot in _CALLED]
        operators.append(
            _Operator(
                kind,
                vectors.numbers(each, _OPERATOR_INPUTS),
                _within(vectors.numbers(each, _OPERATOR_OUTPUTS), len(tensors)),
                options,
                calls,
            )
        )
    inputs, outputs = (
        _within(vectors.numbers(table, slot), len(tensors)) for slot in (_INPUTS, _OUTPUTS)
    )
    return _Graph(tensors, inputs, outputs, operators)


def _within(numbers: list[int], count: int) -> list[int]:
    if numbers and not 0 <= min(numbers) <= max(numbers) < count:
        raise ValueError("tensors that are not there")
    return numbers


def _tensor(table: Table, buffers: list[bytes | None], vectors: "_Vectors") -> _Tensor:
    if table.Offset(_SPARSITY):
        raise ValueError("weights of which zeros are left out")
    signature = vectors.numbers(table, _SIGNATURE)
    return _Tensor(
        shape=tuple(max(0, side) for side in vectors.numbers(table, _SHAPE)),
        is_open=bool(signature) and signature[0] < 0,
        type=_number(table, _TYPE, number_types.Int8Flags),
        buffer=buffers[_number(table, _BUFFER, number_types.Uint32Flags)],
        is_variable=bool(_number(table, _IS_VARIABLE, number_types.BoolFlags)),
    )


class _Vectors:
    """Reads the vectors of tables, and not without end: one may stand in a file many times."""

    def __init__(self):
        self._left = _MOST_ENTRIES

    def numbers(self, table: Table, slot: int, dtype: str = "<i4") -> list[int]:
        """A vector of numbers; none where the table has none."""
        offset = table.Offset(slot)
        if not offset:
            return []
        place, number = table.Vector(offset), table.VectorLen(offset)
        self._left -= number
        if self._left < 0:
            raise ValueError(f"more than {_MOST_ENTRIES:,} entries")
        return np.frombuffer(table.Bytes, dtype, number, place).tolist()

    def tables(self, table: Table, slot: int) -> list[Table]:
        """A vector of tables, which it says by their distances from itself."""
        distances = self.numbers(table, slot, "<u4")
        begin = table.Vector(table.Offset(slot)) if distances else 0
        return [Table(table.Bytes, begin + 4 * i + d) for i, d in enumerate(distances)]


def _values(buffer: Table) -> bytes | None:
    """The first bytes of a buffer that holds values, which are weights then; else None.

    Of values that lie behind the tables, as no few ones do, none are read.
    """
    if (offset := buffer.Offset(_DATA)) and (length := buffer.VectorLen(offset)):
        place = buffer.Vector(offset)
        return bytes(buffer.Bytes[place : place + min(length, 8 * MOST_NUMBERS)])
    return b"" if _number(buffer, _PLACE, number_types.Uint64Flags) > 1 else None


def _number(table: Table, slot: int, kind) -> int:
    offset = table.Offset(slot)
    return int(table.Get(kind, table.Pos + offset)) if offset else 0
