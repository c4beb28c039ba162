"""Routing: a model is given the inputs that it names, whatever else a batch holds."""

from collections.abc import Mapping

import keras

from mmkd_tf.modalities.forms import teacher_form


def input_names(model: keras.Model) -> list[str]:
    """Names of a Functional model's inputs, in the model's order.

    Raises:
        TypeError: If the model has no symbolic inputs (a subclassed model).
    """
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

    Args:
        model: A Functional model.
        inputs: A dict of tensors by input name; a single tensor also serves a model with
            one input.
        teacher: Name of the teacher that the model is; None for a student. A teacher is given
            its own form of an input where the batch has one: as `<teacher>/<input>` for this
            teacher, or as `teacher/<input>` for all.

    Returns:
        What to call the model with.

    Raises:
        ValueError: If inputs are missing, or several come without names.
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
        inputs = {**inputs, **_own_forms(names, inputs, teacher)}
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


def _own_forms(names, inputs: Mapping, teacher: str) -> dict:
    forms = {}
    for name in names:
        for key in (f"{teacher}/{name}", teacher_form(name)):
            if key in inputs:
                forms[name] = inputs[key]
                break
    return forms


def input_structure(model: keras.Model):
    """How a model nests its inputs; a Sequential one has no `input` until it is called."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
