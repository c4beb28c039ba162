"""Teachers: what one or several of them say of a batch, in one forward pass of each."""

from collections.abc import Iterable, Mapping

import keras
from keras import ops

from mmkd_tf.data.batches import output_key
from mmkd_tf.distill.step_checks import finite
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.inputs import input_structure, route

LOGITS = "logits"


class Teachers:
    """Runs teachers, or reads what was cached of them, once a batch, for the layers of terms.

    Held by a Distiller out of Keras' sight: a tracked teacher would be among the weights to
    train, to regularise and to place under `distiller.trainable = True`.
    """

    def __init__(self, teachers: Mapping, terms):
        self.teachers = dict(teachers)
        self.layers, self.models = {}, {}
        problems = [
            f"`terms`: teachers that the Distiller has, {list(self.teachers)}. Received: term "
            f"'{term.name}' with teacher={term.teacher!r}."
            for term in terms
            if term.teacher is not None and term.teacher not in self.teachers
        ]
        refuse(problems)
        for name, teacher in self.teachers.items():
            wanted = [term.teacher_layers for term in terms if term.teacher in (None, name)]
            self.layers[name] = tuple(dict.fromkeys(layer for some in wanted for layer in some))
            if isinstance(teacher, keras.Model):
                self.models[name] = multi_output(teacher, self.layers[name], argument=name)
            elif missing := [layer for layer in self.layers[name] if layer not in teacher.outputs]:
                problems.append(
                    f"`{name}`: a cache with the layers that the terms name. Received: one without "
                    f"{missing}; it holds {list(teacher.outputs)}. Make it again with "
                    f"layers={list(self.layers[name])}."
                )
        refuse(problems)

    def shapes(self, name: str) -> dict[str, tuple]:
        """Shapes of a teacher's outputs by layer, without the batch."""
        if name in self.models:
            return output_shapes(self.models[name])
        outputs = self.teachers[name].outputs
        return {layer: tuple(values.shape[2:]) for layer, values in outputs.items()}

    def __call__(self, x) -> dict[str, dict]:
        """What each teacher says of a batch: by teacher, by layer; no gradient flows.

        Values that are not finite are an InvalidArgumentError; XLA leaves this check out.
        """
        by_teacher: dict[str, dict] = {}
        for name in self.teachers:
            if name in self.models:
                model = self.models[name]
                outputs = model(route(model, x, teacher=name), training=False)
            else:
                outputs = _read(name, self.teachers[name], (LOGITS, *self.layers[name]), x)
            outputs = {**outputs, LOGITS: ops.cast(outputs[LOGITS], "float32")}
            by_teacher[name] = {}
            for layer, values in outputs.items():
                values = ops.stop_gradient(values)
                if keras.backend.is_float_dtype(values.dtype):
                    values = finite(values, f"{name}/{layer}")
                by_teacher[name][layer] = values
        return by_teacher


def _read(name: str, cache, layers, x) -> dict:
    keys = {layer: output_key(name, layer) for layer in layers}
    missing = [key for key in keys.values() if not isinstance(x, Mapping) or key not in x]
    if missing:
        raise ValueError(
            f"`x`: the cached outputs of teacher '{name}' beside the inputs. Received: a batch "
            f"without {missing}. Make batches with training_batches(..., soft_targets=cache) or "
            f"cache.zip(batches, teacher_name='{name}')."
        )
    if hasattr(cache, "marker") and cache.marker(name) not in x:
        raise ValueError(
            f"`x`: the outputs of teacher '{name}' from the cache that the Distiller was given, "
            f"{cache.folder}. Received: batches with those of another cache. Make them with this "
            "cache, or give the other one to the Distiller."
        )
    return {layer: x[key] for layer, key in keys.items()}


def multi_output(
    model: keras.Model, layer_names: Iterable[str] = (), *, argument: str
) -> keras.Model:
    """Makes a model with a dict of outputs: `logits` and each named layer, by its name.

    It shares the layers of the given model, so it costs one forward pass and trains it.
    `argument` is what the caller calls the model, for messages about layers that don't fit.
    """
    outputs = output_tensors(model, layer_names, argument=argument)
    return keras.Model(input_structure(model), outputs, name=f"{model.name}_outputs")


def output_tensors(model: keras.Model, layer_names: Iterable[str], *, argument: str) -> dict:
    """The outputs of `multi_output`, symbolic, without making the model."""
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
    # The model may be called with its own name for the logits: ours is always the same.
    return {LOGITS: model.outputs[0], **{name: tensors[name][0] for name in wanted}}


def _tensors_by_layer(model: keras.Model) -> dict[str, list]:
    """What each layer gives in this model, over all its calls.

    `layer.output` is what the layer gave at its first call, which for a model inside the model,
    or a layer that was used before, is a tensor of another graph.
    """
    tensors: dict[str, keras.KerasTensor] = {}
    pending, seen = [model.outputs[0]], set()
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
