"""Quantisation-aware training: a student that already computes with rounded weights as it learns.

Integer files hold weights on a grid of 2^bits - 1 values a channel. A student that was trained
with float weights may lose accuracy when they move to that grid; one that sees the grid in each
forward pass learns weights which survive it.
"""

import keras
from keras import layers, ops

from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.inputs import check_gives_logits, input_structure

_KERNELS = ("kernel", "recurrent_kernel", "pointwise_kernel")
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
# What a file computes with integers throughout: convolutions and the pooling that they feed.
_INTEGER = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.AveragePooling2D,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
)


def quantization_aware(
    student: keras.Model,
    *,
    weight_bits: int = 8,
    embedding_bits: int = 4,
    activation_bits: int | None = 8,
) -> keras.Model:
    """Makes a twin of a student that computes as a quantised file of it would.

    The twin has the student's variables, inputs and layer names. Training it trains the student,
    which is then saved and exported as ever; what is measured on the twin while it trains is
    about what to expect of the quantised file.

    Where the file loses accuracy, train the twin in the student's place, with the same teacher.
    Where it should answer as the float student does, let that one teach: its copy as teacher,
    `terms=[SoftTargets(temperature=2.0, weight=1.0)]`, `hard_label_weight=0.0`, a low learning
    rate, and `trainable = False` for the student's normalisation layers, whose running means
    would otherwise move away from the teacher's.

    In each forward pass, training or not, kernels and embeddings are rounded to the nearest of
    `2^bits - 1` values, symmetric about zero, with one scale for each output channel (for each
    word in an embedding); what convolutions and pooling of pictures read, to `2^bits` values
    over its range in the batch, zero included. Gradients pass the rounding as if it were not
    there (straight through). Biases, normalisation, logits and the state of recurrent layers
    stay as they are. Within a nested model the weights are rounded, the activations not.

    Args:
        student: Functional or Sequential model that gives logits; stays as it is.
        weight_bits: Bits of kernels, 2 to 16.
        embedding_bits: Bits of embedding tables, 2 to 16.
        activation_bits: Bits of activations, 2 to 16; None leaves them float, as in files with
            integer weights only.

    Returns:
        A Functional model, to be given to `Distiller(student=...)` or compiled and fitted.

    Raises:
        TypeError: If `student` is no Functional or Sequential model.
        ValueError: If it does not give logits, or a number of bits is none.

    References:
        Jacob and others: Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, 2018 (simulated quantisation).
        Bengio, Leonard, Courville: Estimating or Propagating Gradients Through Stochastic
        Neurons for Conditional Computation, 2013 (the straight-through estimator).

    Examples:
        >>> import keras
        >>> inputs = {"image": keras.Input([4], name="image")}
        >>> student = keras.Model(inputs, keras.layers.Dense(3)(inputs["image"]))
        >>> twin = quantization_aware(student, weight_bits=4)
        >>> twin.trainable_variables[0] is student.trainable_variables[0]
        True
    """
    check_gives_logits(student, argument="student")
    bits = {"weight": weight_bits, "embedding": embedding_bits, "activation": activation_bits}
    problems = [
        f"`{name}_bits`: an int from 2 to 16{' or None' * (name == 'activation')}. "
        f"Received: {name}_bits={value!r}."
        for name, value in bits.items()
        if not (name == "activation" and value is None)
        and not (type(value) is int and 2 <= value <= 16)
    ]
    refuse(problems)
    # Uncompiled, and Functional where the student is Sequential.
    plain = keras.Model(input_structure(student), student.outputs[0], name=student.name)

    def quantized(operation):
        if not isinstance(operation, layers.Layer):
            return operation  # has no weights
        return FakeQuantized(
            operation,
            weight_bits=weight_bits,
            embedding_bits=embedding_bits,
            input_bits=activation_bits if isinstance(operation, _INTEGER) else None,
        )

    return keras.models.clone_model(plain, clone_function=quantized)


def keep_rounded_weights(twin: keras.Model) -> None:
    """Sets a student's weights to the rounded values with which its twin computes.

    The student then is what was trained: quantising it to as many bits finds its weights on the
    grid already. Until then its own accuracy is that of weights that nothing has tried.

    Args:
        twin: What `quantization_aware` gave for the student.

    Raises:
        ValueError: If it is something else.
    """
    quantized = [layer for layer in twin.layers if isinstance(layer, FakeQuantized)]
    if not quantized:
        raise ValueError(
            "`twin`: what quantization_aware() gave for the student. "
            f"Received: model '{twin.name}' without rounded layers."
        )
    for layer in quantized:
        for variable, value in layer.rounded().values():
            variable.assign(value)


@keras.saving.register_keras_serializable("mmkd_tf")
class FakeQuantized(layers.Layer):
    """Calls another layer, built, with its kernels and embeddings rounded.

    Its variables are this layer's too; `input_bits` is None where it reads floats.
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
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self):
        """Mirrors `__init__`; a copy made of it has variables of its own."""
        names = ("weight_bits", "embedding_bits", "input_bits")
        layer = keras.saving.serialize_keras_object(self.layer)
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "layer": layer, **own}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def round_weights(weights, *, bits: int, axes: tuple[int, ...]):
    """Rounds weights to a grid about zero, with gradients as if it did not.

    `scale = max|weights| / (2^(bits - 1) - 1)` over the axes, `round(weights / scale) * scale`.
    """
    scale = ops.max(ops.abs(weights), axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
    scale = ops.where(scale > 0, scale, 1)  # a channel of zeros stays so
    return weights + ops.stop_gradient(ops.round(weights / scale) * scale - weights)


def round_activations(values, *, bits: int):
    """Rounds floats to `2^bits` values from their minimum to their maximum, zero among them.

    Integers, as of a picture, stay as they are; gradients pass.
    """
    if not keras.backend.is_float_dtype(values.dtype):
        return values
    low = ops.stop_gradient(ops.minimum(ops.min(values), 0))
    high = ops.stop_gradient(ops.maximum(ops.max(values), 0))
    return keras.quantizers.fake_quant_with_min_max_vars(values, low, high, num_bits=bits)
