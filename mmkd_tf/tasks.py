"""Tasks: what a model says of an example, in one word, and the figure by which it is judged."""

import numpy as np

TASKS = ("single_label", "multi_label", "regression", "retrieval")

# The figure that stands for the others: 1 is perfect, more is better.
HEADLINES = {
    "single_label": "accuracy",
    "multi_label": "average_precision",
    "regression": "r2",
    "retrieval": "recall_at_10",
}

THRESHOLD = 0.5  # a label of several is given where its probability is above this


def headline(task: str, *, labels: np.ndarray, outputs: np.ndarray) -> float:
    """Gives a task's headline figure.

    Args:
        task: A key of `HEADLINES`.
        labels: As `Examples.labels` has them.
        outputs: float `[n, num_outputs]`: logits, probabilities or values.

    Returns:
        Accuracy, the mean of `average_precisions` or that of `r2_scores`.
    """
    if task == "single_label":
        return float(np.mean(np.argmax(outputs, axis=1) == labels))
    if task == "multi_label":
        return mean_of_known(average_precisions(labels=labels, scores=outputs))
    return float(np.mean(r2_scores(labels=labels, values=outputs)))


def mean_of_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; 0 if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def average_precisions(*, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area below precision over recall, label by label, by steps and without interpolation.

    `sum over thresholds of (recall - recall at the threshold before) * precision`. Examples with
    the same score come in together, so that their order does not matter.

    Args:
        labels: 0 or 1, `[n, num_labels]`.
        scores: float `[n, num_labels]`, greater where the label is more probable.

    Returns:
        float64 `[num_labels]`, 0 to 1; NaN for a label that no example has.
    """
    columns = zip(np.asarray(labels).T, np.asarray(scores).T, strict=True)
    return np.array([_average_precision(*column) for column in columns])


def _average_precision(labels, scores) -> float:
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order] > 0, scores[order]
    if not labels.any():
        return np.nan
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    hits = np.cumsum(labels)[last_of_equals]
    taken = (1 + np.arange(len(labels)))[last_of_equals]
    recall = np.diff(hits, prepend=0) / hits[-1]
    return float(np.sum(recall * hits / taken))


def r2_scores(*, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of each target's variance that the values explain.

    `1 - sum((labels - values)**2) / sum((labels - mean(labels))**2)`

    Args:
        labels: float `[n, num_targets]`.
        values: float `[n, num_targets]`.

    Returns:
        float64 `[num_targets]`: 1 is perfect, 0 is as good as the mean, below 0 worse. Where all
        labels are equal, 1 for values that are right and 0 for others.
    """
    labels, values = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    error = np.square(labels - values).sum(axis=0)
    spread = np.square(labels - labels.mean(axis=0)).sum(axis=0)
    ratio = np.divide(error, spread, out=(error > 0).astype(float), where=spread > 0)
    return 1 - ratio
