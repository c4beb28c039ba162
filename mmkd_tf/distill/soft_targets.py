"""Soft targets: the teacher says once what it thinks of the data, and students read it."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.views import view_batches
from mmkd_tf.distill.checks import broken_weight_problems
from mmkd_tf.distill.targets.cache import SoftTargetCache
from mmkd_tf.distill.targets.fingerprints import teacher_fingerprints
from mmkd_tf.distill.targets.maker import TargetMaker
from mmkd_tf.distill.targets.repeatable import check_batches, first_pass, inputs_of, unchanged
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.outputs import check_gives_logits
from mmkd_tf.models.routing import input_names

__all__ = ["SoftTargetCache", "cache_batches", "cache_soft_targets"]


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
    """Runs the teacher once over views of the training split, or opens what it said before.

    View v is what epoch v of `training_batches` shows with the same seed, augmentation included.
    `training_batches(..., soft_targets=cache)` then shows view
    `e % views` in epoch e, so the student reads exactly what the teacher would have said, and
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
    check_gives_logits(teacher, argument="teacher")
    refuse(broken_weight_problems(teacher, argument="teacher"))
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
    view = {"seed": seed, "augment": augment}
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
    """Runs the teacher once over any batches, or opens what it said before.

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
    check_gives_logits(teacher, argument="teacher")
    refuse(broken_weight_problems(teacher, argument="teacher"))
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
    if problems:
        raise ValueError("\n".join(problems))
