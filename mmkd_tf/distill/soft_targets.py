"""Soft targets: a teacher answers once for each view of the data, and students read it."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.data.batches import view_batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.checks import broken_weight_problems
from mmkd_tf.distill.fingerprints import (
    check_batches,
    first_pass,
    inputs_of,
    teacher_fingerprints,
    unchanged,
)
from mmkd_tf.distill.soft_target_files import (
    DamagedError,
    SoftTargetCache,
    foreign_files,
    move_in_place,
    read_manifest,
    unfinished_folder,
    write_manifest,
    write_targets,
)
from mmkd_tf.distill.teachers import LOGITS, multi_output
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.inputs import check_gives_logits, input_names, route
from mmkd_tf.progress import steps

_MEANINGS = {
    "teacher_weights": "teacher (other weights)",
    "teacher_architecture": "teacher (another architecture)",
    "data": "data (other examples)",
}


def cache_soft_targets(
    *,
    teacher: keras.Model,
    dataset: Dataset,
    folder,
    views: int = 1,
    seed: int = 0,
    augment: bool = True,
    layers: Sequence[str] = (),
) -> SoftTargetCache:
    """Runs the teacher once over views of the training split, or opens what is kept of it.

    View v is what epoch v of `training_batches` shows with the same seed, augmentation included.
    `training_batches(..., soft_targets=cache)` then shows view
    `e % views` in epoch e, so the student reads exactly what the teacher would give, and
    sees as many different pictures as there are views.

    Args:
        teacher: Functional model that gives logits, trained.
        dataset: The data.
        folder: Where the outputs are kept: a new or empty folder, or one that holds them.
        views: Number of views, 1 or more; each takes `4 * values` bytes an example.
        seed: Seed of the augmentation, as for `training_batches`.
        augment: Whether the views are augmented; if not, they are all the same.
        layers: Names of layers of the teacher whose outputs are kept besides the logits.

    Returns:
        The cache. One that was half-written or damaged is made again, with a warning.

    Raises:
        TypeError: If the teacher has no symbolic inputs.
        ValueError: If the folder holds something else, such as outputs of another teacher or
            for other data, if the teacher gives NaN or infinity, or an argument does not fit.
    """
    _check_teacher(teacher)
    _check_views(views, augment, dataset.sizes["train"])
    dataset = dataset.seen_by(teacher=True)
    key = {
        **teacher_fingerprints(teacher),
        "data": dataset.fingerprint(),
        "views": views,
        "augment": bool(augment),
        "seed": int(seed) if augment else None,
    }
    maker = TargetMaker(teacher, folder, key, layers)
    view: dict[str, Any] = {"seed": seed, "augment": augment}
    cache = maker.load()
    if cache is not None:
        last = view_batches(dataset, first_view=views - 1, views=views, **view)
        maker.check(cache, next(iter(last))[0])
        return cache
    batches = view_batches(dataset, views=views, **view)
    return maker.make((x for x, _ in batches), dataset.sizes["train"])


def cache_batches(
    *, teacher: keras.Model, batches: tf.data.Dataset, folder, layers: Sequence[str] = ()
) -> SoftTargetCache:
    """Runs the teacher once over any batches, or opens what is kept of it.

    The batches are read twice: what the teacher takes must be the same in both passes, since
    what it says can't belong to inputs that change. Feed them with `cache.zip(batches)`.

    Args:
        teacher: Functional model that gives logits, trained.
        batches: Finite batches of `(x, y)` or `(x, y, sample_weight)`, where x is a dict of
            tensors by input name, in an order that stays.
        folder: As for `cache_soft_targets`.
        layers: As for `cache_soft_targets`.

    Returns:
        The cache, with one view.

    Raises:
        TypeError: If the batches are no `tf.data.Dataset` of dicts, or the teacher has no
            symbolic inputs.
        ValueError: As for `cache_soft_targets`; also if the batches never end or change.
    """
    _check_teacher(teacher)
    names = input_names(teacher)
    check_batches(batches, names)
    digest, passed = first_pass(batches, names)
    _check_views(1, True, digest.num_examples)
    fingerprints = teacher_fingerprints(teacher)
    key = {**fingerprints, "data": digest.hexdigest(), "views": 1, "augment": None, "seed": None}
    maker = TargetMaker(teacher, folder, key, layers)
    cache = maker.load()
    if cache is not None:
        maker.check(cache, inputs_of(next(iter(batches))))
        return cache
    return maker.make(unchanged(batches, names, passed), digest.num_examples)


def _check_teacher(teacher: keras.Model) -> None:
    check_gives_logits(teacher, argument="teacher")
    refuse(broken_weight_problems(teacher, argument="teacher"))


def _check_views(views: int, augment: bool, num_examples: int) -> None:
    problems = []
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        problems.append(f"`views`: a whole number, 1 or more. Received: views={views!r}.")
    elif views > 1 and not augment:
        problems.append(
            f"`views`: 1 without augmentation, because all views are the same then. Received: "
            f"views={views}, augment={augment!r}."
        )
    if not num_examples:
        problems.append("`batches`, `dataset`: at least one training example. Received: none.")
    refuse(problems)


class TargetMaker:
    """Makes or opens the cache of one teacher in one folder; `key` tells it from others."""

    def __init__(self, teacher: keras.Model, folder, key: Mapping, layers: Sequence[str]):
        self.folder = Path(folder)
        self.outputs = TeacherOutputs(teacher, layers)
        self.key = {**key, "layers": sorted(set(self.outputs.names) - {LOGITS})}

    def load(self, *, warn: bool = True) -> SoftTargetCache | None:
        """Opens the cache if it is there and whole; warns if it is there and damaged."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"`folder`: a folder. Received: the file {self.folder}.")
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        try:
            self._check_key(read_manifest(self.folder)["key"])
            return SoftTargetCache(self.folder)
        except DamagedError as error:
            foreign = foreign_files(self.folder)
            if foreign:
                raise ValueError(
                    "`folder`: a new or empty folder, or a whole cache of soft targets. Received: "
                    f"{self.folder} with {len(foreign)} other files ({', '.join(foreign[:5])}) "
                    "and no whole cache. Choose another folder."
                ) from None
            if warn:
                warnings.warn(f"The cache is made again. {error}", stacklevel=3)
            return None

    def _check_key(self, made: Mapping) -> None:
        lines = [
            f"- {_MEANINGS.get(name) or f'{name}: {made.get(name)!r} there, now {now!r}'}"
            for name, now in self.key.items()
            if made.get(name) != now
        ]
        if lines:
            raise ValueError(
                "`folder`: a new or empty folder, or soft targets of this teacher for these data. "
                f"Received: {self.folder}, which differs in:\n" + "\n".join(lines) + "\n"
                "Choose another folder, or remove this one if nobody needs it."
            )

    def make(self, inputs: Iterable[Mapping], num_examples: int) -> SoftTargetCache:
        """Asks the teacher and writes what it says."""
        folder, names = self.folder.resolve(), input_names(self.outputs.teacher)
        views = self.key["views"]
        told = steps("views answered by the teacher", views * num_examples)
        with unfinished_folder(folder) as unfinished, told as advance:
            parts = _counted(self.outputs.of_each(inputs, num_examples), advance)
            files = write_targets(unfinished, parts=parts, views=views, num_examples=num_examples)
            write_manifest(unfinished, {"key": self.key, "inputs": names, "files": files})
            cache = self.load(warn=False)  # another process may have made it meanwhile
            if cache is None:
                move_in_place(unfinished, folder)
        return cache or SoftTargetCache(self.folder)

    def check(self, cache: SoftTargetCache, inputs: Mapping) -> None:
        """Asks the teacher again about the first examples of the last view.

        What it says depends on code too: that of augmentation and of the layers.
        """
        again = self.outputs.of(inputs)
        kept = {name: cache.outputs[name][-1, : len(values)] for name, values in again.items()}
        differing = [name for name in kept if differ(kept[name], again[name])]
        if differing:
            raise ValueError(
                f"`folder`: what this teacher says of these data. Received: {self.folder}, "
                f"where {differing} differ from what it says now, because the code of its layers "
                "or of the augmentation has changed. Choose another folder, or remove this one."
            )


