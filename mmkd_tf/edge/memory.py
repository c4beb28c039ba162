"""Tells how much memory a TFLite model asks for, before an interpreter is given it."""

import itertools
import math
import struct

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

# Where the schema of TFLite puts what is read here, in the tables' own numbering.
_SUBGRAPHS, _BUFFERS = 8, 12
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 4, 6, 8, 10  # of a subgraph
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 6, 8
_SHAPE, _TYPE, _BUFFER, _IS_VARIABLE = 4, 6, 8, 14  # of a tensor
_DATA, _PLACE = 4, 6  # of a buffer: its bytes, or where they lie behind the tables
_BYTES = {1: 2, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 16: 2, 17: 1}
_BYTES_OF_OTHERS = 4  # float32 and int32 are the usual ones
_MOST_ENTRIES = 1_000_000  # of all vectors that are read; a model of 10,000 operators has 150,000


def bytes_asked_for(content: bytes) -> int:
    """Computes the most bytes that the tensors of a model take at a time, by what the file says.

    Weights are left out: they lie in the file. An open size counts as 1. A file that was made to
    harm may still ask for more while it runs; this catches what its shapes claim.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        (root,) = struct.unpack_from("<I", content)
        model, vectors = Table(content, root), _Vectors()
        has_bytes = [_has_bytes(buffer) for buffer in vectors.tables(model, _BUFFERS)]
        graphs = vectors.tables(model, _SUBGRAPHS)
        return sum(_most_at_a_time(graph, has_bytes, vectors) for graph in graphs)
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its tables are damaged ({error})") from error


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


def _most_at_a_time(graph: Table, has_bytes: list[bool], vectors: _Vectors) -> int:
    """The same of one subgraph.

    Its tensors live from the operator that makes them to the last that reads them.
    """
    operators = vectors.tables(graph, _OPERATORS)
    end = len(operators)
    born: dict[int, int] = dict.fromkeys(vectors.numbers(graph, _INPUTS), 0)
    died = dict(born)
    for time, operator in enumerate(operators):
        made = vectors.numbers(operator, _OPERATOR_OUTPUTS)
        for tensor in made:
            born.setdefault(tensor, time)
        died |= dict.fromkeys([*vectors.numbers(operator, _OPERATOR_INPUTS), *made], time)
    died |= dict.fromkeys(vectors.numbers(graph, _OUTPUTS), end)
    change = [0] * (end + 2)
    for number, tensor in enumerate(vectors.tables(graph, _TENSORS)):
        if _number(tensor, _IS_VARIABLE, number_types.BoolFlags):
            born[number], died[number] = 0, end
        buffer = _number(tensor, _BUFFER, number_types.Uint32Flags)
        if number in born and not has_bytes[buffer]:
            kind = _number(tensor, _TYPE, number_types.Int8Flags)
            sides = vectors.numbers(tensor, _SHAPE)
            size = _BYTES.get(kind, _BYTES_OF_OTHERS) * math.prod(max(1, side) for side in sides)
            change[born[number]] += size
            change[died.get(number, born[number]) + 1] -= size
    return max(itertools.accumulate(change))


def _has_bytes(buffer: Table) -> bool:
    """Whether a buffer holds values, which are weights then."""
    place = _number(buffer, _PLACE, number_types.Uint64Flags)
    return bool(buffer.Offset(_DATA) and buffer.VectorLen(buffer.Offset(_DATA))) or place > 1


def _number(table: Table, slot: int, kind) -> int:
    offset = table.Offset(slot)
    return int(table.Get(kind, table.Pos + offset)) if offset else 0
