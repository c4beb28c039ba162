"""Checks, before anything is written, that a model and its examples can be exported."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from mmkd_tf.edge.interpreter import OUTPUTS
from mmkd_tf.models.routing import route

MAX_EXAMPLES = 500


def check_model(
    model: keras.Model,
    *,
    class_names: Sequence[str],
    examples: Mapping[str, np.ndarray],
    problems: Sequence[str] = (),
    task: str = "single_label",
) -> dict[str, np.ndarray]:
    """Checks a model against the export contract and picks the examples to try the file on.

    Args:
        model: Functional model with one output `[batch, num_classes]` and inputs that are named
            as modalities.
        class_names: Name of each class, in the order of the outputs.
        examples: By input name, examples in tensor form along the first axis. Inputs that the
            model lacks are left out, because teacher and student may differ in them.
        problems: What the caller found wrong with other arguments, to be listed along.
        task: What the model is for; one class of several needs two outputs or more.

    Returns:
        The first 500 examples for the model's inputs, in the inputs' dtypes.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If anything else is wrong; the message lists all of it.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model`: a Functional keras.Model. "
            f"Received: model={type(model).__name__}. Load a file with keras.saving.load_model()."
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`model`: a Functional keras.Model with named inputs. Received: a model of class "
            f"{type(model).__name__} without symbolic inputs. "
            "Build it from keras.Input(..., name='image') and the like."
        )
    problems = [*_model_problems(model), *_class_problems(model, class_names, task), *problems]
    problems += _example_problems(model, examples)
    if problems:
        raise ValueError("\n".join(problems))
    return {
        tensor.name: np.asarray(examples[tensor.name][:MAX_EXAMPLES]).astype(tensor.dtype)
        for tensor in model.inputs
    }


def call_by_name(model: keras.Model, inputs: Mapping):
    """Calls a model at inference with tensors by input name, however it nests them.

    Returns:
        The model's one output, `[batch, num_classes]`.
    """
    return keras.tree.flatten(model(route(model, inputs), training=False))[0]


def _model_problems(model: keras.Model) -> list[str]:
    problems = []
    names = [tensor.name for tensor in model.inputs]
    struct = None if isinstance(model, keras.Sequential) else model.input
    keys = list(struct) if isinstance(struct, dict) else names
    if sorted(keys) != sorted(names) or not all(name.isidentifier() for name in names):
        problems.append(
            "`model`: inputs named as their modalities, the same in the dict and in keras.Input. "
            f"Received: names {names}, keys {keys}. Name them with keras.Input(..., name='image')."
        )
    for tensor in model.inputs:
        if tensor.name == "image" and (len(tensor.shape) != 4 or tensor.shape[-1] != 3):
            problems.append(
                "`model`: an input `image` of shape [batch, height, width, 3]. "
                f"Received: {list(tensor.shape)}. Repeat grey pictures to three channels."
            )
        if tensor.name == "text" and len(tensor.shape) != 2:
            problems.append(
                "`model`: an input `text` of shape [batch, length]. "
                f"Received: {list(tensor.shape)}. Tokens are one id each."
            )
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            problems.append(
                "`model`: no state between calls. "
                f"Received: layer '{layer.name}' with stateful=True. Build it with stateful=False."
            )
    return problems


def task_problems(task: str) -> list[str]:
    """Says what is wrong with the name of a task."""
    if task in OUTPUTS:
        return []
    return [f"`task`: one of {', '.join(OUTPUTS)}. Received: task={task!r}."]


def _class_problems(model: keras.Model, class_names: Sequence[str], task: str) -> list[str]:
    shapes = [list(tensor.shape) for tensor in model.outputs]
    names = list(class_names)
    problems = []
    least = 2 if task == "single_label" else 1
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None or shapes[0][1] < least:
        more = " with two classes or more" if least == 2 else ""
        problems.append(
            f"`model`: one output, logits of shape [batch, num_classes]{more}. "
            f"Received: {shapes}. Export keras.Model(model.inputs, logits)."
        )
    elif task == "retrieval":
        if names:
            problems.append(
                f"`class_names`: none for retrieval, whose outputs are no classes. Received: "
                f"{names[:20]}."
            )
    elif shapes[0][1] != len(names):
        problems.append(
            f"`class_names`: one for each of the model's {shapes[0][1]} outputs. "
            f"Received: {len(names)} names. Give them in the order of the labels."
        )
    lines = [name for name in names if isinstance(name, str) and len(name.splitlines()) == 1]
    if len(set(lines)) != len(names):
        problems.append(
            "`class_names`: distinct texts of one line each, as labels.txt holds one a line. "
            f"Received: {names[:20]}."
        )
    return problems


def _example_problems(model: keras.Model, examples: Mapping[str, np.ndarray]) -> list[str]:
    missing = [tensor.name for tensor in model.inputs if tensor.name not in examples]
    if missing:
        return [
            f"`examples`: arrays for the inputs {[tensor.name for tensor in model.inputs]}. "
            f"Received: {sorted(examples)}, so {missing} are missing."
        ]
    problems = []
    for tensor in model.inputs:
        given = np.shape(examples[tensor.name])
        fits = len(given) == len(tensor.shape) and all(
            want in (None, size) for want, size in zip(tensor.shape[1:], given[1:], strict=True)
        )
        if not fits:
            problems.append(
                f"`examples`: {tensor.name} of shape {['n', *tensor.shape[1:]]}. "
                f"Received: {list(given)}."
            )
    sizes = {tensor.name: len(examples[tensor.name]) for tensor in model.inputs}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        problems.append(
            "`examples`: at least one, and equally many for each input. "
            f"Received: {sizes}. Give a few dozen from the test split."
        )
    return problems
