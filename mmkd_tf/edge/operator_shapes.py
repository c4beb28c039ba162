"""Computes the shapes that the operators of a TFLite model give, as an interpreter does.

What an operator gives follows from the shapes that it is given, its options and, of some, from
numbers that it reads. These are constants or computed of shapes; a file in which they come of
anything else is refused, and so is one with an operator that is not known here. One thing may come
of examples: where a slice ends, such as at the longest text. All is then computed twice, of the
most and of the least, by operators whose results only grow with what they are given.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flatbuffers import number_types

Shape = tuple[int, ...]
_MOST_SIDES = 64
WHILE, IF = 119, 118  # which run other subgraphs
SHAPE, RANK = 77, 110  # of which the values follow from shapes alone


class UnknownSizeError(ValueError):
    """A shape that can't be told before the model runs."""


@dataclass
class Step:
    """What one operator is given.

    Attributes:
        kind: Its number in the schema of TFLite.
        shapes: Of its inputs; None for one that is left out.
        known: Values of its inputs; None where they are not known.
        num_results: Number of its outputs.
        options: The table of its options, None where it has none.
        other: The same with the least that it may be given, if this is the most, and the reverse.
        is_least: Whether this is the least.
        read: Inputs whose values said a shape, filled by `shapes_of`.
    """

    kind: int
    shapes: Sequence[Shape | None]
    known: Sequence[Any]  # arrays, or None
    num_results: int
    options: Any  # a Table, or None
    other: "Step | None" = None
    is_least: bool = False
    read: set[int] = field(default_factory=set)

    def shape(self, index: int) -> Shape:
        """The shape of an input, which must be there."""
        if index >= len(self.shapes) or (shape := self.shapes[index]) is None:
            raise ValueError(f"operator {self.kind} lacks its input {index}")
        return shape

    def exact(self, index: int) -> Shape:
        """The shape of an input with which results do not only grow."""
        if self.other is not None and self.shape(index) != self.other.shape(index):
            raise self.unknown()
        return self.shape(index)

    def numbers(self, index: int) -> list[int]:
        """The values of an input that say how a shape comes of others."""
        if not self.is_exact(index):
            raise self.unknown()
        return self.sides(index)

    def sides(self, index: int) -> list[int]:
        """The values of an input that are sides of a shape."""
        self.shape(index)
        if (values := self.known[index]) is None:
            raise self.unknown()
        self.read.add(index)
        return [int(value) for value in values.ravel()]

    def is_exact(self, index: int) -> bool:
        """Whether the values of an input are known and can't be others."""
        if self.known[index] is None or self.other is None:
            return self.known[index] is not None
        return np.array_equal(self.known[index], self.other.known[index])

    def unknown(self) -> UnknownSizeError:
        """What to raise where a shape can't be told."""
        return UnknownSizeError(
            f"operator {self.kind}, whose result is as large as numbers say that come of examples"
        )

    def option(self, slot: int, kind=number_types.Int32Flags) -> int:
        """A number of the options; slots are those of the table, 4 the first."""
        offset = self.options.Offset(slot) if self.options else 0
        return int(self.options.Get(kind, self.options.Pos + offset)) if offset else 0

    def flag(self, slot: int) -> bool:
        """A truth value of the options, or a kind that is not the first."""
        return bool(self.option(slot, number_types.Int8Flags))

    def options_list(self, slot: int) -> list[int]:
        """A vector of int32 of the options."""
        offset = self.options.Offset(slot) if self.options else 0
        if not offset:
            return []
        place, number = self.options.Vector(offset), self.options.VectorLen(offset)
        return np.frombuffer(self.options.Bytes, "<i4", min(number, _MOST_SIDES), place).tolist()


