"""Lowers recurrent layers to what TFLite runs well: stateless, builtin operators, any batch."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers

States = list[tf.Tensor]

# A tensor whose size depends on the text makes the interpreter plan all that follows anew, 6 us
# a call. Up to so many multiplications it is cheaper to project the padding too.
_LARGEST_STATIC_PROJECTION = 2**18
# Written out, up to 8 steps with 2**15 weights in all take .70 to .90 of the loop's time. More do
# not pay: the interpreter packs the weights of each step anew, and with twice as many, or twice
# the steps, it takes as long as the loop or longer; and a file grows by 2 KB a step. Masked steps
# are never written out: for a text of 5 words out of 24 that took 1.8 times the loop's time.
_LONGEST_UNROLLED = 8
_LARGEST_UNROLLED = 2**15


@dataclass(frozen=True)
class SplitCell:
    """A cell in two parts: `output, states = step(project(inputs), states)`.

    `project` takes the inputs of any number of steps, `[rows, ...]`; `step` is what can't be done
    ahead. Sizes are numbers of weights, None if unknown. `gives_state`: the output is the first
    new state.
    """

    project: Callable[[tf.Tensor], tf.Tensor]
    step: Callable[[tf.Tensor, States], tuple[tf.Tensor, States]]
    projection_size: int
    step_size: int | None
    gives_state: bool


def split_cell(cell: layers.Layer, states: Sequence) -> SplitCell:
    """Splits a built cell; one that is no LSTM, GRU or simple cell does all its work in `step`."""
    known = {layers.LSTMCell: _lstm, layers.GRUCell: _gru, layers.SimpleRNNCell: _simple}
    if type(cell) not in known:  # a subclass may compute something else
        return SplitCell(lambda inputs: inputs, _call(cell, states), 0, None, gives_state=False)
    kernel, bias, step = known[type(cell)](cell)
    size, step_size = (math.prod(w.shape) for w in (cell.kernel, cell.recurrent_kernel))

    def project(inputs):
        projected = tf.matmul(inputs, kernel)
        return projected if bias is None else projected + bias

    return SplitCell(project, step, size, step_size, gives_state=True)


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


def lowered_inner_loop(layer: layers.RNN) -> Callable:
    """Makes a replacement for the `inner_loop` of a recurrent layer.

    The steps that are not masked are set in front, their inputs are projected in one matrix
    product, and a loop visits as many as the longest sequence of the batch has. So a short text
    costs little, wherever its padding is. Without a mask, short sequences are written out step
    by step. Either way there is no state between calls, and the batch may be of any size.
    """
    keras_loop = layer.inner_loop

    def inner_loop(sequences, initial_state, mask, training=False):
        if keras.tree.is_nested(sequences) or sequences.shape[1] is None:
            return keras_loop(sequences, initial_state, mask, training=training)
        cell, states = split_cell(layer.cell, initial_state), keras.tree.flatten(initial_state)
        mask = keras.tree.flatten(mask)[0]
        if mask is None:
            output, outputs, states = _visit_all(layer, cell, sequences, states)
        else:
            mask = tf.reshape(tf.cast(mask, tf.bool), [-1, sequences.shape[1]])
            output, outputs, states = _visit_unmasked(layer, cell, sequences, states, mask)
        if outputs is None:
            outputs = output[:, tf.newaxis]
        return output, outputs, keras.tree.pack_sequence_as(initial_state, states)

    return inner_loop


def _visit_all(layer, cell: SplitCell, sequences, states):
    """Visits all steps, in a loop or written out."""
    if layer.go_backwards:
        sequences = tf.reverse(sequences, [1])
    num_steps = sequences.shape[1]
    inputs = _project(cell, sequences)
    unrolled = cell.step_size is not None and num_steps * cell.step_size <= _LARGEST_UNROLLED
    if num_steps > _LONGEST_UNROLLED or not unrolled:
        num_kept = num_steps if layer.return_sequences else 0
        output, kept, states = _loop(cell, inputs, states, num_kept=num_kept)
        return output, _swap_batch_and_time(kept[1:]) if num_kept else None, states
    outputs = []
    for index in range(num_steps):
        output, states = cell.step(inputs[index], states)
        outputs.append(output)
    return output, tf.stack(outputs, axis=1) if layer.return_sequences else None, states


def _visit_unmasked(layer, cell: SplitCell, sequences, states, mask):
    """Visits the unmasked steps in a loop."""
    num_steps, shown = sequences.shape[1], mask
    if layer.go_backwards:
        mask = tf.reverse(mask, [1])
    if not layer.unroll:  # Keras forgets to reverse this one where it writes the steps out
        shown = mask
    unmasked = tf.cast(mask, tf.int32)
    counts = tf.reduce_sum(unmasked, axis=1)
    longest = tf.reduce_max(counts)
    # Unmasked steps have the largest keys, and an earlier one has a larger key than a later one.
    steps = tf.math.top_k(unmasked * tf.range(num_steps, 0, -1), num_steps).indices
    if sequences.shape[0] is None or num_steps * cell.projection_size > _LARGEST_STATIC_PROJECTION:
        steps = steps[:, : tf.maximum(longest, 1)]  # a product of no rows fails
    if layer.go_backwards:
        steps = num_steps - 1 - steps
    inputs = _project(cell, tf.gather(sequences, steps, batch_dims=1))
    num_kept = num_steps if layer.return_sequences else 0
    output, kept, states = _loop(cell, inputs, states, counts=counts, num_kept=num_kept)
    if not layer.return_sequences:
        if layer.zero_output_for_mask:
            output = _choose(mask[:, -1], output, tf.zeros_like(output))
        return output, None, states
    # A masked step has the output of the last step before it that was visited; -1: of none.
    visits = tf.cumsum(unmasked, axis=1) - 1
    if layer.zero_output_for_mask:
        visits = tf.where(shown, visits, -1)
    places = visits + num_steps + 1 - longest
    return output, tf.gather(_swap_batch_and_time(kept), places, batch_dims=1), states


def _loop(cell: SplitCell, inputs, states, *, counts=None, num_kept=0):
    """Visits the first steps, as many as `counts`, int32 `[batch]`, says, of `[steps, batch, ...]`.

    Gives the last output `[batch, ...]`, zeros where no step was visited; the outputs
    `[num_kept + 1, batch, ...]`, the last one at the end and zeros before the first; the states.
    """
    num_steps = inputs.shape[0] if counts is None else tf.reduce_max(counts)
    output = tf.zeros_like(states[0] if cell.gives_state else cell.step(inputs[0], states)[0])
    # TFLite has no lists of tensors for an open batch, so new outputs push old ones to the front.
    kept = [tf.tile(output[tf.newaxis], [num_kept + 1] + [1] * output.shape.rank)]

    def body(index, output, states, kept):
        before = output, states
        output, states = cell.step(tf.gather(inputs, index), states)
        if counts is not None and inputs.shape[1] != 1:
            choose = functools.partial(_choose, index < counts)
            output, states = tf.nest.map_structure(choose, (output, states), before)
        kept = [tf.concat([rows[1:], output[tf.newaxis]], axis=0) for rows in kept]
        return index + 1, output, states, kept

    start = [0, output, states, kept if num_kept else []]
    _, output, states, kept = tf.while_loop(lambda index, *_: index < num_steps, body, start)
    return output, kept[0] if num_kept else None, states


def _project(cell: SplitCell, sequences):
    """Projects `[batch, steps, ...]` to `[steps, batch, ...]`."""
    batch_size, num_steps = sequences.shape[:2]
    sequences = _swap_batch_and_time(sequences)
    projected = cell.project(tf.reshape(sequences, [-1, *sequences.shape[2:]]))
    if num_steps is not None:
        sizes = [num_steps, -1]
    else:
        sizes = [-1, tf.shape(sequences)[1] if batch_size is None else batch_size]
    return tf.reshape(projected, [*sizes, *projected.shape[1:]])


def _swap_batch_and_time(tensor):
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _choose(condition, yes, no):
    """Chooses whole rows of `[batch, ...]` by `condition`, bool `[batch]`."""
    return tf.where(tf.reshape(condition, [-1] + [1] * (yes.shape.rank - 1)), yes, no)
