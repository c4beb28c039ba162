"""Tables with which a graph reads texts: characters from UTF-8 bytes, and words from characters.

A vocabulary knows few characters, so each gets a small number, its symbol; all that it does not
know are one symbol. Symbols are 0 or negative:

    0                               a separator, or bytes that are no UTF-8
    UNKNOWN_LETTER = -1             a character of words that no vocabulary word holds
    -2, -3, ... > first_single      the characters of the vocabulary's words
    first_single                    a character that is a word itself, but not in the vocabulary
    first_single - 1, ...           those in the vocabulary

Words are found by a perfect hash: each word of a vocabulary has a place of its own. A word's
symbols give two sums, weighted by position. The first chooses a shift, the second and the shift
give the place; the shifts are such that no two words of the vocabulary share one. What lies at a
place is then compared with the word, symbol by symbol, so that no other word is taken for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES

UNKNOWN_LETTER = -1

NUM_LEADS = 256
NOT_CONTINUATION = 64  # the place in a node for a byte that goes on with no character
_NODE = 65
_CODE_POINTS = 0x110000

_ATTEMPTS = 100
_WORDS_A_BUCKET = 3
_PLACES_A_WORD = 1.25
_LARGEST_SUM = 2**30  # int32 then never overflows, a shift added
_SHIFTS_AT_ONCE = 512


@dataclass(frozen=True)
class Symbols:
    """Numbers for the characters of a vocabulary, and the table that finds them from bytes.

    Attributes:
        codes: Character -> its symbol, -2 or less.
        first_single: Symbols from here down are words by themselves.
        table: int32. The first 256 entries are for a character's first byte. An entry above 0 is
            the place of a node: 65 entries for the next byte less 128, the last of them for one
            that is no continuation. Any other entry is the symbol.
    """

    codes: dict[str, int]
    first_single: int
    table: np.ndarray


def number_symbols(words: Iterable[str]) -> Symbols:
    """Numbers the characters of words, as `split_words` gives them, and builds their table."""
    singles = {chr(code) for first, last in SINGLES for code in range(first, last + 1)}
    characters = set().union(*words)
    letters = sorted(characters - singles)
    first_single = UNKNOWN_LETTER - len(letters) - 1
    codes = {character: UNKNOWN_LETTER - 1 - i for i, character in enumerate(letters)}
    known = sorted(characters & singles)
    codes |= {character: first_single - 1 - i for i, character in enumerate(known)}

    by_code_point = np.full(_CODE_POINTS, UNKNOWN_LETTER, np.int32)
    for ranges, symbol in ((SEPARATORS, 0), (SINGLES, first_single)):
        for first, last in ranges:
            by_code_point[first : last + 1] = symbol
    by_code_point[[ord(character) for character in codes]] = list(codes.values())
    by_code_point[list(FOLD)] = by_code_point[list(FOLD.values())]
    return Symbols(codes, first_single, _byte_table(by_code_point))


def _byte_table(by_code_point: np.ndarray) -> np.ndarray:
    """Arranges symbols by the bytes of UTF-8; equal nodes are kept once."""
    places: dict[bytes, int] = {}

    def add(rows):
        """Returns the place of each row of 64 entries."""
        found = [places.setdefault(r.tobytes(), NUM_LEADS + _NODE * len(places)) for r in rows]
        return np.array(found, np.int32)

    last = add(by_code_point.reshape(-1, 64))
    two_bytes = last[: 0x800 >> 6].copy()
    last[: 0x800 >> 6] = 0  # longer forms of what two bytes say are not UTF-8
    middle = add(last.reshape(-1, 64))
    first = np.zeros(NUM_LEADS, np.int32)
    first[:0x80] = by_code_point[:0x80]
    first[0xC2:0xE0] = two_bytes[2:]
    first[0xE0:0xF0] = middle[:16]
    middle[:16] = 0
    first[0xF0:0xF5] = add(np.pad(middle, (0, 5 * 64 - len(middle))).reshape(-1, 64))
    nodes = np.frombuffer(b"".join(places), np.int32).reshape(-1, 64)
    return np.concatenate([first, np.pad(nodes, [(0, 0), (0, 1)]).ravel()])


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
    `sums = weights[:, : len(s)] @ s`. Empty words, of which there must be one at index 0, get no
    place. No symbol is below `lowest_letter`, but for those that stand first in their word. Sums of
    `num_summed` weighted symbols fit into int32. A ValueError says that no weights are found.
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