def shapes_of(step: Step) -> list[Shape]:
    """The shapes of an operator's results.

    Raises:
        UnknownSizeError: If they can't be told before it runs.
        ValueError, IndexError, ArithmeticError: If what it is given does not fit together.
    """
    if step.kind not in _RULES:
        raise UnknownSizeError(f"operator {step.kind}, which the models of this package lack")
    found = _RULES[step.kind](step)
    shapes = found if isinstance(found, list) else [found] * step.num_results
    if any(side < 0 for shape in shapes for side in shape) or len(shapes) < step.num_results:
        raise ValueError(f"operator {step.kind} gives {shapes}")
    return shapes


def scratch_bytes(step: Step, shapes: Sequence[Shape]) -> int:
    """At most how many bytes an operator takes for itself while it works."""
    if step.kind in (_CONV, _DEPTHWISE):  # the windows side by side, or a pointer to each
        _, height, width, _ = step.shape(1)
        values = 4 * step.shape(0)[3] if step.kind == _CONV else 0
        return math.prod(shapes[0][:3]) * height * width * max(8, values)
    if step.kind in _POOLS:
        return math.prod(shapes[0][:3]) * step.option(10) * step.option(12) * 8
    if step.kind == _TRANSPOSE_CONV:
        channels, height, width, _ = step.shape(1)
        return 4 * math.prod(step.shape(2)[:3]) * height * width * max(2, channels)
    if step.kind in (_BATCH_MATMUL, _RFFT2D):  # transposed, or of twice the precision
        return sum(16 * math.prod(shape) for shape in [*step.shapes[:2], *shapes] if shape)
    return 0


def _first(step: Step) -> Shape:
    return step.shape(0)


def _broadcast(step: Step) -> Shape:
    return np.broadcast_shapes(*(step.shape(i) for i in range(len(step.shapes))))


