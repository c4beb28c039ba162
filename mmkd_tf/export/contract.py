"""Checks, before anything is written, that a model and its examples can be exported."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.models.inputs import route
from mmkd_tf.tasks import DEFAULT_TASK, TASKS, Task, find_task
from mmkd_tf.tasks.labels import unfit_names

MAX_EXAMPLES = 500


def check_model(
    model: keras.Model,
    *,
    class_names: Sequence[str],
    examples: Mapping[str, np.ndarray],
    modalities: Mapping[str, Modality] | None = None,
    problems: Sequence[str] = (),
    task: Task | str = DEFAULT_TASK,
) -> dict[str, np.ndarray]:
    """Gives the first 500 examples in the inputs' dtypes; refuses what can't be exported.

    Raises a TypeError for another `model`, and a ValueError that lists all else, `problems` of the
    caller included. Examples of inputs that the model lacks are left out.
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
            "Build it from keras.Input(..., name='photo') and the like."
        )
    if isinstance(task, Task) or task in TASKS:
        more = _output_problems(model, list(class_names), find_task(task))
    else:
        more = [f"`task`: one of {', '.join(TASKS)}. Received: task={task!r}."]
    problems = [*_model_problems(model), *more, *problems]
    problems += _modality_problems(model, examples, modalities)
    problems += _example_problems(model, examples)
    if problems:
        raise ValueError("\n".join(problems))
    return {
        tensor.name: np.asarray(examples[tensor.name][:MAX_EXAMPLES]).astype(tensor.dtype)
        for tensor in model.inputs
    }


def call_by_name(model: keras.Model, inputs: Mapping):
    """Calls a model at inference with tensors by input name: `[batch, num_outputs]`."""
    return keras.tree.flatten(model(route(model, inputs), training=False))[0]


def modalities_of(model: keras.Model, examples: Mapping[str, np.ndarray]) -> dict[str, Modality]:
    """Tells by shape and dtype what the inputs of a model are; those of no kind are left out."""
    found = {}
    for tensor in getattr(model, "inputs", None) or ():
        kinds = [KINDS[tensor.name]] if tensor.name in KINDS else KINDS.values()
        sized = _sized(tensor, examples)
        made = next(filter(None, (kind.of_tensor(sized) for kind in kinds)), None)
        if made is not None:
            found[tensor.name] = made
    return found


def _sized(tensor: keras.KerasTensor, examples: Mapping[str, np.ndarray]) -> keras.KerasTensor:
    """The same input with the sizes of the examples where the model leaves them open."""
    given = np.shape(examples.get(tensor.name, ()))
    if len(given) != len(tensor.shape):
        return tensor
    sizes = [size if own is None else own for own, size in zip(tensor.shape, given, strict=True)]
    return keras.KerasTensor([None, *sizes[1:]], dtype=tensor.dtype, name=tensor.name)


def _model_problems(model: keras.Model) -> list[str]:
    problems = []
    names = [tensor.name for tensor in model.inputs]
    struct = None if isinstance(model, keras.Sequential) else model.input
    keys = list(struct) if isinstance(struct, dict) else names
    if sorted(keys) != sorted(names) or not all(name.isidentifier() for name in names):
        problems.append(
            "`model`: inputs named as their modalities, the same in the dict and in keras.Input. "
            f"Received: names {names}, keys {keys}. Name them with keras.Input(..., name='photo')."
        )
    return problems + [
        "`model`: no state between calls. "
        f"Received: layer '{layer.name}' with stateful=True. Build it with stateful=False."
        for layer in model._flatten_layers()
        if getattr(layer, "stateful", False)
    ]


def _modality_problems(
    model: keras.Model,
    examples: Mapping[str, np.ndarray],
    modalities: Mapping[str, Modality] | None,
) -> list[str]:
    """Says which inputs are not what they are said to be, by `modalities` or by their names."""
    names = [tensor.name for tensor in model.inputs]
    if modalities is None:
        found, problems = modalities_of(model, examples), []
        for tensor in model.inputs:
            known = None not in _sized(tensor, examples).shape[1:]
            if tensor.name in KINDS and tensor.name not in found and known:
                problems.append(
                    f"`model`: an input `{tensor.name}` of shape {KINDS[tensor.name].form}, as "
                    f"a {KINDS[tensor.name].noun} has it. Received: {list(tensor.shape)}. Build "
                    "it so, or name it otherwise."
                )
        return problems
    if not set(names) <= set(modalities):
        return [
            f"`modalities`: one for each input of the model. Received: {sorted(modalities)} for "
            f"the inputs {sorted(names)}."
        ]
    problems = []
    for name in sorted(set(names) & set(examples)):
        size = list(np.shape(examples[name])[1:])
        if size != list(modalities[name].input().shape[1:]):
            problems.append(
                f"`modalities`: {name} as in the examples, {size}. Received: "
                f"{modalities[name].describe()}. Give the modality that the model was built for."
            )
    return problems


def _output_problems(model: keras.Model, names: list[str], task: Task) -> list[str]:
    shapes = [list(tensor.shape) for tensor in model.outputs]
    least, problems = task.min_outputs, []
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None or shapes[0][1] < least:
        more = f" with {least} classes or more" if least > 1 else ""
        problems.append(
            f"`model`: one output, logits of shape [batch, num_classes]{more}. "
            f"Received: {shapes}. Export keras.Model(model.inputs, logits)."
        )
    else:
        problems += task.name_problems(names, shapes[0][1])
    return problems + unfit_names(names)


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
