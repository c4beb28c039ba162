"""What a curve of scores under damage comes to: relative and effective robustness."""

from collections.abc import Sequence

import numpy as np


def relative_robustness(curve: Sequence[float]) -> float:
    """Area under the score as a function of the damage, which runs from 0 to 1.

    The levels count as equal steps from none to the strongest, whatever they are levels of;
    trapezoids lie between them. MultiBench measures the same area over 11 levels of noise and
    then scales it by the least and the greatest area of the methods that it compares; this is the
    area itself: a mean score under damage.

    Args:
        curve: Scores, from none of the damage to the most; at least 2.

    Returns:
        0 to 1 if the scores are; a model that damage does not touch has its clean score.

    Examples:
        >>> relative_robustness([0.75, 0.5, 0.25])
        0.5

    References:
        Liang, Lyu, Fan, Wu, Cheng and others: MultiBench: Multiscale Benchmarks for Multimodal
        Representation Learning, 2021.
    """
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def effective_robustness(curve: Sequence[float], *, reference: Sequence[float]) -> float:
    """Area between a model's curve and the reference's, moved to the same clean score.

    It says what a model keeps beyond what its clean score promises:
    `curve - (reference + curve[0] - reference[0])`, as an area over damage from 0 to 1. MultiBench
    sums the same differences over its levels, with its late fusion as the reference, and scales
    the sum as it does the relative robustness. In Taori et al. the promise is a line fitted to
    many models, here it is one model's curve.

    Args:
        curve: Scores, from none of the damage to the most; at least 2.
        reference: The scores of the reference at the same levels.

    Returns:
        Above 0 where damage takes less from the model than from the reference.

    Examples:
        >>> effective_robustness([0.75, 0.75, 0.5], reference=[0.5, 0.25, 0.25])
        0.125

    References:
        Liang, Lyu, Fan, Wu, Cheng and others: MultiBench: Multiscale Benchmarks for Multimodal
        Representation Learning, 2021.
        Taori, Dave, Shankar, Carlini, Recht, Schmidt: Measuring Robustness to Natural
        Distribution Shifts in Image Classification, 2020.
    """
    curve, reference = np.asarray(curve), np.asarray(reference)
    return relative_robustness((curve - curve[0]) - (reference - reference[0]))
