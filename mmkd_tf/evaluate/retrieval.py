"""Metrics of retrieval from embeddings, in NumPy: how soon a query meets what belongs to it."""

from dataclasses import dataclass

import numpy as np

from mmkd_tf.tasks import first_ranks


@dataclass(frozen=True)
class RetrievalMetrics:
    """How well queries find what belongs to them among all candidates of a split.

    Attributes:
        recall_at_1: Share of the queries whose best candidate is a right one, 0 to 1.
        recall_at_5: Share with a right one among the best five.
        recall_at_10: Share with a right one among the best ten.
        median_rank: Median over the queries of the rank of the first right candidate, 1 or more.
        mean_reciprocal_rank: Mean over the queries of 1 / rank, above 0 to 1.
        num_candidates: Number of candidates that each query chose from.
    """

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_reciprocal_rank: float
    num_candidates: int


@dataclass(frozen=True)
class PairMetrics:
    """How well the two modalities find each other.

    Attributes:
        recall_at_10: Mean of both directions, 0 to 1.
        image_to_text: How well pictures find their texts.
        text_to_image: How well texts find their pictures.
    """

    recall_at_10: float
    image_to_text: RetrievalMetrics
    text_to_image: RetrievalMetrics


def pair_metrics(*, pairs: np.ndarray, items: np.ndarray) -> PairMetrics:
    """Measures a two-tower model, each direction by the scalar product.

    Args:
        pairs: float `[n, 2 * width]`, the model's output: two embeddings side by side, the first
            at any scale that is the same for all.
        items: int `[n]`; rows with the same number are right answers for each other.

    Returns:
        The metrics.

    Raises:
        ValueError: As `retrieval_metrics`.
    """
    first, second = unit_halves(pairs)
    there = retrieval_metrics(queries=first, candidates=second, items=items)
    back = retrieval_metrics(queries=second, candidates=first, items=items)
    return PairMetrics((there.recall_at_10 + back.recall_at_10) / 2, there, back)


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


def retrieval_metrics(
    *, queries: np.ndarray, candidates: np.ndarray, items: np.ndarray
) -> RetrievalMetrics:
    """Measures retrieval by the scalar product of embeddings.

    Args:
        queries: float `[n, width]`, n at least 1: embeddings of the one modality.
        candidates: float `[n, width]`: of the other, in the same order.
        items: int `[n]`; examples with the same number are right answers for each other.

    Returns:
        The metrics.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or embeddings are not finite.
    """
    queries, candidates = np.asarray(queries, np.float64), np.asarray(candidates, np.float64)
    _check(queries, candidates, np.asarray(items))
    ranks = first_ranks(queries=queries, candidates=candidates, items=items)
    return RetrievalMetrics(
        **{f"recall_at_{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)},
        median_rank=float(np.median(ranks)),
        mean_reciprocal_rank=float(np.mean(1 / ranks)),
        num_candidates=len(ranks),
    )


def _check(queries, candidates, items) -> None:
    problems = []
    if queries.ndim != 2 or queries.shape != candidates.shape or items.shape != queries.shape[:1]:
        problems.append(
            "`queries`, `candidates`, `items`: shapes [n, width], [n, width] and [n]. Received: "
            f"{list(queries.shape)}, {list(candidates.shape)} and {list(items.shape)}."
        )
    if not len(queries):
        problems.append("`queries`: at least one example. Received: none.")
    for name, values in (("queries", queries), ("candidates", candidates)):
        broken = int((~np.isfinite(values)).any(axis=-1).sum()) if values.ndim == 2 else 0
        if broken:
            problems.append(
                f"`{name}`: finite numbers. Received: NaN or infinity in {broken} of "
                f"{len(values)} rows; the model diverged: train it again with a lower learning "
                "rate."
            )
    if problems:
        raise ValueError("\n".join(problems))
