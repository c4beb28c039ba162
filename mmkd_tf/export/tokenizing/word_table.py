"""Finds words by a perfect hash: each word of a vocabulary has a place of its own.

A word's symbols give two sums, weighted by position. The first chooses a shift, the second and the
shift give the place; the shifts are such that no two words of the vocabulary share one. What lies
at a place is then compared with the word, symbol by symbol: another word that comes to the same
place is not taken for it. The result is exact, not only probable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ATTEMPTS = 100
_WORDS_A_BUCKET = 3
_PLACES_A_WORD = 1.25
_LARGEST_SUM = 2**30  # int32 then never overflows, a shift added
_SHIFTS_AT_ONCE = 512


@dataclass(frozen=True)
class WordTable:
    """Arrays to look words up with; see `place_words`.

    Attributes:
        weights: int32 `[2, longest + 1]`, 0 or negative; the last column, 0, is for positions
            beyond the longest word.
        shifts: int32 `[num_buckets]`.
        words: int32 `[num_places]`; the index of the word there. Places of no word have 0.
        starts: int32 `[num_words + 1]`; where each word's symbols begin, and the end.
        symbols: int32 `[total + longest + 1]`; the words' symbols one after the other, and 0.
    """

    weights: np.ndarray
    shifts: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    symbols: np.ndarray

    @property
    def longest(self) -> int:
        """Number of symbols of the longest word, at least 1."""
        return self.weights.shape[1] - 1


def place_words(
    words: Sequence[Sequence[int]], *, lowest_letter: int, num_summed: int
) -> WordTable:
    """Finds weights and shifts that give each word a place of its own.

    A word of symbols `s` lies at `(sums[1] + shifts[sums[0] % num_buckets]) % num_places`, where
    `sums = weights[:, : len(s)] @ s`.

    Args:
        words: Distinct words of symbols, all below 0. Empty ones, of which there must be one at
            index 0, get no place.
        lowest_letter: No symbol is lower, but for those that stand first in their word.
        num_summed: Number of weighted symbols, of any words, whose sum must fit into int32.

    Raises:
        ValueError: If no weights are found: the more and the longer the words and the more the
            symbols summed, the fewer there are.
    """
    arrays = [np.asarray(word, np.int64) for word in words]
    indices = np.array([index for index, word in enumerate(arrays) if len(word)], np.int64)
    longest = max(1, *map(len, arrays))
    starts = np.cumsum([0, *map(len, arrays)])
    symbols = np.concatenate([*arrays, np.zeros(longest + 1, np.int64)])
    lowest = np.full(longest, lowest_letter)
    lowest[0] = min(lowest_letter, symbols.min())
    heaviest = _LARGEST_SUM // (num_summed * -lowest)
    for seed in range(_ATTEMPTS if heaviest.all() else 0):
        # Fixed seeds: the same vocabulary gives the same file.
        weights = -np.random.default_rng(seed).integers(1, heaviest + 1, (2, longest))
        sums = [weights[:, : len(arrays[index])] @ arrays[index] for index in indices]
        sums = np.array(sums, np.int64).reshape(-1, 2)
        if (found := _place(sums, indices)) is not None:
            parts = (np.pad(weights, [[0, 0], [0, 1]]), *found, starts, symbols)
            return WordTable(*(part.astype(np.int32) for part in parts))
    raise ValueError(
        f"`vocabulary`: words that one table can hold. Received: {len(words)} words of up to "
        f"{longest} characters, {-symbols.min()} different ones, for {num_summed} bytes. "
        "Take fewer words or bytes."
    )


def _place(sums: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Chooses the shifts, those of the fullest buckets first: `(shifts, words)`, or None."""
    num_places = int(len(sums) * _PLACES_A_WORD) + 1
    num_buckets = len(sums) // _WORDS_A_BUCKET + 1
    buckets: list[list[int]] = [[] for _ in range(num_buckets)]
    for position, first_sum in enumerate(sums[:, 0]):
        buckets[first_sum % num_buckets].append(position)
    shifts = np.zeros(num_buckets, np.int64)
    words = np.zeros(num_places, np.int64)
    for bucket in sorted(range(num_buckets), key=lambda bucket: -len(buckets[bucket])):
        members = buckets[bucket]
        shift = _free_shift(sums[members, 1], words)
        if shift is None:
            return None
        shifts[bucket] = shift
        words[(sums[members, 1] + shift) % num_places] = indices[members]
    return shifts, words


def _free_shift(wanted: np.ndarray, words: np.ndarray) -> int | None:
    """Finds the smallest shift to places that are free and differ."""
    num_places = len(words)
    if len(set(wanted % num_places)) < len(wanted):
        return None
    for begin in range(0, num_places, _SHIFTS_AT_ONCE):
        shifts = np.arange(begin, min(begin + _SHIFTS_AT_ONCE, num_places))
        free = (words[(wanted + shifts[:, np.newaxis]) % num_places] == 0).all(axis=1)
        if free.any():
            return int(shifts[free.argmax()])
    return None
