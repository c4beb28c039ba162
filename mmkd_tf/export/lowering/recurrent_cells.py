"""Splits recurrent cells into what all steps can share and what each step must do by itself."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers

States = list[tf.Tensor]


@dataclass(frozen=True)
class SplitCell:
    """A cell in two parts: `output, states = step(project(inputs), states)`.

    Attributes:
        project: From `[rows, ...]`, the inputs of any number of steps, to `[rows, ...]`.
        step: From one step's projected inputs, `[batch, ...]`, and the list of states to the
            step's output and the new states. It is the part that can't be done ahead.
        projection_size: Number of weights in `project`.
        step_size: Number of weights in `step`; None if that is not known.
        gives_state: Whether the output is the first of the new states.
    """

    project: Callable[[tf.Tensor], tf.Tensor]
    step: Callable[[tf.Tensor, States], tuple[tf.Tensor, States]]
    projection_size: int
    step_size: int | None
    gives_state: bool


def split_cell(cell: layers.Layer, states: Sequence) -> SplitCell:
    """Splits a cell, which is built already.

    Args:
        cell: An `LSTMCell`, `GRUCell` or `SimpleRNNCell`; any other cell gets all of its work in
            `step`.
        states: The cell's states in the nesting that it has them in.
    """
    known = {layers.LSTMCell: _lstm, layers.GRUCell: _gru, layers.SimpleRNNCell: _simple}
    if type(cell) not in known:  # a subclass may compute something else
        return SplitCell(lambda inputs: inputs, _call(cell, states), 0, None, gives_state=False)
    kernel, bias, step = known[type(cell)](cell)
    sizes = [math.prod(weight.shape) for weight in (cell.kernel, cell.recurrent_kernel)]

    def project(inputs):
        projected = tf.matmul(inputs, kernel)
        return projected if bias is None else projected + bias

    return SplitCell(project, step, *sizes, gives_state=True)


def _lstm(cell):
    kernel, recurrent_kernel, bias = _weights(cell)

    def step(inputs, states):
        output, carry = states
        gates = tf.split(inputs + tf.matmul(output, recurrent_kernel), 4, axis=1)
        candidate = cell.activation(gates.pop(2))
        write, forget, read = map(cell.recurrent_activation, gates)
        carry = forget * carry + write * candidate
        output = read * cell.activation(carry)
        return output, [output, carry]

    return kernel, bias, step


def _gru(cell):
    kernel, recurrent_kernel, bias = _weights(cell)
    recurrent_bias = None
    if bias is not None and cell.reset_after:
        bias, recurrent_bias = tf.unstack(bias)
    of_gates, of_candidate = tf.split(recurrent_kernel, [2 * cell.units, cell.units], axis=1)

    def reset_after(inputs, states):
        (output,) = states
        recurrent = tf.matmul(output, recurrent_kernel)
        if recurrent_bias is not None:
            recurrent += recurrent_bias
        inputs, recurrent = tf.split(inputs, 3, axis=1), tf.split(recurrent, 3, axis=1)
        keep = cell.recurrent_activation(inputs[0] + recurrent[0])
        reset = cell.recurrent_activation(inputs[1] + recurrent[1])
        candidate = cell.activation(inputs[2] + reset * recurrent[2])
        output = keep * output + (1 - keep) * candidate
        return output, [output]

    def reset_before(inputs, states):
        (output,) = states
        inputs = tf.split(inputs, 3, axis=1)
        recurrent = tf.split(tf.matmul(output, of_gates), 2, axis=1)
        keep = cell.recurrent_activation(inputs[0] + recurrent[0])
        reset = cell.recurrent_activation(inputs[1] + recurrent[1])
        candidate = cell.activation(inputs[2] + tf.matmul(reset * output, of_candidate))
        output = keep * output + (1 - keep) * candidate
        return output, [output]

    return kernel, bias, reset_after if cell.reset_after else reset_before


def _simple(cell):
    kernel, recurrent_kernel, bias = _weights(cell)
    activation = cell.activation or tf.identity

    def step(inputs, states):
        output = activation(inputs + tf.matmul(states[0], recurrent_kernel))
        return output, [output]

    return kernel, bias, step


def _weights(cell):
    bias = cell.bias if cell.use_bias else None
    return tuple(
        None if weight is None else keras.ops.convert_to_tensor(weight)
        for weight in (cell.kernel, cell.recurrent_kernel, bias)
    )


def _call(cell, nested):
    options = {"training": False} if "training" in inspect.signature(cell.call).parameters else {}

    def step(inputs, states):
        output, states = cell(inputs, keras.tree.pack_sequence_as(nested, states), **options)
        return output, keras.tree.flatten(states)

    return step
