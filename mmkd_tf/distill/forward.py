"""Forward passes: logits and any named layers of a model, from one run over the batch."""

from collections.abc import Iterable

import keras

from mmkd_tf.models.routing import input_structure

LOGITS = "logits"


def multi_output(
    model: keras.Model, layer_names: Iterable[str] = (), *, argument: str
) -> keras.Model:
    """Makes a model that gives logits and the outputs of named layers together.

    It shares the layers of the given model, so it costs one forward pass and trains it.

    Args:
        model: A Functional or Sequential model that gives logits.
        layer_names: Names of its layers.
        argument: What the caller calls the model, for the message.

    Returns:
        A model with the same inputs and a dict of outputs: `logits` and each layer by its name.

    Raises:
        ValueError: If layers are not there, with the names of those that are, or a layer gives
            more than one tensor.
    """
    wanted = [name for name in dict.fromkeys(layer_names) if name != LOGITS]
    existing = [layer.name for layer in model.layers]
    missing = [name for name in wanted if name not in existing]
    tensors = _tensors_by_layer(model)
    if missing:
        raise ValueError(
            f"`{argument}`: a model with the layers that the terms name. Received: model "
            f"'{model.name}' without {missing}. Its layers are {existing}. Name one of them, or "
            "name the layer when the model is built."
        )
    several = [name for name in wanted if len(tensors[name]) > 1]
    if several:
        raise ValueError(
            f"`{argument}`: layers with one output each. Received: model '{model.name}', whose "
            f"layers {several} have several, or are called several times. Name a layer that takes "
            "one of these outputs."
        )
    outputs = {name: tensors[name][0] for name in wanted}
    # The model may be called with its own name for the logits: ours is always the same.
    return keras.Model(
        input_structure(model), {LOGITS: model.outputs[0], **outputs}, name=f"{model.name}_outputs"
    )


def _tensors_by_layer(model: keras.Model) -> dict[str, list]:
    """What each layer gives in this model, over all its calls.

    `layer.output` is what the layer gave at its first call, which for a model inside the model,
    or a layer that was used before, is a tensor of another graph.
    """
    tensors, pending, seen = {}, [model.outputs[0]], set()
    while pending:
        layer, call, _ = pending.pop()._keras_history
        if (layer.name, call) not in seen:
            seen.add((layer.name, call))
            node = layer._inbound_nodes[call]
            tensors.setdefault(layer.name, []).extend(node.output_tensors)
            pending += node.input_tensors
    return tensors


def output_shapes(model: keras.Model) -> dict[str, tuple]:
    """Shapes of a multi-output model's outputs by name, without the batch."""
    return {name: tuple(output.shape[1:]) for name, output in model.output.items()}
