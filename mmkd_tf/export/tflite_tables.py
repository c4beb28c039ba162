"""Reads the tables of a TFLite model and writes them again."""

import struct

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
_BUFFER_ALIGNMENT = 16


def read_tables(content: bytes) -> schema.ModelT:
    """Reads a TFLite model; weights that lie behind its tables are taken in.

    A ValueError says that it is none, is cut off, or has operators' options behind the tables.
    """
    if content[4:8] != _IDENTIFIER:
        raise ValueError(
            f"`content`: a TFLite model. Received: {len(content):,} bytes of something else."
        )
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            "`content`: a whole TFLite model. Received: one that is cut off or damaged "
            f"({error}). Export or copy it again."
        ) from error
    for index, buffer in enumerate(model.buffers):
        # The schema's 0 and 1 stand for "in the tables" and "not yet known".
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(content):
                raise ValueError(
                    "`content`: a whole TFLite model. Received: one whose buffer "
                    f"{index} ends at byte {buffer.offset + buffer.size:,} of {len(content):,}."
                )
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    operators = [operator for graph in model.subgraphs for operator in graph.operators or ()]
    if any(operator.largeCustomOptionsOffset > 1 for operator in operators):
        raise ValueError(
            "`content`: a TFLite model of builtin operators. Received: one with options of custom "
            "operators behind its tables."
        )
    return model


def write_tables(model: schema.ModelT) -> bytes:
    """Writes a TFLite model, with weights at multiples of 16 bytes as the schema asks."""
    weights = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = _AlignedBuilder(weights + 4096)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns bytes, which weights are; flatbuffers' Python does not."""

    def CreateNumpyVector(self, x):  # noqa: N802
        if x.dtype == np.uint8:
            self.Prep(_BUFFER_ALIGNMENT, x.nbytes)
        return super().CreateNumpyVector(x)
