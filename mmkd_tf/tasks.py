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

_AT_ONCE = 1024
# Scores closer than this are equal up to float32 rounding.
_TIE = 1e-6

THRESHOLD = 0.5  # a label of several is given where its probability is above this


def headline(task: str, *, labels: np.ndarray, outputs: np.ndarray) -> float:
    """Gives a task's headline figure.

    Args:
        task: A key of `HEADLINES`.
        labels: As `Examples.labels` has them; of retrieval float `[n, width]`, what is to be
            found: the embeddings of the other modality.
        outputs: float `[n, num_outputs]`: logits, probabilities, values or embeddings.

    Returns:
        Accuracy, the mean of `average_precisions` or that of `r2_scores`, or the share of
        `first_ranks` up to 10.
    """
    if task == "single_label":
        return float(np.mean(np.argmax(outputs, axis=1) == labels))
    if task == "multi_label":
        return mean_of_known(average_precisions(labels=labels, scores=outputs))
    if task == "retrieval":
        ranks = first_ranks(queries=outputs, candidates=labels, items=np.arange(len(labels)))
        return float(np.mean(ranks <= 10))
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


def first_ranks(*, queries: np.ndarray, candidates: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Ranks of the first right candidate of each query, 1 for the best.

    Among candidates of equal score the order is nobody's merit: the rank is the one expected when
    they are shuffled, `1 + num_better + num_wrong_equals / (num_right_equals + 1)`. So a model
    that gives the same embedding to all ranks in the middle, and a rank of 1.5 is not a first.

    Args:
        queries: float `[n, width]`: embeddings of the one modality.
        candidates: float `[n, width]`: of the other, in the same order.
        items: int `[n]`; examples with the same number are right answers for each other.

    Returns:
        float64 `[n]`.
    """
    queries, candidates = np.asarray(queries, np.float64), np.asarray(candidates, np.float64)
    items = np.asarray(items)
    ranks = []
    for start in range(0, len(queries), _AT_ONCE):
        scores = queries[start : start + _AT_ONCE] @ candidates.T
        right = items[start : start + _AT_ONCE, np.newaxis] == items
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        better = (scores > best + _TIE).sum(axis=1)
        equal = np.abs(scores - best) <= _TIE
        wrong, others = (equal & ~right).sum(axis=1), (equal & right).sum(axis=1)
        ranks.append(1 + better + wrong / (others + 1))
    return np.concatenate(ranks)
