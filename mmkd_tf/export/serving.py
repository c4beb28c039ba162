"""Makes the signatures of a SavedModel: raw inputs or tensors to names and probabilities."""

import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.edge.interpreter import OUTPUTS
from mmkd_tf.export.contract import call_by_name
from mmkd_tf.export.decode import decode_picture
from mmkd_tf.export.heads import activate
from mmkd_tf.export.lowering.portable import portable
from mmkd_tf.modalities.modality import Modality


def save_serving_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    modalities: Mapping[str, Modality],
    inputs: Mapping[str, np.ndarray],
    task: str = "single_label",
) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `tensors`.

    Args:
        model: Functional model that gives logits.
        path: The folder to write.
        class_names: Name of each class, in the order of the outputs.
        modalities: By name, at least those of `inputs`.
        inputs: By input name, an array whose sizes after the first, and dtype, `tensors` takes.
        task: What the model is for, a key of `mmkd_tf.edge.interpreter.OUTPUTS`.
    """
    class_names = list(class_names)
    specs = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype, name=name)
        for name, values in inputs.items()
    }
    raw_specs = {name: tf.TensorSpec([None], tf.string, name=name) for name in inputs}

    @tf.function(input_signature=[specs], autograph=False)
    def tensors(batch):
        with portable(model):
            logits = call_by_name(model, batch)
        outputs = activate(logits, task=task)
        answer = {OUTPUTS[task]: outputs}
        if class_names:
            names = tf.constant(class_names)
            answer["class_names"] = tf.tile(names[tf.newaxis], [tf.shape(outputs)[0], 1])
        if task == "single_label":
            answer["label"] = tf.gather(names, tf.argmax(outputs, axis=1))
        return answer

    @tf.function(input_signature=[raw_specs], autograph=False)
    def serving_default(batch):
        ready = {name: _to_tensor(raw, modalities[name]) for name, raw in batch.items()}
        return tensors({name: tf.cast(ready[name], specs[name].dtype) for name in specs})

    module = tf.Module()
    # Tracked by hand: tf.Module finds no variables in Keras models, and no tables in modalities.
    module.weights = [variable.value for variable in model.variables]
    module.tables = [
        value
        for name in inputs
        for value in vars(modalities[name]).values()
        if isinstance(value, tf.lookup.StaticHashTable)
    ]
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # no word about assets
    try:
        signatures = {"serving_default": serving_default, "tensors": tensors}
        tf.saved_model.save(module, str(path), signatures=signatures)
    finally:
        logger.setLevel(level)


def _to_tensor(raw: tf.Tensor, modality: Modality) -> tf.Tensor:
    """Turns strings into a modality's tensors: files of pictures, or texts."""
    if modality.name != "image":
        return modality.to_tensor(raw)
    size = (modality.height, modality.width)
    return tf.map_fn(
        lambda content: decode_picture(content, height=size[0], width=size[1]),
        raw,
        fn_output_signature=tf.TensorSpec([*size, 3], tf.uint8),
    )
