"""Runs a float model on examples and notes what quantisation must know of its tensors."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.edge.interpreter import SIGNATURE
from mmkd_tf.export.quantization.tflite_graph import Operator, code_of, constant

_MAX_EXAMPLES = 512
_MAX_COLUMNS = 1024
_MAX_PATCHES_A_SIDE = 16

WEIGHTED = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)


@dataclass(frozen=True)
class Observation:
    """What was seen of a model's main graph.

    Attributes:
        ranges: By index of a float tensor that is no constant, its smallest and largest value.
        moments: By index of a tensor of weights, the sum of `outer(inputs, inputs)` over what
            the weights were multiplied with: `[columns, columns]`, for depthwise convolutions
            `[channels, columns, columns]`. Weights with very many columns have none.
    """

    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    moments: dict[int, np.ndarray] = field(default_factory=dict)


def observe(
    model: schema.ModelT, content: bytes, examples: Mapping[str, np.ndarray]
) -> Observation:
    """Runs up to 512 of the examples, evenly chosen, through a float model.

    Args:
        model: The model as objects.
        content: The same, packed.
        examples: By input name, examples in the form that the file takes, along the first axis.
    """
    graph, found = model.subgraphs[0], Observation()
    floats = [
        index
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == schema.TensorType.FLOAT32 and constant(model, tensor) is None
    ]
    weighted = [
        operator
        for operator in graph.operators
        if code_of(model, operator) in WEIGHTED
        and constant(model, graph.tensors[operator.inputs[1]]) is not None
    ]
    for value_of in runs(content, examples, limit=_MAX_EXAMPLES):
        for index in floats:
            value = value_of(index)
            if value is not None and value.size and np.isfinite(value).all():
                low, high = found.ranges.get(index, (np.inf, -np.inf))
                found.ranges[index] = (min(low, value.min()), max(high, value.max()))
        for operator in weighted:
            value = value_of(operator.inputs[0])
            if value is not None and value.size:
                _add_moments(model, graph, operator, value, found.moments)
    return found


def runs(content: bytes, examples: Mapping[str, np.ndarray], *, limit: int) -> Iterator:
    """Runs a model on examples and lets its inner tensors be read.

    Args:
        content: A TFLite model.
        examples: As `observe` takes them.
        limit: Largest number of examples, which are chosen evenly.

    Yields:
        After each run a function of the index of a tensor in the main graph that gives its
        value, or None where it has none, as in a branch that was not taken.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    details = interpreter.get_signature_runner(SIGNATURE).get_input_details()
    batch = next(iter(details.values()))["shape"][0]
    num_examples = len(next(iter(examples.values())))
    chosen = np.linspace(0, num_examples - 1, min(limit, num_examples)).astype(int)
    chosen = np.resize(chosen, -(-len(chosen) // batch) * batch)  # the last batch is made full

    def value_of(index):
        try:
            return interpreter.get_tensor(int(index))
        except ValueError:
            return None

    for rows in chosen.reshape(-1, batch):
        for name, detail in details.items():
            interpreter.set_tensor(detail["index"], examples[name][rows])
        interpreter.invoke()
        yield value_of


def _add_moments(model, graph, operator, value, moments):
    """Adds the second moments of what an operator's weights are multiplied with."""
    weights = int(operator.inputs[1])
    shape = graph.tensors[weights].shape
    code = code_of(model, operator)
    if np.prod(shape[1:3] if code == Operator.DEPTHWISE_CONV_2D else shape[1:]) > _MAX_COLUMNS:
        return
    if code == Operator.FULLY_CONNECTED:
        columns = value.reshape(-1, shape[1])
    else:
        columns = _patches(value, shape[1:3], operator.builtinOptions)
    columns = columns.astype(np.float64)
    if code == Operator.DEPTHWISE_CONV_2D:
        columns = columns.reshape(len(columns), -1, value.shape[3])
        columns = columns.repeat(shape[3] // value.shape[3], axis=2)
        columns = columns.transpose(2, 0, 1)  # [channels, patches, columns]
    else:
        columns = columns.reshape(len(columns), -1)
    moments[weights] = moments.get(weights, 0) + columns.swapaxes(-1, -2) @ columns


def _patches(value, kernel, options):
    """What a convolution's kernel meets: `[positions, height, width, channels]`.

    At most 256 positions an example, on a regular grid. Dilated kernels are looked at as if they
    were not: close pixels are alike.
    """
    strides = (options.strideH, options.strideW)
    if options.padding == schema.Padding.SAME:
        pads = [(0, 0)]
        for size, length, stride in zip(value.shape[1:3], kernel, strides, strict=True):
            missing = max((-(-size // stride) - 1) * stride + length - size, 0)
            pads.append((missing // 2, missing - missing // 2))
        value = np.pad(value, [*pads, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(value, kernel, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    every = -(-max(windows.shape[1:3]) // _MAX_PATCHES_A_SIDE)
    windows = windows[:, ::every, ::every].transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, *windows.shape[3:])
