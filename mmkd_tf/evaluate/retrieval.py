"""Metrics of retrieval from embeddings, in NumPy: how soon a query meets what belongs to it."""

from dataclasses import dataclass

import numpy as np

from mmkd_tf.tasks import first_ranks


@dataclass(frozen=True)
class DirectionMetrics:
    """How well queries find what belongs to them among all candidates of a split.

    Attributes:
        name: What is sought by what, such as "image to text".
        recall_at_1: Share of the queries whose best candidate is a right one, 0 to 1.
        recall_at_5: Share with a right one among the best five.
        recall_at_10: Share with a right one among the best ten.
        mean_reciprocal_rank: Mean over the queries of 1 / rank, above 0 to 1.
        median_rank: Median over the queries of the rank of the first right candidate, 1 or more.
        num_candidates: Number of candidates that each query chose from.
    """

    name: str
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mean_reciprocal_rank: float
    median_rank: float
    num_candidates: int


@dataclass(frozen=True)
class RetrievalMetrics:
    """How well pictures and texts find each other: means over both directions, and each.

    Attributes:
        recall_at_1: As in `DirectionMetrics`.
        recall_at_5: As there.
        recall_at_10: As there.
        mean_reciprocal_rank: As there.
        per_direction: Figures of "image to text" and "text to image".
    """

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mean_reciprocal_rank: float
    per_direction: list[DirectionMetrics]


def retrieval_metrics(*, pairs: np.ndarray, items: np.ndarray) -> RetrievalMetrics:
    """Measures a two-tower model, each direction by the scalar product of embeddings.

    Args:
        pairs: float `[n, 2 * width]`, n at least 1, the model's output: embeddings of pictures
            and of texts side by side, the first at any scale that is the same for all.
        items: int `[n]`; rows with the same number are right answers for each other.

    Returns:
        The metrics.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or embeddings are not finite.
    """
    pairs, items = np.asarray(pairs, np.float64), np.asarray(items)
    _check(pairs, items)
    images, texts = unit_halves(pairs)
    both = [
        _direction("image to text", images, texts, items),
        _direction("text to image", texts, images, items),
    ]
    names = ("recall_at_1", "recall_at_5", "recall_at_10", "mean_reciprocal_rank")
    means = {name: float(np.mean([getattr(each, name) for each in both])) for name in names}
    return RetrievalMetrics(**means, per_direction=both)


def _direction(name, queries, candidates, items) -> DirectionMetrics:
    ranks = first_ranks(queries=queries, candidates=candidates, items=items)
    return DirectionMetrics(
        name,
        **{f"recall_at_{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)},
        mean_reciprocal_rank=float(np.mean(1 / ranks)),
        median_rank=float(np.median(ranks)),
        num_candidates=len(ranks),
    )


def unit_halves(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits pairs `[n, 2 * width]` into two embeddings of length 1, or 0 where they are zeros."""
    halves = np.split(np.asarray(pairs, np.float64), 2, axis=1)
    lengths = [np.linalg.norm(half, axis=1, keepdims=True) for half in halves]
    first, second = (h / np.where(n > 0, n, 1) for h, n in zip(halves, lengths, strict=True))
    return first, second


def first_agreement(*, teacher_pairs: np.ndarray, student_pairs: np.ndarray) -> float:
    """Share of the queries, of both directions, that lead both models to the same candidate first.

    Args:
        teacher_pairs: float `[n, 2 * width]`.
        student_pairs: float `[n, 2 * width]`.

    Returns:
        0 to 1.
    """
    agreed = []
    for turn in (1, -1):
        firsts = []
        for pairs in (teacher_pairs, student_pairs):
            queries, candidates = unit_halves(pairs)[::turn]
            firsts.append(np.argmax(queries @ candidates.T, axis=1))
        agreed.append(np.mean(firsts[0] == firsts[1]))
    return float(np.mean(agreed))


def _check(pairs, items) -> None:
    problems = []
    if pairs.ndim != 2 or pairs.shape[1] % 2 or items.shape != pairs.shape[:1]:
        problems.append(
            "`pairs`, `items`: shapes [n, 2 * width] and [n]. Received: "
            f"{list(pairs.shape)} and {list(items.shape)}."
        )
    elif not len(pairs):
        problems.append("`pairs`: at least one example. Received: none.")
    broken = int((~np.isfinite(pairs)).any(axis=-1).sum()) if pairs.ndim == 2 else 0
    if broken:
        problems.append(
            f"`pairs`: finite numbers. Received: NaN or infinity in {broken} of {len(pairs)} "
            "rows; the model diverged: train it again with a lower learning rate."
        )
    if problems:
        raise ValueError("\n".join(problems))
