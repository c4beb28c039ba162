"""Figures of embeddings: whether two are of one identity, and which of a gallery one is of."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.tasks.outputs import TIE

# False accepts at which true accepts are told.
RATES = {"true_accepts_at_1_percent": 0.01, "true_accepts_at_01_percent": 0.001}
_MOST_IMPOSTORS = 200_000  # enough for a rate of 0.1 % to be of 200 pairs
_MOST_STEPS = 20  # of an example, so many that follow it in its identity are its genuine pairs
_AT_ONCE = 2048
_RESAMPLES = 200


def pairs_of(identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the pairs of examples by which a model is verified; the same for every model.

    Genuine pairs are of one identity: all of them up to 21 examples, of more each example with the
    20 that follow it. Impostor pairs are of two: all of them up to 200,000, else so many drawn by a
    fixed seed. Memory is linear in the number of examples.

    Args:
        identities: int `[n]`.

    Returns:
        Two int arrays `[num_pairs, 2]` of indices, genuine and impostor pairs.
    """
    identities = np.asarray(identities)
    order, count = np.argsort(identities, kind="stable"), len(identities)
    sorted_ones, genuine = identities[order], []
    for step in range(1, min(_MOST_STEPS, count - 1) + 1):
        at = np.flatnonzero(sorted_ones[step:] == sorted_ones[:-step])
        genuine.append(np.stack([order[at], order[at + step]], axis=1))
    found = np.concatenate(genuine) if genuine else np.zeros([0, 2], int)
    if count * (count - 1) // 2 <= _MOST_IMPOSTORS:
        others = np.stack(np.triu_indices(count, 1), axis=1)
    else:
        others = np.random.default_rng(0).integers(count, size=[_MOST_IMPOSTORS, 2])
    return found, others[identities[others[:, 0]] != identities[others[:, 1]]]


