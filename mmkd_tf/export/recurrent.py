"""Makes a model's layers fit for export while it is traced: LSTM, cuDNN and mixed precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras import layers


@contextmanager
def portable(model: keras.Model, *, lower_lstm: bool = False) -> Iterator[None]:
    """Within this context the model computes what an exported file shall compute.

    Mixed precision becomes float32 and cuDNN kernels, which only GPUs have, are not used. The
    model is as before when the context ends; other threads must not call it meanwhile.

    Args:
        model: Any Keras model; layers within layers are reached too.
        lower_lstm: Whether LSTM layers that give their last output run as `lowered_call` makes
            them, which needs a batch of one.
    """
    policies, attributes = [], []
    try:
        for layer in model._flatten_layers():  # the one way to layers inside wrappers
            policy = layer.dtype_policy
            if policy.quantization_mode is None and policy.compute_dtype != policy.variable_dtype:
                policies.append((layer, policy))
                layer.dtype_policy = policy.variable_dtype
            swaps = {"use_cudnn": False} if hasattr(layer, "use_cudnn") else {}
            if lower_lstm and _gives_last_output(layer):
                swaps["call"] = lowered_call(layer)
            for name, value in swaps.items():
                attributes.append((layer, name, vars(layer).get(name)))
                vars(layer)[name] = value  # past Keras, which tracks what is set on a layer
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy
        for layer, name, value in attributes:
            if value is None:
                del vars(layer)[name]
            else:
                vars(layer)[name] = value


def _gives_last_output(layer: keras.layers.Layer) -> bool:
    """Tells whether `lowered_call` does what the layer does; other layers keep Keras' loop."""
    return type(layer) is layers.LSTM and not (
        layer.return_sequences
        or layer.return_state
        or layer.stateful
        or layer.unroll
        or layer.zero_output_for_mask
    )


def lowered_call(layer: layers.LSTM) -> Callable[..., tf.Tensor]:
    """Makes a replacement for the `call` of an LSTM that TFLite runs well.

    The inputs of all steps are projected in one matrix product, and a loop visits the unmasked
    steps only, so that a short text costs little. It keeps no state between calls, needs builtin
    operators only, and gives zeros where all steps are masked, as Keras does. (Written out step
    by step, the LSTM of a small student ran 2 % faster in a file a third larger.)

    Args:
        layer: A built LSTM that gives its last output only.

    Returns:
        A function of `sequences` `[1, steps, input_dim]` and `mask` bool `[1, steps]`, with the
        other arguments of `LSTM.call`, that gives `[1, units]`.
    """
    keras_call = layer.call

    def call(sequences, initial_state=None, mask=None, training=False):
        if initial_state is not None or sequences.shape[0] != 1 or sequences.shape[1] is None:
            return keras_call(sequences, initial_state=initial_state, mask=mask, training=training)
        cell, num_steps = layer.cell, sequences.shape[1]
        kernel = keras.ops.convert_to_tensor(cell.kernel)
        recurrent_kernel = keras.ops.convert_to_tensor(cell.recurrent_kernel)
        projected = tf.matmul(tf.reshape(sequences, [num_steps, sequences.shape[2]]), kernel)
        if cell.use_bias:
            projected += keras.ops.convert_to_tensor(cell.bias)

        steps = tf.range(num_steps)
        if mask is not None:
            steps = tf.cast(tf.where(tf.reshape(mask, [num_steps]))[:, 0], tf.int32)
        if layer.go_backwards:
            steps = tf.reverse(steps, [0])

        def body(index, output, carry):
            inputs = tf.gather(projected, tf.gather(steps, [index]))
            gates = tf.split(inputs + tf.matmul(output, recurrent_kernel), 4, axis=1)
            candidate = cell.activation(gates.pop(2))
            write, forget, read = map(cell.recurrent_activation, gates)
            carry = forget * carry + write * candidate
            return index + 1, read * cell.activation(carry), carry

        zeros = tf.zeros([1, layer.units], projected.dtype)
        num_unmasked = tf.shape(steps)[0]
        return tf.while_loop(lambda index, *_: index < num_unmasked, body, [0, zeros, zeros])[1]

    return call
