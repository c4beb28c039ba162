"""Puts the tokenizer into a TFLite graph: UTF-8 bytes in, token ids out, builtin operators only."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mmkd_tf.edge.tokenizer import (
    UNKNOWN_ID,
    Tokenizer,
    first_words,
    split_words,
    text_bytes,
)
from mmkd_tf.export.convert import Reader
from mmkd_tf.export.text_tables import (
    NOT_CONTINUATION,
    NUM_LEADS,
    Symbols,
    WordTable,
    number_symbols,
    place_words,
)
from mmkd_tf.modalities.modality import Modality

LARGEST_NUM_BYTES = 32_768
_LARGEST_NEEDED = 4096
_ROOM = 1.25

_LONGEST_CHARACTER = 4
_GAP = _LONGEST_CHARACTER - 1  # zeros behind each text, so that no character reaches the next one
_NEVER = -LARGEST_NUM_BYTES  # one symbol that differs outweighs all that agree
_CONTINUATIONS = np.full(NUM_LEADS, NOT_CONTINUATION)
_CONTINUATIONS[0x80:0xC0] = np.arange(64)
_CHARACTER_BYTES = np.repeat([1, 0, 2, 3, 4], [128, 64, 32, 16, 16])  # by the first byte


def text_reader(
    vocabulary: Sequence[str],
    *,
    length: int,
    num_bytes: int | None = None,
    batch_size: int | None = 1,
) -> Reader:
    """Makes what reads a text's UTF-8 bytes inside an exported file.

    From uint8 `[batch_size, num_bytes]`, filled with 0 on the right, to the ids of
    `mmkd_tf.edge.tokenizer.Tokenizer`, int32 `[batch_size, length]`, exactly. Bytes that are no
    UTF-8 are separators; a character that a cut parts is dropped. The cost grows with `num_bytes`,
    at most 32,768. A ValueError says that the vocabulary is none, or a number does not fit.
    """
    Tokenizer(vocabulary, length)
    if num_bytes is None:
        num_bytes = default_num_bytes(vocabulary, length)
    if not 1 <= num_bytes <= LARGEST_NUM_BYTES:
        raise ValueError(
            f"`num_bytes`: from 1 to {LARGEST_NUM_BYTES:,}. Received: num_bytes={num_bytes}."
        )
    # A word that no text can give, such as one with a capital, is never found.
    words = [word if split_words(word) == [word] else "" for word in vocabulary]
    symbols = number_symbols(words)
    table = place_words(
        [[symbols.codes[character] for character in word] for word in words],
        lowest_letter=symbols.first_single,
        num_summed=num_bytes,
    )
    gap = max(_GAP, length + 1 - num_bytes)  # as wide as there are words to look for

    def read(utf8: tf.Tensor) -> tf.Tensor:
        data = tf.pad(tf.cast(utf8, tf.int32), [[0, 0], [0, gap]])
        return _look_up(_find_words(data, symbols, length), table)

    return Reader(tf.TensorSpec([batch_size, num_bytes], tf.uint8), read)


def default_num_bytes(vocabulary: Sequence[str], length: int) -> int:
    """Returns room for `length` words as long as the vocabulary's, each with two separators.

    That is more than most texts need: the words that make up texts are the frequent ones, which
    are shorter than the vocabulary's average. It counts bytes, so Greek and Cyrillic get two for
    each letter. The result is a multiple of 32, at most 32,768.
    """
    num_bytes = [len(word.encode()) for word in vocabulary[2:]]
    needed = length * (2 + np.mean(num_bytes or [8]))
    return min(32 * int(np.ceil(needed / 32)), LARGEST_NUM_BYTES)


def needed_num_bytes(texts: Iterable[str], vocabulary: Sequence[str], length: int) -> int:
    """Returns room for the first `length` words of each text, as they stand, and a quarter more.

    So an app that writes a text as it is loses no word of one like these. White space before the
    first word does not count. The result is a multiple of 32, at least `default_num_bytes`; a text
    of more than 4,096 bytes, an address maybe, does not make every call slower.
    """
    longest = max((len(_as_read(text, length)) for text in texts), default=0)
    default = default_num_bytes(vocabulary, length)
    return max(default, min(32 * int(np.ceil(_ROOM * longest / 32)), _LARGEST_NEEDED))


def share_cut(texts: Sequence[str], length: int, num_bytes: int) -> float:
    """The share of texts whose first `length` words don't all fit into so many bytes, 0 to 1."""
    cut = 0
    for text in texts:
        words = split_words(text)[:length]
        read = text_bytes(text, num_bytes=num_bytes).tobytes().rstrip(b"\0").decode()
        cut += split_words(read)[:length] != words
    return cut / max(len(texts), 1)


