"""Turns UTF-8 bytes into symbols by one table: decoding, case folding and kinds of characters.

A vocabulary knows few characters, so each gets a small number, its symbol; all that it does not
know are one symbol. Symbols are 0 or negative:

    0                               a separator, or bytes that are no UTF-8
    UNKNOWN_LETTER = -1             a character of words that no vocabulary word holds
    -2, -3, ... > first_single      the characters of the vocabulary's words
    first_single                    a character that is a word itself, but not in the vocabulary
    first_single - 1, ...           those in the vocabulary
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES

UNKNOWN_LETTER = -1

NUM_LEADS = 256
NOT_CONTINUATION = 64  # the place in a node for a byte that goes on with no character
_NODE = 65
_CODE_POINTS = 0x110000


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
    """Numbers the characters of words and builds their table.

    Args:
        words: Words as `mmkd_tf.edge.tokenizer.split_words` gives them.
    """
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
    nodes = _Nodes()
    last = nodes.add(by_code_point.reshape(-1, 64))
    two_bytes = last[: 0x800 >> 6].copy()
    last[: 0x800 >> 6] = 0  # longer forms of what two bytes say are not UTF-8
    middle = nodes.add(last.reshape(-1, 64))
    first = np.zeros(NUM_LEADS, np.int32)
    first[:0x80] = by_code_point[:0x80]
    first[0xC2:0xE0] = two_bytes[2:]
    first[0xE0:0xF0] = middle[:16]
    middle[:16] = 0
    first[0xF0:0xF5] = nodes.add(np.pad(middle, (0, 5 * 64 - len(middle))).reshape(-1, 64))
    return np.concatenate([first, *nodes.rows])


class _Nodes:
    """Rows of a table behind its first `NUM_LEADS` entries, each kept once."""

    def __init__(self):
        self.rows: list[np.ndarray] = []
        self._places: dict[bytes, int] = {}

    def add(self, rows: np.ndarray) -> np.ndarray:
        """Returns the place of each row of 64 entries."""
        return np.array([self._place(row) for row in rows], np.int32)

    def _place(self, row: np.ndarray) -> int:
        key = row.tobytes()
        if key not in self._places:
            self._places[key] = NUM_LEADS + _NODE * len(self.rows)
            self.rows.append(np.append(row, 0).astype(np.int32))
        return self._places[key]
