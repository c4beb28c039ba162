"""Checks that a model's output is what distillation and export build on: logits."""

import keras
from keras import layers

_PROBABILITIES = ("softmax", "sigmoid", "log_softmax")


def probability_layer(model: keras.Model) -> layers.Layer | None:
    """Finds the layer that turns logits into probabilities at a model's end.

    Args:
        model: A Functional or Sequential model with one output.

    Returns:
        The last layer if it is, or ends in, a softmax or sigmoid; None if the model gives logits.
    """
    last, call, _ = model.outputs[0]._keras_history
    while True:
        if isinstance(last, keras.Model) and last.outputs:
            tensor = last.outputs[0]
        elif _keeps_values(last):
            tensor = last._inbound_nodes[call].input_tensors[0]
        else:
            break
        last, call, _ = tensor._keras_history
    functions = (getattr(last, "activation", None), getattr(last, "function", None))
    names = {getattr(function, "__name__", "") for function in functions}
    names.add(type(last).__name__.lower())
    return last if names & set(_PROBABILITIES) else None


def _keeps_values(layer) -> bool:
    """Whether a layer gives in inference what it takes, at most in another shape or type."""
    if isinstance(layer, layers.Activation):
        return layer.activation is keras.activations.linear
    return isinstance(layer, layers.Dropout | layers.Identity | layers.Flatten | layers.Reshape)


def check_gives_logits(model: keras.Model, *, argument: str) -> None:
    """Refuses a model that does not give one `[batch, num_classes]` tensor of logits.

    Args:
        model: The model.
        argument: What the caller calls it, for the message.

    Raises:
        TypeError: If it is no Keras model with symbolic inputs and outputs.
        ValueError: If it has several outputs, another rank, or ends in a softmax.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "outputs", None):
        raise TypeError(
            f"`{argument}`: a Functional or Sequential keras.Model that is built. Received: "
            f"{type(model).__name__}. Wrap a subclassed model: call it on a dict of keras.Input "
            "and make keras.Model(inputs, outputs)."
        )
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None:
        raise ValueError(
            f"`{argument}`: one output, logits of shape (batch, num_classes). "
            f"Received: model '{model.name}' with outputs of shape {shapes}. Make a "
            "model of its logits: keras.Model(model.input, model.get_layer(...).output)."
        )
    layer = probability_layer(model)
    if layer is None:
        return
    mend = (
        "build the model without it"
        if layer not in model.layers
        else f"set {argument}.get_layer('{layer.name}').activation = None"
        if hasattr(layer, "units")
        else f"make keras.Model({argument}.input, {argument}.get_layer('{layer.name}').input)"
    )
    raise ValueError(
        f"`{argument}`: logits, the values before a softmax, because softening divides them by "
        f"the temperature. Received: model '{model.name}', which ends in probabilities (layer "
        f"'{layer.name}'). To mend it without training again, {mend}."
    )