def _counted(parts: Iterable[Mapping], advance) -> Iterator[Mapping]:
    for outputs in parts:
        yield outputs
        advance(len(outputs[LOGITS]))


class TeacherOutputs:
    """Asks a teacher for its logits and for the outputs of layers, in one pass over a batch."""

    def __init__(self, teacher: keras.Model, layers: Sequence[str]):
        if isinstance(layers, str) or not all(isinstance(name, str) for name in layers):
            raise TypeError(
                f"`layers`: a list of names of layers. Received: layers={layers!r}. Use ['name']."
            )
        self.teacher = teacher
        model = multi_output(teacher, layers, argument="teacher")
        self.names = list(model.output)

        def forward(inputs):
            # Exact: float32 holds every value of the half-precision types.
            outputs = model(inputs, training=False)
            return {name: tf.cast(values, tf.float32) for name, values in outputs.items()}

        self._forward = tf.function(forward, autograph=False)

    def of(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Gives the outputs for a batch: by name, float32 `[batch, ...]`."""
        inputs = route(self.teacher, inputs, teacher="teacher")
        # One graph for batches of any size.
        specs = tf.nest.map_structure(
            lambda v: tf.TensorSpec([None, *v.shape[1:]], v.dtype), inputs
        )
        outputs = self._forward.get_concrete_function(specs)(inputs)
        return {name: outputs[name].numpy() for name in self.names}

    def of_each(self, batches: Iterable[Mapping], num_examples: int) -> Iterator[dict]:
        """Gives the outputs of batches of whole views; they must be finite, each example's own."""
        row = 0
        for inputs in batches:
            outputs = self.of(inputs)
            self._check_finite(outputs, row, num_examples)
            if row == 0:
                self._check_same_for_fewer(inputs, outputs)
            row += len(outputs[LOGITS])
            yield outputs

    def _check_finite(self, outputs, row: int, num_examples: int) -> None:
        finite = {name: np.isfinite(v.reshape(len(v), -1)).all(1) for name, v in outputs.items()}
        bad = np.flatnonzero(~np.logical_and.reduce(list(finite.values())))
        if len(bad):
            view, first = divmod(row, num_examples)
            shown = ", ".join(str(first + index) for index in bad[:5])
            names = [name for name, rows in finite.items() if not rows.all()]
            raise ValueError(
                f"`teacher`: finite outputs. Received: model '{self.teacher.name}', whose {names} "
                f"hold NaN or infinity in {len(bad)} of the first {first + len(outputs[LOGITS]):,} "
                f"examples of view {view}: {shown}{', ...' if len(bad) > 5 else ''}. The others "
                "were not asked. Mend or remove these examples, or train the teacher again."
            )

    def _check_same_for_fewer(self, inputs, outputs: Mapping[str, np.ndarray]) -> None:
        count = -(-len(outputs[LOGITS]) // 2)
        again = self.of({name: values[:count] for name, values in inputs.items()})
        differing = [name for name in outputs if differ(outputs[name][:count], again[name])]
        if differing:
            raise ValueError(
                "`teacher`: outputs that follow from an example alone. Received: model "
                f"'{self.teacher.name}', whose {differing} differ when half of a batch is asked "
                "again. A layer is random, or mixes examples, also in inference: build the teacher "
                "without it."
            )


def differ(kept: np.ndarray, again: np.ndarray) -> bool:
    """Whether outputs differ by more than processors do in rounding, short formats included."""
    return not np.abs(kept - again).max() <= 0.02 * np.abs(kept).max() + 1e-6
