"""Teacher names: how batches hold what teachers said, beside the inputs."""

from collections.abc import Mapping

import tensorflow as tf


def named_teachers(teachers) -> dict:
    """Gives every teacher a name: its key, its place in a list, or `teacher` if there is one.

    Args:
        teachers: A model or a cache, or several in a dict by name or a list.
    """
    if isinstance(teachers, Mapping):
        return dict(teachers)
    if isinstance(teachers, list | tuple):
        return {f"teacher_{index}": teacher for index, teacher in enumerate(teachers)}
    return {"teacher": teachers}


def output_key(teacher_name: str, output: str) -> str:
    """The key of a teacher's output in a batch; no input's name has a slash."""
    return f"{teacher_name}/{output}"


def keyed_outputs(outputs: Mapping, *, cache, teacher_name: str) -> dict:
    """Names a teacher's outputs as a batch holds them, with the marker of their cache.

    Args:
        outputs: By name, tensors `[batch, ...]`, `logits` among them.
        cache: Where they are from.
        teacher_name: Name of the teacher in the Distiller.

    Returns:
        What to add to the batch's inputs.
    """
    keyed = {output_key(teacher_name, name): values for name, values in outputs.items()}
    num_examples = tf.shape(outputs["logits"])[:1]
    return {**keyed, cache.marker(teacher_name): tf.zeros(num_examples, tf.uint8)}
