"""A layer that calls another one with rounded weights, and the rounding."""

import keras
from keras import layers, ops

_KERNELS = ("kernel", "recurrent_kernel", "pointwise_kernel")
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)


@keras.saving.register_keras_serializable("mmkd_tf")
class FakeQuantized(layers.Layer):
    """Calls another layer with its kernels and embeddings rounded.

    Args:
        layer: The layer, built; its variables are this layer's too.
        weight_bits: Bits of its kernels.
        embedding_bits: Bits of its embedding tables.
        input_bits: Bits of what it reads; None for float.
    """

    def __init__(
        self,
        layer: layers.Layer,
        *,
        weight_bits: int,
        embedding_bits: int,
        input_bits: int | None = None,
        **kwargs,
    ):
        # The layer casts its inputs and variables by itself; rounding is done before, in float32.
        own = {"name": layer.name, "dtype": layer.dtype_policy, "autocast": False}
        super().__init__(**{**own, **kwargs})
        self.layer = layer
        self.weight_bits, self.embedding_bits = weight_bits, embedding_bits
        self.input_bits = input_bits
        self.supports_masking = layer.supports_masking
        self.built = True

    def call(self, *args, **kwargs):
        """Calls the layer as it is called itself."""
        if self.input_bits is not None:
            args = (round_activations(args[0], bits=self.input_bits), *args[1:])
        rounded = self.rounded()
        if not rounded:
            return self.layer(*args, **kwargs)
        values = {id(v): (v, v.value) for v in self.layer.variables} | rounded
        with keras.StatelessScope(list(values.values()), collect_losses=True) as scope:
            outputs = self.layer(*args, **kwargs)
        # Beyond the scope, which would keep them: moving means, random states, activity losses.
        for variable in self.layer.non_trainable_variables:
            value = scope.get_current_value(variable)
            if value is not values[id(variable)][1]:
                variable.assign(value)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def rounded(self) -> dict:
        """Variables that are rounded, with their rounded values, by the variable's id."""
        # The one way to layers inside wrappers.
        inner = [layer for layer in self.layer._flatten_layers() if isinstance(layer, _DEPTHWISE)]
        depthwise = {id(layer.kernel) for layer in inner}
        result = {}
        for variable in self.layer.weights:
            axes = tuple(range(len(variable.shape)))
            if variable.name == "embeddings":
                bits, axes = self.embedding_bits, axes[1:]
            elif variable.name == "depthwise_kernel" or id(variable) in depthwise:
                bits, axes = self.weight_bits, axes[:-2]  # a channel for each input and multiple
            elif variable.name in _KERNELS:
                bits, axes = self.weight_bits, axes[:-1]
            else:
                continue
            value = round_weights(variable.value, bits=bits, axes=axes)
            result[id(variable)] = (variable, value)
        return result

    def compute_mask(self, inputs, previous_mask):
        """The layer's mask."""
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self):
        """Mirrors `__init__`; a copy made of it has variables of its own."""
        names = ("weight_bits", "embedding_bits", "input_bits")
        layer = keras.saving.serialize_keras_object(self.layer)
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "layer": layer, **own}

    @classmethod
    def from_config(cls, config):
        """Makes the layer first."""
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def round_weights(weights, *, bits: int, axes: tuple[int, ...]):
    """Rounds weights to a grid about zero, with gradients as if it did not.

    `scale = max|weights| / (2^(bits - 1) - 1)`, `round(weights / scale) * scale`.

    Args:
        weights: float, any shape.
        bits: Bits of the integers.
        axes: The axes that share a scale.

    Returns:
        The same shape and dtype.
    """
    scale = ops.max(ops.abs(weights), axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
    scale = ops.where(scale > 0, scale, 1)  # a channel of zeros stays so
    return weights + ops.stop_gradient(ops.round(weights / scale) * scale - weights)


def round_activations(values, *, bits: int):
    """Rounds floats to `2^bits` values from their minimum to their maximum, zero among them.

    Args:
        values: Any shape; integers, as of a picture, stay as they are.
        bits: Bits of the integers.

    Returns:
        The same shape and dtype; gradients pass.
    """
    if not keras.backend.is_float_dtype(values.dtype):
        return values
    low = ops.stop_gradient(ops.minimum(ops.min(values), 0))
    high = ops.stop_gradient(ops.maximum(ops.max(values), 0))
    return keras.quantizers.fake_quant_with_min_max_vars(values, low, high, num_bits=bits)
