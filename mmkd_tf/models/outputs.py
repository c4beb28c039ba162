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
    last = model.outputs[0]._keras_history.operation
    while isinstance(last, keras.Model) and last.outputs:
        last = last.outputs[0]._keras_history.operation
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    kind = type(last).__name__.lower()
    return last if activation in _PROBABILITIES or kind in _PROBABILITIES else None


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
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None or shapes[0][1] < 2:
        raise ValueError(
            f"`{argument}`: one output, logits of shape (batch, num_classes) with at least two "
            f"classes. Received: model '{model.name}' with outputs of shape {shapes}. Make a "
            "model of its logits: keras.Model(model.input, model.get_layer(...).output)."
        )
    layer = probability_layer(model)
    if layer is None:
        return
    mend = (
        f"set {argument}.get_layer('{layer.name}').activation = None"
        if hasattr(layer, "units")
        else f"make keras.Model({argument}.input, {argument}.get_layer('{layer.name}').input)"
    )
    raise ValueError(
        f"`{argument}`: logits, the values before a softmax, because softening divides them by "
        f"the temperature. Received: model '{model.name}', which ends in probabilities (layer "
        f"'{layer.name}'). To mend it without training again, {mend}."
    )
