"""Hands a model to the LiteRT quantizer."""

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.plan import Arithmetic, Treatment
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, write_used
from mmkd_tf.export.tflite_tables import read_tables


def apply(
    model: schema.ModelT,
    treatments: Sequence[Sequence[Treatment | None]],
    ranges: Mapping[str, tuple[float, float]],
) -> bytes:
    """Quantises a model as planned, by a recipe with an entry for each operator.

    Args:
        model: A float model; no two tensors, also of different graphs, have the same name.
        treatments: For each graph, one for each operator; see `plan.plan`.
        ranges: By name of a tensor, the smallest and the largest value that it took; for those
            that integer arithmetic rounds.

    Returns:
        TFLite bytes, with all weights inside the tables.

    Raises:
        ImportError: If the quantizer is not installed.
    """
    try:
        from litert_quantizer import qtyping, quantizer
    except ImportError as error:
        raise ImportError(
            "Quantising a .tflite file needs the LiteRT quantizer: pip install litert-quantizer"
        ) from error
    content = write_used(model)
    tool = quantizer.Quantizer(content)
    names = {value: name for name, value in vars(Operator).items() if name.isupper()}
    for graph, row in zip(model.subgraphs, treatments, strict=True):
        for operator, treatment in zip(graph.operators, row, strict=True):
            if treatment is None:
                continue
            scope = ";".join(graph.tensors[index].name.decode() for index in operator.outputs)
            where = f"^{re.escape(scope)};$"
            name = qtyping.TFLOperationName(names[code_of(model, operator)])
            if treatment.arithmetic is Arithmetic.STATIC:
                tool.add_static_config(where, name, 8, treatment.bits)
            elif treatment.arithmetic is Arithmetic.DYNAMIC:
                lookup = name is qtyping.TFLOperationName.EMBEDDING_LOOKUP
                per = qtyping.QuantGranularity
                granularity = per.TENSORWISE if lookup else per.CHANNELWISE
                tool.add_dynamic_config(where, name, treatment.bits, granularity)
            elif treatment.bits == 16:
                key = quantizer.AlgorithmName.FLOAT_CASTING
                tool.add_weight_only_config(where, name, 16, algorithm_key=key)
            else:
                tool.add_weight_only_config(where, name, treatment.bits)
    if not tool.get_quantization_recipe():
        return content  # nothing in it is worth it
    seen = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tool keeps all tensors, and draws a progress bar
        result = tool.quantize(seen, enable_progress_bar=False, enable_progress_report=False)
    # Large weights lie behind the tables, where not every tool looks for them.
    return write_used(read_tables(bytes(result.quantized_model)))
