"""Quantisation-aware training: a student that already computes with rounded weights as it learns.

Integer files hold weights on a grid of 2^bits - 1 values a channel. A student that was trained
with float weights may lose accuracy when they move to that grid; one that sees the grid in each
forward pass learns weights which survive it.
"""

import keras
from keras import layers

from mmkd_tf.distill.fake_quantized import FakeQuantized
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.outputs import check_gives_logits
from mmkd_tf.models.routing import input_structure

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