def _as_read(text: str, length: int) -> bytes:
    return first_words(text, length).encode("utf-8", "replace")


def as_bytes(ids: np.ndarray, text: Modality, *, num_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes token ids `[n, length]` as texts again, to try out a file that takes bytes.

    Gives the ids of what fits, without gaps, and its UTF-8, uint8 `[n, num_bytes]`. Every second
    text fills the room that it leaves with white space and signs, as texts of people may.
    """
    spelled = [
        _spread(str(one), num_bytes) if index % 2 else str(one)
        for index, one in enumerate(text.encode(ids))
    ]
    utf8 = np.stack([text_bytes(one, num_bytes=num_bytes) for one in spelled])
    again = [text.tokenizer(bytes(row).rstrip(b"\0").decode()) for row in utf8]
    return np.array(again, ids.dtype), utf8


def _spread(text: str, num_bytes: int) -> str:
    """The same words with as many separators before and between them as there is room for."""
    spare = max(0, num_bytes - len(text.encode()))
    head, space, tail = text.partition(" ")
    before = spare // 2 if space else spare
    return " \t\n"[:before].ljust(before) + head + "-" * (spare - before) + space + tail


@dataclass(frozen=True)
class _Words:
    """What is known of each byte of the texts and of each word.

    Attributes:
        symbols: `[num_texts * width]`; the symbol of the character that begins here; 0 if it is a
            separator or none does.
        slots: `[num_texts * width]`; the number of words of this text that began here or before,
            at most `length + 1`, and `length + 2` more for each text before.
        positions: `[num_texts * width]`; the character's position in its word.
        starts: `[num_texts, length + 1]`; where words begin, and where the one behind the last
            does; where there is none, the last of the text's bytes, a separator.
        present: bool `[num_texts, length]`; whether there is such a word.
    """

    symbols: tf.Tensor
    slots: tf.Tensor
    positions: tf.Tensor
    starts: tf.Tensor
    present: tf.Tensor

    def total(self, values: tf.Tensor) -> tf.Tensor:
        """Sums `[num_texts * width]` values over each word: `[num_texts, length]`."""
        num_texts, length = _sizes(self.present)
        # Summed from the beginning of each text, lest a large batch overflow.
        sums = tf.cumsum(tf.reshape(values, [num_texts, -1]), axis=1, exclusive=True)
        sums = tf.gather(tf.reshape(sums, [-1]), self.starts)
        return tf.slice(sums, [0, 1], [-1, length]) - tf.slice(sums, [0, 0], [-1, length])


def _find_words(data: tf.Tensor, symbols: Symbols, length: int) -> _Words:
    """Splits texts, `[num_texts, width]` that end in `_GAP` or more zeros, into `length` words."""
    num_texts, width = _sizes(data)
    data = tf.reshape(data, [-1])
    found = _read_characters(data, symbols.table)
    characters = tf.cast(found < 0, tf.int32)
    letters = characters - tf.cast(found <= symbols.first_single, tf.int32)
    # A word begins with each character but a letter right behind another letter.
    begin = characters - letters * _end_before(letters * _entries(_CHARACTER_BYTES, data))

    rows = tf.reshape(begin, [num_texts, width])
    # The earliest are the largest.
    earliest = tf.math.top_k(rows * tf.range(width, 0, -1)[tf.newaxis], length + 1).values
    text = tf.range(num_texts)[:, tf.newaxis]
    starts = tf.minimum(width - earliest, width - 1) + text * width
    counts = tf.minimum(tf.cumsum(rows, axis=1), length + 1)
    slots = tf.reshape(counts + text * (length + 2), [-1])
    ordinals = tf.cumsum(characters)
    first = tf.reshape(tf.pad(tf.gather(ordinals, starts), [[0, 0], [1, 0]]), [-1])
    return _Words(
        symbols=found,
        slots=slots,
        positions=ordinals - tf.gather(first, slots),
        starts=starts,
        present=tf.slice(earliest, [0, 0], [-1, length]) > 0,
    )


def _end_before(num_bytes: tf.Tensor) -> tf.Tensor:
    """Says, 0 or 1, where a span ends right before; `num_bytes` long, 0 (none) to 4, they begin."""
    padded = tf.pad(num_bytes, [[_LONGEST_CHARACTER, 0]])
    ends = [
        tf.equal(tf.slice(padded, [_LONGEST_CHARACTER - n], _sizes(num_bytes)), n)
        for n in range(1, _LONGEST_CHARACTER + 1)
    ]
    return tf.cast(functools.reduce(tf.logical_or, ends), tf.int32)


def _read_characters(data: tf.Tensor, table: np.ndarray) -> tf.Tensor:
    """Gives the symbol of the character that begins at each byte, 0 where none does."""
    following = _entries(_CONTINUATIONS, data)
    following = tf.pad(following, [[0, _GAP]], constant_values=NOT_CONTINUATION)
    found = _entries(table, data)
    for distance in range(1, _LONGEST_CHARACTER):
        place = tf.maximum(found, 0) + tf.slice(following, [distance], _sizes(data))
        found = tf.where(found > 0, _entries(table, place), found)
    return found


def _look_up(words: _Words, table: WordTable) -> tf.Tensor:
    """Gives ids `[num_texts, length]`: 0 where there is no word, 1 for those not in the table."""
    positions = tf.minimum(words.positions, table.longest)
    sums = [words.total(words.symbols * _entries(row, positions)) for row in table.weights]
    shifts = _entries(table.shifts, tf.math.floormod(sums[0], len(table.shifts)))
    ids = _entries(table.words, tf.math.floormod(sums[1] + shifts, len(table.words)))

    starts = _entries(table.starts, ids)
    begin = tf.reshape(tf.pad(starts, [[0, 0], [1, 1]]), [-1])
    expected = _entries(table.symbols, tf.gather(begin, words.slots) + positions)
    characters = tf.cast(words.symbols < 0, tf.int32)
    agree = tf.where(tf.equal(words.symbols, expected), characters, characters * _NEVER)
    same = tf.equal(words.total(agree), _entries(table.starts, ids + 1) - starts)
    return tf.where(same, ids, UNKNOWN_ID) * tf.cast(words.present, tf.int32)


def _entries(table: np.ndarray, indices: tf.Tensor) -> tf.Tensor:
    """Reads a table, kept in the smallest type that holds it, as int32."""
    bounds = (np.iinfo(dtype) for dtype in (np.int8, np.int16, np.int32))
    fitting = (b.dtype for b in bounds if b.min <= table.min() and table.max() <= b.max)
    return tf.cast(tf.gather(tf.constant(table, next(fitting)), indices), tf.int32)


def _sizes(tensor: tf.Tensor) -> list:
    """Returns the shape, as numbers where they are known."""
    return [tf.shape(tensor)[i] if n is None else n for i, n in enumerate(tensor.shape)]
