"""Kinds of losses on the labels, and what a teacher's soft targets must be to go with them."""

from collections.abc import Sequence

import keras

from mmkd_tf import losses
from mmkd_tf.distill.matching import MatchingLoss
from mmkd_tf.distill.objectives import ScaledSquaredError
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses.checks import refuse

CLASSES, LABELS, NUMBERS, PAIRS = "classes", "labels", "numbers", "pairs"

_OF_LABELS = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
_OF_NUMBERS = (
    ScaledSquaredError,
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.Huber,
    keras.losses.LogCosh,
)
_OVER_CLASSES = (losses.soft_target_loss, losses.dist_loss, losses.decoupled_loss)
_NOT_SQUARED = (*_OVER_CLASSES, losses.sigmoid_soft_target_loss)
_UNFIT = {LABELS: _OVER_CLASSES, NUMBERS: _NOT_SQUARED, PAIRS: _NOT_SQUARED}
_FIT = {
    LABELS: "SoftTargets(loss=losses.sigmoid_soft_target_loss)",
    NUMBERS: "SoftTargets(temperature=None, loss=losses.squared_loss)",
    PAIRS: "SoftTargets(loss=losses.affinity_loss)",
}


def kind_of(loss: keras.losses.Loss) -> str:
    """What a Keras loss takes the labels for; classes where it is not known to be otherwise."""
    if isinstance(loss, _OF_LABELS):
        return LABELS
    if isinstance(loss, MatchingLoss):
        return PAIRS
    return NUMBERS if isinstance(loss, _OF_NUMBERS) else CLASSES


def default_terms(loss: keras.losses.Loss) -> list[SoftTargets]:
    """The terms of `Distiller.compile` where none are given."""
    kind = kind_of(loss)
    if kind == LABELS:
        return [SoftTargets(loss=losses.sigmoid_soft_target_loss)]
    if kind == PAIRS:
        return [SoftTargets(loss=losses.affinity_loss)]
    if kind == CLASSES:
        return [SoftTargets()]
    options = {"scale": loss.scale} if isinstance(loss, ScaledSquaredError) else {}
    return [SoftTargets(temperature=None, loss=losses.squared_loss, loss_options=options)]


def check_soft_targets(terms: Sequence, loss: keras.losses.Loss) -> None:
    """Refuses soft targets over classes beside a loss of labels or numbers, which have none.

    Raises:
        ValueError: Names the terms, and what to take.
    """
    kind = kind_of(loss)
    refuse(
        [
            f"`terms`: with {type(loss).__name__}, {_FIT[kind]}, since outputs are {kind} and not "
            f"one of several classes. Received: '{term.name}' with {term.loss.__name__}."
            for term in terms
            if isinstance(term, SoftTargets) and term.loss in _UNFIT.get(kind, ())
        ]
    )
