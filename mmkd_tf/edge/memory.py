"""Tells how much memory a TFLite model asks for, before an interpreter is given it."""

import itertools
import struct

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from mmkd_tf.edge.grown_tensors import MOST_BYTES_OF_NUMBERS, Tensors, grow

# Where the schema of TFLite puts what is read here, in the tables' own numbering.
_CODES, _SUBGRAPHS, _BUFFERS = 6, 8, 12
_OLD_CODE, _CODE = 4, 10  # of an operator's kind
_OPERATOR_KIND = 4
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 4, 6, 8, 10  # of a subgraph
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 6, 8
_SHAPE, _TYPE, _BUFFER, _IS_VARIABLE = 4, 6, 8, 14  # of a tensor
_DATA, _PLACE = 4, 6  # of a buffer: its bytes, or where they lie behind the tables
_BYTES = {1: 2, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 16: 2, 17: 1}
_INT = number_types.Int32Flags
_BYTES_OF_OTHERS = 4  # float32 and int32 are the usual ones
_MOST_ENTRIES = 1_000_000  # of all vectors that are read; a model of 10,000 operators has 150,000


def bytes_asked_for(content: bytes) -> int:
    """Computes the most bytes that the tensors of a model take at a time.

    Weights are left out: they lie in the file. An open size counts as 1. Operators whose result is
    as large as numbers say that they read, such as FILL and TILE, count as these numbers, if they
    are constants, shapes, or computed of these. A file that was made to harm may still ask for more
    while it runs, by numbers that come of what it is given or by shapes that it says wrongly.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        (root,) = struct.unpack_from("<I", content)
        model, vectors = Table(content, root), _Vectors()
        buffers = [_values(buffer) for buffer in vectors.tables(model, _BUFFERS)]
        kinds = [
            max(_number(code, _OLD_CODE, number_types.Int8Flags), _number(code, _CODE, _INT))
            for code in vectors.tables(model, _CODES)
        ]
        graphs = vectors.tables(model, _SUBGRAPHS)
        return sum(_most_at_a_time(graph, buffers, kinds, vectors) for graph in graphs)
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


def _most_at_a_time(
    graph: Table, buffers: list[bytes | None], kinds: list[int], vectors: _Vectors
) -> int:
    """The same of one subgraph.

    Its tensors live from the operator that makes them to the last that reads them.
    """
    operators = vectors.tables(graph, _OPERATORS)
    read = [
        (
            kinds[_number(operator, _OPERATOR_KIND, number_types.Uint32Flags)],
            vectors.numbers(operator, _OPERATOR_INPUTS),
            vectors.numbers(operator, _OPERATOR_OUTPUTS),
        )
        for operator in operators
    ]
    end = len(operators)
    born: dict[int, int] = dict.fromkeys(vectors.numbers(graph, _INPUTS), 0)
    died = dict(born)
    for time, (_, given, made) in enumerate(read):
        for tensor in made:
            born.setdefault(tensor, time)
        died |= dict.fromkeys([*given, *made], time)
    died |= dict.fromkeys(vectors.numbers(graph, _OUTPUTS), end)
    change = [0] * (end + 2)
    tensors = vectors.tables(graph, _TENSORS)
    sides = [vectors.numbers(tensor, _SHAPE) for tensor in tensors]
    types = [_number(tensor, _TYPE, number_types.Int8Flags) for tensor in tensors]
    weights = [buffers[_number(t, _BUFFER, number_types.Uint32Flags)] for t in tensors]
    known = Tensors(sides, types, weights)
    grow(read, known)
    for number, tensor in enumerate(tensors):
        if _number(tensor, _IS_VARIABLE, number_types.BoolFlags):
            born[number], died[number] = 0, end
        if number in born and weights[number] is None:
            size = _BYTES.get(types[number], _BYTES_OF_OTHERS) * known.count(number)
            change[born[number]] += size
            change[died.get(number, born[number]) + 1] -= size
    return max(itertools.accumulate(change))


def _values(buffer: Table) -> bytes | None:
    """The first bytes of a buffer that holds values, which are weights then; else None.

    Of values that lie behind the tables, as no few ones do, none are read.
    """
    if (offset := buffer.Offset(_DATA)) and (length := buffer.VectorLen(offset)):
        place = buffer.Vector(offset)
        return bytes(buffer.Bytes[place : place + min(length, MOST_BYTES_OF_NUMBERS)])
    return b"" if _number(buffer, _PLACE, number_types.Uint64Flags) > 1 else None


def _number(table: Table, slot: int, kind) -> int:
    offset = table.Offset(slot)
    return int(table.Get(kind, table.Pos + offset)) if offset else 0
