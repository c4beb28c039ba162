"""Fingerprints: what tells one teacher, and one pass over batches, from another."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.modalities.modality import teacher_inputs

# Keys of a config that change without any change of what the model says: freezing, compiling,
# and the numbers that Keras gives to objects while it saves them.
_IRRELEVANT = ("trainable", "compile_config", "shared_object_id")


def teacher_fingerprints(model: keras.Model) -> dict[str, str]:
    """Checksums of a model's weights and of its architecture, 64 hexadecimal digits each.

    Names of layers don't count, because Keras numbers those that have none of their own: the
    same model built again has others.
    """
    weights = hashlib.sha256()
    for weight in model.weights:
        values = weight.numpy()
        weights.update(f"{values.dtype}{values.shape}".encode())
        weights.update(np.ascontiguousarray(values).tobytes())
    try:
        config = model.get_config()
    except NotImplementedError:  # layers that can't be saved; their kinds say less, but something
        config = [type(layer).__qualname__ for layer in model.layers]
    names = {model.name: "#"}
    for name in _layer_names(config):
        names.setdefault(name, f"#{len(names)}")
    architecture = json.dumps(
        _renamed(config, names), sort_keys=True, default=lambda value: type(value).__qualname__
    )
    return {
        "teacher_weights": weights.hexdigest(),
        "teacher_architecture": hashlib.sha256(architecture.encode()).hexdigest(),
    }


def _layer_names(config) -> Iterable[str]:
    """Names of all layers in a config, those of models within models included, in order."""
    if isinstance(config, list | tuple):
        for value in config:
            yield from _layer_names(value)
    elif isinstance(config, dict):
        inner = config.get("config")
        # The name of a dtype policy is no layer's name: it says how the model computes.
        if isinstance(inner, dict) and "DTypePolicy" not in config.get("class_name", "DTypePolicy"):
            name = inner.get("name")
            yield from [name] if isinstance(name, str) else []
        for value in config.values():
            yield from _layer_names(value)


def _renamed(config, names: Mapping[str, str]):
    """Copies a config with other names for the layers and without what does not matter."""
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if key not in _IRRELEVANT}
        return {str(key): _renamed(value, names) for key, value in kept.items()}
    if isinstance(config, list | tuple):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def inputs_of(element) -> Mapping[str, tf.Tensor]:
    """The inputs of what a data set gives: x of `x`, `(x, y)` or `(x, y, sample_weight)`."""
    return element[0] if isinstance(element, tuple) else element


def check_batches(batches: tf.data.Dataset, names: Iterable[str]) -> None:
    """Refuses what can't be read twice or lacks one of the teacher's inputs `names`."""
    if not isinstance(batches, tf.data.Dataset):
        raise TypeError(
            "`batches`: a tf.data.Dataset of batches (x, y). Received: "
            f"{type(batches).__name__}. Make one: tf.data.Dataset.from_tensor_slices((x, y))"
            ".batch(32)."
        )
    if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`batches`: a finite number of batches, because each is asked for once. Received: "
            "infinitely many. Leave out repeat(), or repeat after the outputs were added."
        )
    x = inputs_of(batches.element_spec)
    x = teacher_inputs(x) if isinstance(x, Mapping) else x
    names = list(names)
    specs = [x.get(name) for name in names] if isinstance(x, Mapping) else []
    if not specs or not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        received = {k: type(v).__name__ for k, v in x.items()} if isinstance(x, Mapping) else x
        raise TypeError(
            f"`batches`: x as a dict with a dense tensor for each of the teacher's inputs {names}. "
            f"Received: {received}. Name them: batches.map(lambda x, y: ({{'image': x}}, y))."
        )


class InputsDigest:
    """A running checksum of the named inputs; they come batch by batch, of any sizes."""

    def __init__(self, names: Iterable[str]):
        self.num_examples = 0
        self._digests = {name: hashlib.sha256() for name in sorted(names)}
        self._kinds: dict[str, str] = {}

    def update(self, inputs: Mapping) -> None:
        """Adds a batch: by name, tensors `[batch, ...]`; others than the names are left out."""
        forms = teacher_inputs(inputs)
        for name, digest in self._digests.items():
            values = np.asarray(forms[name])
            kind = f"{values.dtype}{values.shape[1:]}"
            if self._kinds.get(name) != kind:
                digest.update(kind.encode())
                self._kinds[name] = kind
            if values.dtype == object:  # strings: their bytes, and where each ends
                for text in values.ravel():
                    digest.update(len(text).to_bytes(8, "little") + text)
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
            count = len(values)
        self.num_examples += count

    def hexdigest(self) -> str:
        """The checksum so far: 64 hexadecimal digits."""
        whole = hashlib.sha256()
        for name, digest in self._digests.items():
            whole.update(f"{name}:{digest.hexdigest()};".encode())
        return whole.hexdigest()


def first_pass(batches: tf.data.Dataset, names: Iterable[str]) -> tuple[InputsDigest, list[str]]:
    """Reads the batches once: the digest of all, and its checksum after each, for `unchanged`."""
    digest, passed = InputsDigest(names), []
    for element in batches:
        digest.update(inputs_of(element))
        passed.append(digest.hexdigest())
    return digest, passed


def unchanged(
    batches: tf.data.Dataset, names: Iterable[str], passed: list[str]
) -> Iterator[Mapping]:
    """Gives the inputs of each batch as long as their checksums are those `passed` before."""
    digest, count = InputsDigest(names), 0
    for count, element in enumerate(batches, start=1):
        digest.update(inputs_of(element))
        if count > len(passed) or digest.hexdigest() != passed[count - 1]:
            break
        yield inputs_of(element)
    if count != len(passed) or digest.hexdigest() != passed[-1]:
        raise ValueError(
            "`batches`: the same examples in the same order in each pass. Received: batches that "
            f"changed between two passes, first in batch {count}. Remove random augmentation (or "
            "make it once, with cache() behind it) and shuffling (or shuffle with a seed and "
            "reshuffle_each_iteration=False); cache_soft_targets has reproducible augmentation."
        )
