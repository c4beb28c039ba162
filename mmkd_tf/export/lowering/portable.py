"""Makes a model's layers fit for export while it is traced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras import layers

from mmkd_tf.export.recurrent import lowered_inner_loop
from mmkd_tf.models.fusion import Presence


@contextmanager
def portable(model: keras.layers.Layer, *, lower: bool = False) -> Iterator[None]:
    """Within this context the model computes what an exported file shall compute.

    Mixed precision becomes float32 and cuDNN kernels, which only GPUs have, are not used. The
    model is as before when the context ends; other threads must not call it meanwhile.

    Args:
        model: Any Keras model or layer; layers within layers are reached too.
        lower: Whether layers compute the same by operations that TFLite runs better: recurrent
            layers (see `mmkd_tf.export.recurrent`), `Embedding` and `Presence`.
    """
    policies, attributes = [], []
    try:
        for layer in model._flatten_layers():  # the one way to layers inside wrappers
            policy = layer.dtype_policy
            if policy.quantization_mode is None and policy.compute_dtype != policy.variable_dtype:
                policies.append((layer, policy))
                layer.dtype_policy = policy.variable_dtype
            swaps = {"use_cudnn": False} if hasattr(layer, "use_cudnn") else {}
            if lower:
                swaps.update(_lowered(layer))
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


def _lowered(layer: keras.layers.Layer) -> dict[str, Callable]:
    """Gives replacements for methods of a layer, by name."""
    if isinstance(layer, layers.RNN) and not layer.stateful:
        return {"inner_loop": lowered_inner_loop(layer)}
    if type(layer) is layers.Embedding and layer.quantization_mode is None:
        return {"call": _plain_lookup(layer)}
    if type(layer) is Presence:
        return {"call": _lean_presence(layer)}
    return {}


def _plain_lookup(layer: layers.Embedding) -> Callable:
    """Leaves out what Keras does for negative ids, three operators, which no tokenizer gives."""

    def call(ids):
        table = keras.ops.convert_to_tensor(layer.embeddings)
        rows = tf.gather(table, tf.reshape(tf.cast(ids, tf.int32), [-1]))
        sizes = [-1 if size is None else size for size in ids.shape]
        if sizes.count(-1) > 1:
            sizes = tf.unstack(tf.shape(ids))
        return tf.reshape(rows, [*sizes, layer.output_dim])

    return call


def _lean_presence(layer: Presence) -> Callable:
    """Takes sums of what can't be negative, which the interpreter has faster than maxima."""
    keras_call = layer.call

    def call(inputs):
        axes = list(range(1, inputs.shape.rank))
        if inputs.dtype.is_unsigned:
            there = tf.reduce_sum(tf.cast(inputs, tf.float32), axes) > 0
        elif inputs.dtype.is_integer:
            there = tf.reduce_any(inputs != 0, axes)
        else:
            return keras_call(inputs)
        return tf.reshape(tf.cast(there, layer.compute_dtype), [-1, 1])

    return call
