"""SoftTargetCache: what a teacher said of each example, read from disk into batches."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.teacher_names import keyed_outputs, output_key
from mmkd_tf.distill.targets.files import DamagedError, open_targets, read_manifest
from mmkd_tf.distill.targets.repeatable import check_batches, first_pass, inputs_of, unchanged

# Gathering from a tensor is several times faster than from a file, and costs its memory.
_MOST_BYTES_IN_MEMORY = 64 * 2**20


@keras.saving.register_keras_serializable("mmkd_tf")
class SoftTargetCache:
    """A teacher's outputs for each example, made by `cache_soft_targets` or `cache_batches`.

    It stands for the teacher, `Distiller(student=, teacher=cache)`, and feeds what the teacher
    said: `training_batches(dataset, soft_targets=cache)`, or `cache.zip(batches)`.

    Args:
        folder: The folder that it was made in.

    Attributes:
        folder: The folder.
        outputs: By name, `logits` and the layers that were asked for: memory-mapped float32
            arrays `[views, num_examples, ...]`.
        views: Number of views.
        num_examples: Number of examples.
        seed: Seed of the views; None where nothing is random.
        augment: Whether the views are augmented; None if batches were cached.
        fingerprint: Checksum of the data.

    Raises:
        DamagedError: A ValueError: the folder does not hold a whole cache.
    """

    def __init__(self, folder):
        self.folder = Path(folder).absolute()  # a saved Distiller may be loaded elsewhere
        if not self.folder.is_dir():
            raise DamagedError(
                f"`folder`: a whole cache of soft targets. Received: {self.folder}, which is not "
                "there. Move it back, or make it again with cache_soft_targets or cache_batches."
            )
        try:
            manifest = read_manifest(self.folder)
            self.outputs = open_targets(self.folder, manifest["files"])
        except DamagedError as error:
            raise DamagedError(
                f"`folder`: a whole cache of soft targets. Received: {self.folder} with {error}. "
                "Make it again with cache_soft_targets or cache_batches."
            ) from None
        key = manifest["key"]
        self.views, self.seed, self.augment = key["views"], key["seed"], key["augment"]
        self.fingerprint = key["data"]
        self._identity = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        self.num_examples = self.outputs["logits"].shape[1]
        self._inputs = manifest["inputs"]

    def reader(self) -> Callable:
        """Makes a function that reads a batch's outputs, for use in a `tf.data` pipeline.

        Returns:
            A function of the view's number and an int32 `[batch]` index of examples, which gives
            float32 `[batch, ...]` by output.
        """
        arrays = {
            name: values.reshape([-1, *values.shape[2:]]) for name, values in self.outputs.items()
        }
        if sum(values.nbytes for values in arrays.values()) <= _MOST_BYTES_IN_MEMORY:
            arrays = {name: tf.constant(values) for name, values in arrays.items()}

            def gather(rows):
                return [tf.gather(values, rows) for values in arrays.values()]
        else:

            def gather(rows):
                types = [tf.float32] * len(arrays)
                found = tf.numpy_function(
                    lambda rows: [np.asarray(values)[rows] for values in arrays.values()],
                    [rows],
                    types,
                    stateful=False,
                )
                shapes = [[None, *values.shape[1:]] for values in arrays.values()]
                return [tf.ensure_shape(v, shape) for v, shape in zip(found, shapes, strict=True)]

        def read(view, index):
            rows = tf.cast(view, tf.int64) * self.num_examples + tf.cast(index, tf.int64)
            return dict(zip(arrays, gather(rows), strict=True))

        return read

    def marker(self, teacher_name: str) -> str:
        """The key by which batches tell whose outputs they hold; another cache has another."""
        return output_key(teacher_name, f"cache-{self._identity}")

    def zip(self, batches: tf.data.Dataset, *, teacher_name: str = "teacher") -> tf.data.Dataset:
        """Adds the teacher's outputs to the batches that were cached.

        The examples must be the cached ones in the same order, pass after pass, which two passes
        over them make sure of; the size of the batches is no matter. To shuffle, do so afterwards,
        when each example has its outputs: `cache.zip(batches).unbatch().shuffle(1000).batch(32)`.

        Args:
            batches: Batches of `(x, y)` or `(x, y, sample_weight)`, where x is a dict.
            teacher_name: Name of the teacher in the Distiller.

        Returns:
            The same batches, where x has `<teacher_name>/logits` and so on besides.

        Raises:
            ValueError: If these are not the batches that were cached, or they change.
        """
        if self.augment is not None:
            raise ValueError(
                f"`zip`: a cache made by cache_batches. Received: {self.folder}, made by "
                "cache_soft_targets. Use training_batches(dataset, soft_targets=cache)."
            )
        check_batches(batches, self._inputs)
        digest, passed = first_pass(batches, self._inputs)
        if digest.hexdigest() != self.fingerprint:
            raise ValueError(
                f"`batches`: the {self.num_examples:,} examples that were cached in "
                f"{self.folder}, in their order. Received: {digest.num_examples:,} examples, of "
                "which some differ or stand elsewhere. Shuffle and augment after `zip`, or cache "
                "these batches in another folder."
            )
        for _ in unchanged(batches, self._inputs, passed):
            pass
        read = self.reader()

        def add(start, element):
            x = inputs_of(element)
            end = start + tf.shape(x[self._inputs[0]])[0]
            outputs = read(0, tf.range(start, end))
            x = {**x, **keyed_outputs(outputs, cache=self, teacher_name=teacher_name)}
            return end, (x, *element[1:]) if isinstance(element, tuple) else x

        return batches.scan(tf.constant(0), add).prefetch(2)

    def get_config(self) -> dict:
        """The folder; the outputs themselves stay there."""
        return {"folder": str(self.folder)}

    @classmethod
    def from_config(cls, config: dict) -> "SoftTargetCache":
        """Opens the folder again."""
        return cls(**config)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(v.shape[2:])}" for name, v in self.outputs.items())
        return (
            f"SoftTargetCache({str(self.folder)!r}): views: {self.views}, "
            f"examples: {self.num_examples:,}, outputs: {shapes}"
        )
