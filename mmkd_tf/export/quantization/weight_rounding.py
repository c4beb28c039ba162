"""Moves a model's weights to the grids on which the quantizer will put them."""

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.export.quantization.observation import WEIGHTED
from mmkd_tf.export.quantization.plan import Treatment
from mmkd_tf.export.quantization.rounding import round_to_grid, row_steps
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, constant, set_constant


def round_weights(
    model: schema.ModelT,
    treatments: Sequence[Sequence[Treatment | None]],
    moments: Mapping[int, np.ndarray],
) -> None:
    """Rounds the weights of convolutions and dense layers that get 8 or 4 bits.

    Args:
        model: A float model; is changed.
        treatments: For each graph, one for each operator; see `plan.plan`.
        moments: What was seen of the main graph; see `observation.Observation`. Weights that
            have none there are rounded to the nearest.
    """
    for graph, row in zip(model.subgraphs, treatments, strict=True):
        seen = moments if graph is model.subgraphs[0] else {}
        for operator, treatment in zip(graph.operators, row, strict=True):
            if (
                treatment is None
                or treatment.bits == 16
                or code_of(model, operator) not in WEIGHTED
            ):
                continue
            index = int(operator.inputs[1])
            tensor = graph.tensors[index]
            weights, bits = constant(model, tensor), treatment.bits
            # A scale serves one output channel: the last axis of depthwise kernels.
            if code_of(model, operator) == Operator.DEPTHWISE_CONV_2D:
                rows = weights.reshape(-1, weights.shape[-1]).T
            else:
                rows = weights.reshape(len(weights), -1)
            steps = row_steps(rows, bits=bits)
            rows = round_to_grid(rows, steps=steps, bits=bits, moments=seen.get(index))
            if code_of(model, operator) == Operator.DEPTHWISE_CONV_2D:
                rows = rows.T
            set_constant(model, tensor, rows.reshape(weights.shape))