def _windows(shape: Shape, window: Sequence[int], strides: Sequence[int], valid: bool) -> Shape:
    """Height and width of what windows give that move over pictures."""
    if min(*strides, *window) < 1:
        raise ValueError(f"windows of {window} by steps of {strides}")
    _, *sides, _ = shape
    less = [side - 1 if valid else 0 for side in window]
    height, width = (
        max(0, -(-(side - off) // stride))
        for side, off, stride in zip(sides, less, strides, strict=True)
    )
    return height, width


def _conv(step: Step) -> Shape:
    channels, *kernel, _ = step.exact(1)
    return (step.shape(0)[0], *_convolved(step, kernel, (8, 6), (14, 12)), channels)


def _depthwise(step: Step) -> Shape:
    _, *kernel, channels = step.exact(1)
    return (step.shape(0)[0], *_convolved(step, kernel, (8, 6), (16, 14)), channels)


def _convolved(step: Step, kernel: Sequence[int], strides: Shape, dilations: Shape) -> Shape:
    spread = [max(1, step.option(slot)) for slot in dilations]
    window = [(side - 1) * gap + 1 for side, gap in zip(kernel, spread, strict=True)]
    return _windows(step.shape(0), window, [step.option(slot) for slot in strides], step.flag(4))


def _pool(step: Step) -> Shape:
    batch, _, _, channels = step.shape(0)
    window, strides = [step.option(12), step.option(10)], [step.option(8), step.option(6)]
    return (batch, *_windows(step.shape(0), window, strides, step.flag(4)), channels)


def _transpose_conv(step: Step) -> Shape:
    batch, height, width, channels = step.sides(0)
    return batch, height, width, max(channels, step.shape(1)[0])


def _concatenation(step: Step) -> Shape:
    shapes = [step.shape(i) for i in range(len(step.shapes))]
    axis = axis_of(step.option(4), len(shapes[0]))
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rest) != 1:
        raise ValueError(f"shapes that can't be joined: {shapes[:5]}")
    whole = sum(shape[axis] for shape in shapes)
    return shapes[0][:axis] + (whole,) + shapes[0][axis + 1 :]


def _pack(step: Step) -> Shape:
    shape = _broadcast(step)
    axis = axis_of(step.option(6), len(shape) + 1)
    return (*shape[:axis], len(step.shapes), *shape[axis:])


def _unpack(step: Step) -> Shape:
    axis = axis_of(step.option(6), len(step.shape(0)))
    return step.shape(0)[:axis] + step.shape(0)[axis + 1 :]


def _split(step: Step) -> Shape:
    shape = step.shape(1)
    axis = axis_of(step.numbers(0)[0], len(shape))
    return (*shape[:axis], shape[axis] // step.num_results, *shape[axis + 1 :])


def _split_by_sizes(step: Step) -> list[Shape]:
    shape, sizes = step.shape(0), step.numbers(1)
    axis = axis_of(step.numbers(2)[0], len(shape))
    rest = shape[axis] - sum(size for size in sizes if size >= 0)
    return [(*shape[:axis], rest if size < 0 else size, *shape[axis + 1 :]) for size in sizes]


def _reshape(step: Step) -> Shape:
    by_input = len(step.shapes) > 1 and len(step.shape(1)) == 1
    sides = step.sides(1) if by_input else step.options_list(4)
    count = math.prod(step.shape(0))
    if -1 in sides:
        if by_input:
            step.numbers(1)
        rest = math.prod(side for side in sides if side != -1)
        sides = [count // rest if side == -1 else side for side in sides]
    if math.prod(sides) != count:
        raise ValueError(f"{step.shape(0)} in the form of {sides}")
    return tuple(sides)


def _squeeze(step: Step) -> Shape:
    shape = step.shape(0)
    dropped = {axis_of(axis, len(shape)) for axis in step.options_list(4)}
    dropped = dropped or {axis for axis, side in enumerate(step.exact(0)) if side == 1}
    if any(shape[axis] != 1 for axis in dropped):
        raise ValueError(f"{shape} without {dropped}")
    return tuple(side for axis, side in enumerate(shape) if axis not in dropped)


def _expand(step: Step) -> Shape:
    shape = step.shape(0)
    axis = axis_of(step.numbers(1)[0], len(shape) + 1)
    return (*shape[:axis], 1, *shape[axis:])


def _transpose(step: Step) -> Shape:
    return _unfilled(step.shape(0)).transpose(step.numbers(1)).shape


def _gather(step: Step) -> Shape:
    shape, places = step.shape(0), step.shape(1)
    axis, batch = axis_of(step.option(4), len(shape)), step.option(6)
    batch += len(places) if batch < 0 else 0
    return (*shape[:axis], *places[batch:], *shape[axis + 1 :])


def _gather_nd(step: Step) -> Shape:
    *places, depth = step.exact(1)
    return (*places, *step.shape(0)[depth:])


def _reduce(step: Step) -> Shape:
    shape = step.shape(0)
    axes = {axis_of(axis, len(shape)) for axis in step.numbers(1)}
    if step.flag(4):
        return tuple(1 if axis in axes else side for axis, side in enumerate(shape))
    return tuple(side for axis, side in enumerate(shape) if axis not in axes)


def _arg(step: Step) -> Shape:
    axis = axis_of(step.numbers(1)[0], len(step.shape(0)))
    return step.shape(0)[:axis] + step.shape(0)[axis + 1 :]


def _top(step: Step) -> Shape:
    return (*step.shape(0)[:-1], step.sides(1)[0])


def _one_hot(step: Step) -> Shape:
    shape = step.shape(0)
    axis = axis_of(step.option(4), len(shape) + 1)
    return (*shape[:axis], step.sides(1)[0], *shape[axis:])


def _strided_slice(step: Step) -> Shape:
    return sliced(step, _unfilled(step.shape(0))).shape


def sliced(step: Step, array: np.ndarray) -> np.ndarray:
    """What a STRIDED_SLICE takes of an array."""
    no_begin, no_end, ellipsis, new, shrunk = (step.option(slot) for slot in range(4, 14, 2))
    number = math.prod(step.shape(1))
    is_known = step.is_exact(1) and step.is_exact(2)
    begins, ends = (step.numbers(i) if is_known else [0] * number for i in (1, 2))
    is_exact = is_known and (step.other is None or step.shape(0) == step.other.shape(0))
    index: list = []
    for i, (begin, end, stride) in enumerate(zip(begins, ends, step.numbers(3), strict=True)):
        is_open = no_begin >> i & 1, no_end >> i & 1
        if ellipsis >> i & 1:
            index.append(...)
        elif new >> i & 1:
            index.append(None)
        elif shrunk >> i & 1:
            index.append(begin)
        elif all(is_open) or not (is_exact or step.is_least):
            index.append(slice(None, None, stride))
        elif not is_exact:
            index.append(slice(0, 1))
        else:
            end += begin if step.flag(14) else 0
            first, last = is_open
            index.append(slice(None if first else begin, None if last else end, stride))
    return array[tuple(index)]


def _slice(step: Step) -> Shape:
    shape, sizes = step.shape(0), step.sides(2)
    begins = step.numbers(1) if -1 in sizes else [0] * len(sizes)
    return tuple(
        side - begin if size == -1 else size
        for side, begin, size in zip(shape, begins, sizes, strict=True)
    )


def _tile(step: Step) -> Shape:
    return tuple(a * b for a, b in zip(step.shape(0), step.sides(1), strict=True))


def _pad(step: Step) -> Shape:
    return _padded(step.shape(0), step.numbers(1))


def _padded(shape: Shape, numbers: Sequence[int]) -> Shape:
    ends = zip(shape, numbers[::2], numbers[1::2], strict=True)
    return tuple(side + before + after for side, before, after in ends)


def _resize(step: Step) -> Shape:
    batch, _, _, channels = step.shape(0)
    height, width = step.sides(1)
    return batch, height, width, channels


def _space_to_batch(step: Step) -> Shape:
    (batch, *sides), block = step.shape(0), step.numbers(1)
    padded = _padded(tuple(sides[: len(block)]), step.numbers(2))
    parts = [side // part for side, part in zip(padded, block, strict=True)]
    return (batch * math.prod(block), *parts, *sides[len(block) :])


def _batch_to_space(step: Step) -> Shape:
    (batch, *sides), block = step.shape(0), step.numbers(1)
    whole = tuple(side * part for side, part in zip(sides, block, strict=False))
    cropped = _padded(whole, [-number for number in step.numbers(2)])
    return (batch // math.prod(block), *cropped, *sides[len(block) :])


def _space_to_depth(step: Step) -> Shape:
    (batch, height, width, depth), block = step.shape(0), step.option(4)
    return batch, height // block, width // block, depth * block**2


def _depth_to_space(step: Step) -> Shape:
    (batch, height, width, depth), block = step.shape(0), step.option(4)
    return batch, height * block, width * block, depth // block**2


def _fully_connected(step: Step) -> Shape:
    width, depth = step.exact(1)
    if step.flag(8):
        return (*step.shape(0)[:-1], width)
    return math.prod(step.shape(0)) // depth, width


def _batch_matmul(step: Step) -> Shape:
    (*first, rows, inner), (*second, others, columns) = step.shape(0), step.shape(1)
    rows = inner if step.flag(4) else rows
    columns = others if step.flag(6) else columns
    return (*np.broadcast_shapes(tuple(first), tuple(second)), rows, columns)


def _embedding(step: Step) -> Shape:
    return (*step.shape(0), *step.shape(1)[1:])


def _range(step: Step) -> Shape:
    step.numbers(0), step.numbers(2)
    if (delta := step.known[2].item()) > 0:
        step.sides(1)
    else:
        step.numbers(1)
    return (max(0, math.ceil((step.known[1].item() - step.known[0].item()) / delta)),)


def _rfft(step: Step) -> Shape:
    height, width = step.numbers(1)
    return (*step.shape(0)[:-2], height, width // 2 + 1)


def _shape_in(index: int) -> Callable[[Step], Shape]:
    """A rule for operators of which an input says the shape."""
    return lambda step: tuple(step.sides(index))


def axis_of(axis: int, rank: int) -> int:
    """An axis, counted from the first one.

    Raises:
        ValueError: If there is none.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def _unfilled(shape: Shape) -> np.ndarray:
    """An array of a shape, which takes one byte."""
    return np.broadcast_to(np.int8(0), shape)


_CONV, _DEPTHWISE, _TRANSPOSE_CONV, _BATCH_MATMUL, _RFFT2D = 3, 4, 67, 126, 131
_POOLS = (1, 12, 17)  # AVERAGE_POOL_2D, L2_POOL_2D, MAX_POOL_2D
# Results of the form of the first input: DEQUANTIZE, FLOOR, L2_NORMALIZATION,
# LOCAL_RESPONSE_NORMALIZATION, LOGISTIC, RELU, RELU_N1_TO_1, RELU6, SOFTMAX, TANH, EXP,
# LOG_SOFTMAX, CAST, NEG, SIN, LOG, SQRT, RSQRT, FAKE_QUANT, LOGICAL_NOT, SQUARE, ZEROS_LIKE,
# LEAKY_RELU, ABS, CEIL, REVERSE_V2, COS, ELU, REVERSE_SEQUENCE, QUANTIZE, ROUND, HARD_SWISH,
# CUMSUM, IMAG, REAL, COMPLEX_ABS, GELU, DYNAMIC_UPDATE_SLICE, RELU_0_TO_1, SIGN.
_AS_FIRST = (6, 8, 11, 13, 14, 19, 20, 21, 25, 28, 47, 50, 53, 59, 66, 73, 75, 76, 80, 87, 92)
_AS_FIRST += (93, 98, 101, 104, 105, 108, 111, 112, 114, 116, 117, 128, 133, 134, 135, 150, 151)
_AS_FIRST += (152, 158)
# Of all inputs together: ADD, MUL, SUB, DIV, PRELU, MAXIMUM, MINIMUM, LESS, GREATER,
# GREATER_EQUAL, LESS_EQUAL, EQUAL, NOT_EQUAL, POW, LOGICAL_OR, LOGICAL_AND, FLOOR_DIV, FLOOR_MOD,
# SQUARED_DIFFERENCE, ADD_N, SELECT_V2, ATAN2, BITWISE_XOR, RIGHT_SHIFT.
_BROADCAST = (0, 18, 41, 42, 54, 55, 57, 58, 61, 62, 63, 71, 72, 78, 84, 86, 90, 95, 99, 106, 123)
_BROADCAST += (156, 160, 161)
_RULES: dict[int, Callable[[Step], Shape | list[Shape]]] = {
    **dict.fromkeys(_AS_FIRST, _first),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys((40, 74, 81, 82, 89, 91, 140), _reduce),  # MEAN, SUM, REDUCE_ and so on
    **dict.fromkeys((56, 79), _arg),  # ARG_MAX, ARG_MIN
    **dict.fromkeys((34, 60, 100), _pad),  # PAD, PADV2, MIRROR_PAD
    **dict.fromkeys((23, 97), _resize),  # RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR
    2: _concatenation,
    _CONV: _conv,
    _DEPTHWISE: _depthwise,
    5: _depth_to_space,
    7: _embedding,
    9: _fully_connected,
    22: _reshape,
    26: _space_to_depth,
    36: _gather,
    37: _batch_to_space,
    38: _space_to_batch,
    39: _transpose,
    43: _squeeze,
    45: _strided_slice,
    48: _top,
    49: _split,
    64: lambda step: step.shape(1),  # SELECT
    65: _slice,
    _TRANSPOSE_CONV: _transpose_conv,
    69: _tile,
    70: _expand,
    SHAPE: lambda step: (len(step.shape(0)),),
    83: _pack,
    85: _one_hot,
    88: _unpack,
    94: _shape_in(0),  # FILL
    96: _range,
    102: _split_by_sizes,
    107: _gather_nd,
    RANK: lambda step: (),
    122: _shape_in(2),  # SCATTER_ND
    _BATCH_MATMUL: _batch_matmul,
    130: _shape_in(1),  # BROADCAST_TO
    _RFFT2D: _rfft,
    145: lambda step: (max(step.shape(0)[0], step.shape(1)[0]),),  # BROADCAST_ARGS
}
