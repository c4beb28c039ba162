"""Turns a text into token ids in plain Python: the reference that every other port must equal.

The rules are closed: they are lists of code points in this file, not whatever Unicode version a
platform has. TensorFlow, JavaScript, Kotlin and Swift can therefore give the same ids.

1. Fold case: each code point of the Latin, Greek and Cyrillic blocks in `FOLDED_BLOCKS` becomes
   its simple lower-case form (one code point to one code point). Others stay.
2. Split: code points in `SEPARATORS` end a word and are dropped; each code point in `SINGLES`
   (Chinese, Japanese, Korean, pictographs) is a word of its own; all others make up words.
3. Look up: a word in the vocabulary has its index as id, any other word has id 1.
4. Cut or fill with 0 on the right, to the length of the model's input.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

PAD = "<pad>"
UNKNOWN = "<unk>"
PAD_ID = 0
UNKNOWN_ID = 1

TOKENIZER_RULES = 1  # number of the rules above, kept in exported files; raise it with a change
VOCABULARY_FILE = "vocab.txt"  # words, one a line, in the order of their ids

FOLDED_BLOCKS = (
    (0x0041, 0x005A),  # ASCII
    (0x00C0, 0x024F),  # Latin-1 letters, Latin Extended-A and -B
    (0x0370, 0x03FF),  # Greek
    (0x0400, 0x052F),  # Cyrillic
    (0x1E00, 0x1EFF),  # Latin Extended Additional (Vietnamese)
)

SEPARATORS = (
    (0x0000, 0x002F),  # controls, space, ASCII punctuation
    (0x003A, 0x0040),
    (0x005B, 0x0060),
    (0x007B, 0x00A9),  # ASCII and Latin-1 punctuation
    (0x00AB, 0x00B4),
    (0x00B6, 0x00B9),
    (0x00BB, 0x00BF),
    (0x00D7, 0x00D7),  # multiplication sign
    (0x00F7, 0x00F7),  # division sign
    (0x1680, 0x1680),  # Ogham space
    (0x2000, 0x206F),  # general punctuation, joiners
    (0x20D0, 0x20FF),  # marks that enclose a symbol, as in keycaps
    (0x2E00, 0x2E7F),  # supplemental punctuation
    (0x3000, 0x3004),  # ideographic space and punctuation
    (0x3008, 0x3020),
    (0x3030, 0x3030),
    (0xD800, 0xDFFF),  # halves of surrogate pairs, which no valid text has alone
    (0xE000, 0xF8FF),  # private use
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFE10, 0xFE6F),  # vertical and small punctuation
    (0xFEFF, 0xFF0F),  # byte order mark, full-width punctuation
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFFF),  # full-width signs, specials
    (0xE0000, 0x10FFFF),  # tags, variation selectors, private use
)

SINGLES = (
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x2190, 0x2BFF),  # arrows, technical signs, pictographs
    (0x2E80, 0x2FFF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x302F),
    (0x3031, 0x9FFF),  # Kana, Bopomofo, enclosed signs, unified ideographs
    (0xA960, 0xA97F),  # Hangul Jamo Extended-A
    (0xAC00, 0xD7FF),  # Hangul syllables
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFF66, 0xFFDF),  # half-width Katakana and Hangul
    (0x1B000, 0x1B16F),  # Kana supplements
    (0x1F000, 0x1FAFF),  # pictographs and emoji
    (0x20000, 0x3FFFF),  # ideographs beyond the basic plane
)


def _fold_table() -> dict[int, int]:
    """Code point -> its simple lower-case code point, for those that change."""
    table = {}
    for first, last in FOLDED_BLOCKS:
        for code_point in range(first, last + 1):
            lower = chr(code_point).lower()
            if len(lower) == 1 and ord(lower) != code_point:
                table[code_point] = ord(lower)
    table[0x0130] = 0x0069  # I with dot: its full lower-case form has two code points
    return table


FOLD = _fold_table()


def character_class(ranges: Sequence[tuple[int, int]], escape: str) -> str:
    r"""Writes code point ranges `(first, last)` as a regular expression's character class.

    `escape` is how the dialect writes a code point, for example `r"\\U{:08X}"` for Python.
    """
    return "[" + "".join(f"{escape.format(a)}-{escape.format(b)}" for a, b in ranges) + "]"


_PYTHON_ESCAPE = r"\U{:08X}"
_SEPARATOR = re.compile(character_class(SEPARATORS, _PYTHON_ESCAPE) + "+")
_SINGLE = re.compile("(" + character_class(SINGLES, _PYTHON_ESCAPE) + ")")
_WORD = re.compile(
    character_class(SINGLES, _PYTHON_ESCAPE)
    + "|"
    + character_class((*SEPARATORS, *SINGLES), _PYTHON_ESCAPE).replace("[", "[^", 1)
    + "+"
)


def split_words(text: str) -> list[str]:
    """Folds case and splits a text into words.

    Args:
        text: Any string; an empty one has no words.

    Returns:
        The words in order.

    Examples:
        >>> split_words("Don't PANIC: 茶杯 2x")
        ['don', 't', 'panic', '茶', '杯', '2x']
    """
    folded = _SEPARATOR.sub(" ", text.translate(FOLD))
    return _SINGLE.sub(r" \1 ", folded).split()


def first_words(text: str, number: int) -> str:
    """Gives the part of a text from its first word to the end of its last one of `number`.

    Examples:
        >>> first_words("  Don't PANIC: 茶杯 2x", 3)
        "Don't PANIC"
    """
    found = [word.span() for word in islice(_WORD.finditer(text), number)]
    return text[found[0][0] : found[-1][1]] if found else ""


def build_vocabulary(texts: Iterable[str], *, max_size: int = 2000) -> list[str]:
    """Chooses the most frequent words of the training texts.

    Args:
        texts: Texts of the training split only: words of other splits would be a leak.
        max_size: Largest number of entries, `<pad>` and `<unk>` included; at least 3.

    Returns:
        The vocabulary: `<pad>`, `<unk>`, then words by falling frequency, equal ones in
        the order of their code points.
    """
    if max_size < 3:
        raise ValueError(
            f"`max_size`: at least 3, for <pad>, <unk> and one word. Received: max_size={max_size}."
        )
    counts = Counter(word for text in texts for word in split_words(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return [PAD, UNKNOWN, *ranked[: max_size - 2]]


class Tokenizer:
    """Maps a text to a fixed number of token ids.

    Args:
        vocabulary: Words in the order of their ids; the first two are `<pad>` and `<unk>`.
        length: Number of ids that a text becomes; at least 1.

    Examples:
        >>> tokenizer = Tokenizer(["<pad>", "<unk>", "red", "cup"], length=4)
        >>> tokenizer("Red tea cup!")
        [2, 1, 3, 0]
    """

    def __init__(self, vocabulary: Sequence[str], length: int):
        if list(vocabulary[:2]) != [PAD, UNKNOWN] or len(set(vocabulary)) != len(vocabulary):
            raise ValueError(
                f"`vocabulary`: distinct words that begin with '{PAD}', '{UNKNOWN}'. "
                f"Received: {len(vocabulary)} words beginning with {list(vocabulary[:2])}, "
                f"{len(set(vocabulary))} of them distinct. Make it with build_vocabulary()."
            )
        if length < 1:
            raise ValueError(f"`length`: at least 1. Received: length={length}.")
        self.vocabulary = list(vocabulary)
        self.length = length
        self._ids = {word: index for index, word in enumerate(self.vocabulary) if index > 1}

    def __call__(self, text: str) -> list[int]:
        """Returns `length` ids: words beyond are cut, missing ones are 0."""
        ids = [self._ids.get(word, UNKNOWN_ID) for word in split_words(text)[: self.length]]
        return ids + [PAD_ID] * (self.length - len(ids))

    def words(self, text: str) -> list[tuple[str, bool]]:
        """Returns the words that are read, each with whether the vocabulary has it."""
        return [(word, word in self._ids) for word in split_words(text)[: self.length]]


class TextReader:
    """Reads texts for one input of a model, see `mmkd_tf.edge.examples.Reader`.

    The input takes UTF-8 if it is of uint8, token ids otherwise.
    """

    items = "texts"
    absent = "A text without a letter, a digit or a sign of its own counts as absent."

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        description: Mapping,
        files: Mapping[str, str],
    ):
        if len(shape) != 1 or dtype.name not in ("int32", "int64", "uint8"):
            raise ValueError("texts are int32, int64 or uint8 [batch, length]")
        self._name, self._size = name, shape[0]
        self._takes_bytes, self._tokenizer = dtype == np.uint8, None
        self._vocabulary = files.get(VOCABULARY_FILE)
        self._most_words = description.get("most_words")
        self.trial = np.zeros(shape, dtype)
        if self._vocabulary is not None and not self._takes_bytes:
            vocabulary = self._vocabulary.split("\n")
            self._tokenizer = Tokenizer(vocabulary, length=self._size)
            self.trial[:] = len(vocabulary) - 1

    def __call__(self, value) -> np.ndarray | list[int]:
        """Gives the token ids, or the UTF-8, of a str."""
        self._check(value)
        if self._takes_bytes:
            return text_bytes(value, num_bytes=self._size)
        if self._tokenizer is None:
            raise ValueError(
                f"`{self._name}`: nothing, since this file was exported without a vocabulary. "
                "Export it with vocabulary=."
            )
        return self._tokenizer(value)

    def words(self, value) -> list[tuple[str, bool]]:
        """Gives the words of a str that are read, each with whether the model knows it.

        Empty also where the file does not say which words it knows.
        """
        self._check(value)
        if self._tokenizer is not None:
            return self._tokenizer.words(value)
        if self._vocabulary is None:
            return []
        known = set(self._vocabulary.split("\n")[UNKNOWN_ID + 1 :])
        read = text_bytes(value, num_bytes=self._size).tobytes().rstrip(b"\0").decode()
        return [(word, word in known) for word in split_words(read)]

    def cut_words(self, value) -> list[str]:
        """Gives the words of a str that the model would read, but for which its bytes lack room.

        Empty where the input takes token ids, of which it has as many as it reads.
        """
        self._check(value)
        if not self._takes_bytes:
            return []
        read = text_bytes(value, num_bytes=self._size).tobytes().rstrip(b"\0").decode()
        return split_words(value)[: self._most_words][len(split_words(read)) :]

    def _check(self, value) -> None:
        if not isinstance(value, str):
            raise TypeError(
                f"`{self._name}`: a str. Received: {self._name}={type(value).__name__}. "
                + ("Decode bytes as UTF-8." if isinstance(value, bytes) else "Convert it by str().")
            )


def text_bytes(text: str, *, num_bytes: int) -> np.ndarray:
    """Writes a text as UTF-8, for a model that has its tokenizer inside.

    Args:
        text: As people write it. One without words counts as absent: all zeros.
        num_bytes: Size of the result. Of a longer text, what parts its words takes one byte each
            time; if it is still longer, it is cut behind a word, within the first where that alone
            is longer.

    Returns:
        uint8 `[num_bytes]`, 0 on the right.
    """
    # U+0000 would end the text, and halves of surrogate pairs have no UTF-8: both separate words,
    # as the space and the question mark do that take their places.
    content = text.replace("\0", " ").encode("utf-8", "replace")
    if len(content) > num_bytes:
        text = _SEPARATOR.sub(" ", text).strip(" ")
        content = text.encode("utf-8")
    kept = content[:num_bytes].decode("utf-8", "ignore")
    words = len(split_words(kept))
    # A part of a word could be taken for another one.
    if words > 1 and split_words(kept) != split_words(text)[:words]:
        kept = first_words(kept, words - 1)
    content = kept.encode("utf-8", "replace") if words else b""
    return np.frombuffer(content.ljust(num_bytes, b"\0"), np.uint8)
