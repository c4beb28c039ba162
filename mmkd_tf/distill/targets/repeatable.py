"""Repeatable batches: the same examples in the same order, pass after pass."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from mmkd_tf.modalities.forms import teacher_forms


def inputs_of(element) -> Mapping[str, tf.Tensor]:
    """The inputs of what a data set gives: x of `x`, `(x, y)` or `(x, y, sample_weight)`."""
    return element[0] if isinstance(element, tuple) else element


def check_batches(batches: tf.data.Dataset, names: Iterable[str]) -> None:
    """Refuses what can't be read twice or lacks inputs that the teacher takes.

    Args:
        batches: What the caller was given.
        names: Names of the teacher's inputs.

    Raises:
        TypeError: If it is no `tf.data.Dataset` of dicts with a dense tensor for each input.
        ValueError: If it never ends.
    """
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
    x = teacher_forms(x) if isinstance(x, Mapping) else x
    names = list(names)
    specs = [x.get(name) for name in names] if isinstance(x, Mapping) else []
    if not specs or not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        received = {k: type(v).__name__ for k, v in x.items()} if isinstance(x, Mapping) else x
        raise TypeError(
            f"`batches`: x as a dict with a dense tensor for each of the teacher's inputs {names}. "
            f"Received: {received}. Name them: batches.map(lambda x, y: ({{'image': x}}, y))."
        )


class InputsDigest:
    """A running checksum of inputs that come batch by batch; the size of batches is no matter.

    Args:
        names: Names of the inputs that count, such as those that the teacher takes.

    Attributes:
        num_examples: Examples seen so far.
    """

    def __init__(self, names: Iterable[str]):
        self.num_examples = 0
        self._digests = {name: hashlib.sha256() for name in sorted(names)}
        self._kinds = {}

    def update(self, inputs: Mapping) -> None:
        """Adds a batch: by name, tensors `[batch, ...]`; others than the names are left out."""
        forms = teacher_forms(inputs)
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
    """Reads the batches once.

    Args:
        batches: The batches.
        names: Names of the inputs that count.

    Returns:
        The digest of all, and its checksum after each batch, for `unchanged`.
    """
    digest, passed = InputsDigest(names), []
    for element in batches:
        digest.update(inputs_of(element))
        passed.append(digest.hexdigest())
    return digest, passed


def unchanged(
    batches: tf.data.Dataset, names: Iterable[str], passed: list[str]
) -> Iterator[Mapping]:
    """Gives the inputs of each batch as long as they are those of a pass before.

    Args:
        batches: The batches.
        names: Names of the inputs that count.
        passed: The checksum after each batch of the pass before.

    Raises:
        ValueError: If a batch is another one, or there are more or fewer.
    """
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
