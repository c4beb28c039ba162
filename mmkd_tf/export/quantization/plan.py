"""Decides, operator by operator, how a model is quantised."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.graph import (
    WEIGHTED,
    Operator,
    code_of,
    constant,
    consumers,
)

# Below this number of weights, half precision costs few bytes and 8 bits much accuracy.
_SMALL = 2**11
# From this number of weights on, integer arithmetic gains more than rounding its input costs.
_LARGE = 2**14
# From this number of weights on, dense layers are worth four bits: below, they are heads.
VERY_LARGE = 2**16
# A scale and a zero point of the format take this many bytes.
_BYTES_A_SCALE = 12
# Half precision knows no larger numbers, with some room.
_LARGEST_HALF = 6e4

# They hand on what integer convolutions give.
_PASSING = (
    Operator.ADD,
    Operator.AVERAGE_POOL_2D,
    Operator.CONCATENATION,
    Operator.HARD_SWISH,
    Operator.MAX_POOL_2D,
    Operator.MEAN,
    Operator.MUL,
    Operator.PAD,
    Operator.RELU,
    Operator.RESHAPE,
)
_DENSE = (Operator.FULLY_CONNECTED, Operator.SOFTMAX)


class Arithmetic(Enum):
    """What an operator computes with."""

    FLOAT = "float: weights are turned back into floats when the file is loaded"
    DYNAMIC = "integers: the input is rounded by its range in each call"
    STATIC = "integers: inputs and outputs are rounded by ranges seen beforehand"


@dataclass(frozen=True)
class Treatment:
    """What an operator computes with, and the bits of its weights; 16 is half precision."""

    arithmetic: Arithmetic
    bits: int


@dataclass(frozen=True)
class Scheme:
    """What a level does: bits of weights (16: half precision alone), embeddings, dense layers.

    `integer`: convolutions, and what follows them, run in integers throughout. Dense layers are
    large from 65,536 weights on.
    """

    weight_bits: int = 8
    integer: bool = False
    embedding_bits: int = 8
    large_dense_bits: int = 8


def plan(model: schema.ModelT, scheme: Scheme) -> list[list[Treatment | None]]:
    """Says for each operator of each graph how it is treated; None leaves it as it is.

    Gate arithmetic of recurrent layers is float in any case, as errors add up over the steps.
    """
    inside = _integer_operators(model, scheme) if scheme.integer else set()
    treatments = []
    for number, graph in enumerate(model.subgraphs):
        readers = consumers(graph)
        treatments.append(
            [
                Treatment(Arithmetic.STATIC, 8)
                if number == 0 and position in inside
                else _by_weights(model, graph, operator, readers, scheme)
                for position, operator in enumerate(graph.operators)
            ]
        )
    return treatments


def _by_weights(model, graph, operator, readers, scheme):
    code, weights = code_of(model, operator), _weights(model, graph, operator)
    if weights is None:
        return None
    halved = Treatment(Arithmetic.FLOAT, 16) if np.abs(weights).max() < _LARGEST_HALF else None
    if scheme.weight_bits == 16:
        return halved
    if code == Operator.EMBEDDING_LOOKUP and weights.shape[1] > 1:
        return Treatment(Arithmetic.DYNAMIC, scheme.embedding_bits)
    depthwise = code == Operator.DEPTHWISE_CONV_2D
    columns = weights.size // weights.shape[-1 if depthwise else 0]
    if weights.size < _SMALL or 2 * columns <= columns + _BYTES_A_SCALE:
        return halved
    if weights.size < _LARGE or depthwise:
        return Treatment(Arithmetic.FLOAT, 8)
    if weights.size >= VERY_LARGE and graph is model.subgraphs[0]:
        behind = _codes_behind(model, operator, readers)
        single = len(readers[int(operator.inputs[1])]) == 1
        if code == Operator.FULLY_CONNECTED and single and behind <= {*_DENSE, *_PASSING}:
            return Treatment(Arithmetic.DYNAMIC, scheme.large_dense_bits)
    return Treatment(Arithmetic.DYNAMIC, 8)


def _weights(model, graph, operator):
    if code_of(model, operator) not in (*WEIGHTED, Operator.EMBEDDING_LOOKUP):
        return None
    return constant(model, graph.tensors[operator.inputs[1]])


def _codes_behind(model, operator, readers):
    """Which operators read the output: those of recurrent layers are loops and splits."""
    return {code_of(model, reader) for reader in readers.get(int(operator.outputs[0]), [])}


def _integer_operators(model, scheme):
    """Finds convolutions and what follows them without a float between, by position."""
    # The runtime has no fast code for integers throughout with weights of 4 bits.
    too_large = VERY_LARGE if scheme.large_dense_bits == 4 else np.inf
    graph = model.subgraphs[0]
    readers, integers, found = consumers(graph), set(), set()
    for position, operator in enumerate(graph.operators):
        code = code_of(model, operator)
        floats = [
            int(index)
            for index in operator.inputs
            if index >= 0 and graph.tensors[index].type == schema.TensorType.FLOAT32
        ]
        if code in (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D):
            joins = _weights(model, graph, operator) is not None
        elif code == Operator.FULLY_CONNECTED:
            weights = _weights(model, graph, operator)
            joins = floats[0] in integers and weights is not None and weights.size < too_large
            # Logits keep their float form, and so do the inputs of recurrent layers.
            behind = _codes_behind(model, operator, readers)
            joins = joins and bool(behind) and behind <= {*_PASSING, code}
        else:
            joins = code in _PASSING and bool(floats) and integers.issuperset(floats)
        if joins:
            found.add(position)
            integers.update(map(int, operator.outputs))
    return found
