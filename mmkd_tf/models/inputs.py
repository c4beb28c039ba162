"""Inputs: a model is given those that it names; and a check that it gives logits."""

from collections.abc import Mapping

import keras
from keras import layers

from mmkd_tf.modalities.modality import teacher_form

_PROBABILITIES = ("softmax", "sigmoid", "log_softmax")


def input_names(model: keras.Model) -> list[str]:
    """Names of a Functional model's inputs, in the model's order; refuses a subclassed model."""
    if not getattr(model, "inputs", None):
        raise TypeError(
            f"`model`: a Functional keras.Model, whose inputs have names. Received: "
            f"{type(model).__name__} '{getattr(model, 'name', '?')}'. Wrap it: call it on a dict "
            "of keras.Input and make keras.Model(inputs, outputs)."
        )
    structure = input_structure(model)
    if isinstance(structure, Mapping):
        return list(structure)
    return [tensor.name for tensor in model.inputs]


def route(model: keras.Model, inputs, *, teacher: str | None = None):
    """Picks a model's inputs out of a batch, in the structure that the model was built with.

    A teacher, `teacher` being its name, gets its own form of an input where the batch has one, as
    `<teacher>/<input>` for this teacher or `teacher/<input>` for all. Of a model with one input,
    `inputs` may be the tensor alone.
    """
    names = input_names(model)
    if not isinstance(inputs, Mapping):
        if len(names) == 1 and not isinstance(inputs, list | tuple):
            inputs = {names[0]: inputs}
        else:
            raise ValueError(
                f"`x`: a dict of inputs by name, because positions are easily mixed up. Received: "
                f"{type(inputs).__name__}. Model '{model.name}' wants {names}."
            )
    if teacher is not None:
        keys = [(n, key) for n in names for key in (teacher_form(n), f"{teacher}/{n}")]
        inputs = {**inputs, **{name: inputs[key] for name, key in keys if key in inputs}}
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(
            f"`x`: an entry for each input of model '{model.name}', {names}. Received: "
            f"{sorted(inputs)}; missing: {missing}. Name the keras.Input layers as the data."
        )
    structure = input_structure(model)
    if isinstance(structure, Mapping):
        return {name: inputs[name] for name in names}
    if isinstance(structure, list | tuple):
        return type(structure)(inputs[name] for name in names)
    return inputs[names[0]]


def input_structure(model: keras.Model):
    """How a model nests its inputs; a Sequential one has no `input` until it is called."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def probability_layer(model: keras.Model) -> layers.Layer | None:
    """The softmax or sigmoid, or what ends in one, at a model's end; None if it gives logits."""
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
    """Refuses a model, `argument` to the caller, that gives no `[batch, num_classes]` logits."""
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
    advice = (
        "build the model without it"
        if layer not in model.layers
        else f"set {argument}.get_layer('{layer.name}').activation = None"
        if hasattr(layer, "units")
        else f"make keras.Model({argument}.input, {argument}.get_layer('{layer.name}').input)"
    )
    raise ValueError(
        f"`{argument}`: logits, the values before a softmax, because softening divides them by "
        f"the temperature. Received: model '{model.name}', which ends in probabilities (layer "
        f"'{layer.name}'). To correct it without training again, {advice}."
    )