def cosines_of(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Scalar products of pairs of embeddings, float64 `[num_pairs]`, a part at a time."""
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), _AT_ONCE):
        first, second = pairs[start : start + _AT_ONCE].T
        found[start : start + _AT_ONCE] = np.einsum(
            "ij,ij->i", embeddings[first], embeddings[second]
        )
    return found


def threshold_at(impostors: np.ndarray, rate: float) -> float:
    """The least cosine above which at most this share of impostor pairs lies.

    Pairs are accepted above it, so that equal cosines are refused together.
    """
    accepted = int(rate * len(impostors))
    return float(np.partition(impostors, len(impostors) - 1 - accepted)[-1 - accepted])


def equal_error_rate(
    *, genuine: np.ndarray, impostors: np.ndarray, weights: Sequence[np.ndarray] | None = None
) -> float:
    """Share of errors at the threshold where as many impostors are accepted as genuine refused.

    Between two thresholds both shares are taken as straight lines, so that a model that gives one
    cosine to all pairs has 0.5.

    Args:
        genuine: Cosines of genuine pairs, `[num_genuine]`.
        impostors: Those of impostor pairs, `[num_impostors]`.
        weights: How often each of them counts, in the same order; once by default.

    Returns:
        0 (best) to 1; 0.5 is chance.

    Examples:
        >>> equal_error_rate(genuine=np.array([0.9, 0.2]), impostors=np.array([0.5, 0.1]))
        0.5
        >>> equal_error_rate(genuine=np.array([0.9, 0.8]), impostors=np.array([0.5, 0.1]))
        0.0
    """
    return _Curve(genuine, impostors).equal_error_rate(weights)


class _Curve:
    """Cosines in order, so that errors at all thresholds are sums up to there."""

    def __init__(self, genuine: np.ndarray, impostors: np.ndarray):
        both = np.concatenate([genuine, impostors])
        self.order, self.num_genuine = np.argsort(both, kind="stable"), len(genuine)
        ordered = both[self.order]
        # Equal cosines, up to rounding, lie on the same side of every threshold.
        self.ends = np.append(np.flatnonzero(np.diff(ordered) > TIE), len(both) - 1)

    def equal_error_rate(self, weights: Sequence[np.ndarray] | None) -> float:
        total = len(self.order)
        counts = np.ones(total) if weights is None else np.concatenate([*weights])
        is_genuine = self.order < self.num_genuine
        counts = counts[self.order]
        refused = np.cumsum(counts * is_genuine)[self.ends]
        below = np.cumsum(counts * ~is_genuine)[self.ends]
        if not refused[-1] or not below[-1]:
            return float("nan")  # a draw without pairs of one sort
        refused = np.append(0.0, refused / refused[-1])
        accepted = np.append(1.0, 1 - below / below[-1])
        place = int(np.argmax(refused >= accepted))  # the last has 1 and 0
        if not place:
            return float(refused[0])
        before, after = (accepted[i] - refused[i] for i in (place - 1, place))
        share = before / (before - after) if before > after else 0.0
        return float(refused[place - 1] + share * (refused[place] - refused[place - 1]))


def verification(embeddings: np.ndarray, identities: np.ndarray) -> dict:
    """Measures embeddings of length 1 by the cosines of `pairs_of`.

    The interval of the equal error rate is over identities, drawn anew 200 times: the pairs of one
    identity are no independent trials. An impostor pair counts as often as both of its identities.

    Returns:
        `equal_error_rate`; `equal_error_rate_interval`, 95 %; `true_accepts_at_1_percent` and
        `true_accepts_at_01_percent`, the share of genuine pairs above the threshold that lets 1 %
        and 0.1 % of the impostor pairs through; `per_threshold`, for both a dict of `name`,
        `threshold`, `true_accepts`, `false_accepts`, `genuine_pairs` and `impostor_pairs`.

    Raises:
        ValueError: If there are no genuine or no impostor pairs.

    References:
        Bolle, Ratha, Pankanti: Error Analysis of Pattern Recognition Systems - the Subsets
        Bootstrap, 2004.
    """
    identities = np.asarray(identities)
    genuine_pairs, impostor_pairs = pairs_of(identities)
    if not len(genuine_pairs) or not len(impostor_pairs):
        raise ValueError(
            "`labels`: two identities or more, one of them of two examples or more. Received: "
            f"{len(genuine_pairs)} pairs of one identity and {len(impostor_pairs)} of two."
        )
    genuine = cosines_of(embeddings, genuine_pairs)
    impostors = cosines_of(embeddings, impostor_pairs)
    curve = _Curve(genuine, impostors)
    points = [_point(key, rate, genuine, impostors) for key, rate in RATES.items()]
    return {
        "equal_error_rate": curve.equal_error_rate(None),
        "equal_error_rate_interval": _interval(curve, identities, genuine_pairs, impostor_pairs),
        **{key: point["true_accepts"] for key, point in zip(RATES, points, strict=True)},
        "per_threshold": points,
    }


def _point(key: str, rate: float, genuine: np.ndarray, impostors: np.ndarray) -> dict:
    threshold = threshold_at(impostors, rate)
    return {
        "name": f"{100 * rate:g} % false accepts",
        "threshold": threshold,
        "true_accepts": float(np.mean(genuine > threshold)),
        "false_accepts": float(np.mean(impostors > threshold)),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostors),
    }


def _interval(curve: _Curve, identities, genuine_pairs, impostor_pairs) -> list[float]:
    _, numbers = np.unique(identities, return_inverse=True)
    size, rng = numbers.max() + 1, np.random.default_rng(0)
    own, (first, second) = numbers[genuine_pairs[:, 0]], numbers[impostor_pairs].T
    found = []
    for _ in range(_RESAMPLES):
        drawn = rng.multinomial(size, np.full(size, 1 / size))
        found.append(curve.equal_error_rate((drawn[own], drawn[first] * drawn[second])))
    return np.nanpercentile(found, [2.5, 97.5]).tolist()


def identification_ranks(embeddings: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Rank of each example's own identity in a gallery of one example each, 1 for the best.

    Each example is once a probe. The gallery then holds of its identity the example that follows
    it, the first after the last, and of each other identity the one in the same place. Among equal
    cosines the order is nobody's merit: the rank is the one expected when they are shuffled.

    Args:
        embeddings: float64 `[n, width]`, of length 1.
        identities: int `[n]`.

    Returns:
        float64 `[n]`; NaN for an example that is alone with its identity, and only in galleries.
    """
    _, numbers, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = np.argsort(numbers, kind="stable")
    starts = np.cumsum(counts) - counts
    places = np.empty(len(order), int)
    places[order] = np.arange(len(order)) - starts[numbers[order]]
    ranks = np.full(len(order), np.nan)
    for place in range(counts.max(initial=0)):
        gallery = embeddings[order[starts + (place + 1) % counts]]
        probes = np.flatnonzero((places == place) & (counts[numbers] > 1))
        for start in range(0, len(probes), _AT_ONCE):
            rows = probes[start : start + _AT_ONCE]
            scores = embeddings[rows] @ gallery.T
            own = scores[np.arange(len(rows)), numbers[rows]][:, np.newaxis]
            better = (scores > own + TIE).sum(axis=1)
            equal = (np.abs(scores - own) <= TIE).sum(axis=1) - 1
            ranks[rows] = 1 + better + equal / 2
    return ranks


def nearest(embeddings: np.ndarray) -> np.ndarray:
    """Index of the example nearest to each, itself left out, int `[n]`; a part at a time."""
    found = []
    for start in range(0, len(embeddings), _AT_ONCE):
        scores = embeddings[start : start + _AT_ONCE] @ embeddings.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        found.append(scores.argmax(axis=1))
    return np.concatenate(found)


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings `[n, width]` in float64 at length 1; zeros stay zeros."""
    embeddings = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1)


def counts_of(labels: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Number of identities by split."""
    return {split: len(np.unique(of_split)) for split, of_split in labels.items()}
