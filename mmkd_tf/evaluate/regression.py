"""Metrics of models that give numbers, from labels and values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.evaluate.outputs import check_outputs
from mmkd_tf.tasks import r2_scores


@dataclass(frozen=True)
class TargetMetrics:
    """How near the values of one target are.

    Attributes:
        name: The target.
        mean_absolute_error: In the target's unit, 0 or more.
        root_mean_squared_error: In the target's unit, 0 or more.
        r2: Share of the variance that is explained, at most 1; see `mmkd_tf.tasks.r2_scores`.
        standard_deviation: Of the labels, in the target's unit: the error of their mean.
    """

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float
    standard_deviation: float


@dataclass(frozen=True)
class RegressionMetrics:
    """How good a model of numbers is on a split; means over the targets, whatever their units.

    Attributes:
        r2: Mean R2, at most 1; 0 is as good as always saying the mean.
        mean_absolute_error: Mean of the targets' mean absolute errors.
        root_mean_squared_error: Mean of the targets' root mean squared errors.
        per_target: The same target by target.
    """

    r2: float
    mean_absolute_error: float
    root_mean_squared_error: float
    per_target: list[TargetMetrics]


def regression_metrics(
    *, labels: np.ndarray, values: np.ndarray, target_names: Sequence[str]
) -> RegressionMetrics:
    """Measures a model.

    Args:
        labels: float `[n, num_targets]`, n at least 1.
        values: float `[n, num_targets]`, finite, in the labels' units.
        target_names: Name of each target.

    Returns:
        The metrics.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or values are not finite.
    """
    labels, values = check_outputs(labels, values, len(target_names), argument="values")
    absolute = np.abs(labels - values).mean(axis=0)
    squared = np.sqrt(np.square(labels - values).mean(axis=0))
    r2 = r2_scores(labels=labels, values=values)
    columns = (target_names, absolute, squared, r2, labels.std(axis=0))
    return RegressionMetrics(
        r2=float(r2.mean()),
        mean_absolute_error=float(absolute.mean()),
        root_mean_squared_error=float(squared.mean()),
        per_target=[
            TargetMetrics(name, *map(float, figures))
            for name, *figures in zip(*columns, strict=True)
        ],
    )
