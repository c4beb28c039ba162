"""Damage to a text: each function gives a new one, the same for the same generator.

All take `(text, amount, rng)`: any string, a share of its words, and the generator that decides
which and how. Words are those of `mmkd_tf.edge.tokenizer`; what stands between them stays. A text
without words is left as it is, and none loses its last one: it would be absent, which is another
kind of damage.
"""

import re
from collections.abc import Callable

import numpy as np

from mmkd_tf.edge.tokenizer import SEPARATORS, SINGLES, character_class
from mmkd_tf.modalities.modality import Damage

_ESCAPE = r"\U{:08X}"
_SINGLE = character_class(SINGLES, _ESCAPE)
_OTHER = character_class((*SEPARATORS, *SINGLES), _ESCAPE).replace("[", "[^", 1)
_WORD = re.compile(f"({_SINGLE}|{_OTHER}+)")


def mistype(text: str, amount: float, rng: np.random.Generator) -> str:
    """Makes a typing mistake in each word with probability `amount`, 0 to 1.

    Two neighbouring letters change places, or a letter is left out, replaced or put in; new
    letters are such as the text has, so that it keeps its script.
    """
    pieces, words = _split(text)
    letters = sorted({letter for word in words for letter in word.lower() if letter.isalpha()})
    for index, word in enumerate(words):
        # All is drawn for each word, so that more mistakes are the same ones and others.
        chance, place, letter = rng.random(3)
        first = int(rng.integers(len(_MISTAKES)))
        if chance < amount:
            new = letters[int(letter * len(letters))] if letters else "x"
            pieces[2 * index + 1] = _mistake(word, int(place * len(word)), new, first)
    return "".join(pieces)


def drop_words(text: str, amount: float, rng: np.random.Generator) -> str:
    """Leaves each word out with probability `amount`, 0 to 1, but never all."""
    pieces, words = _split(text)
    chances = rng.random(len(words))
    for index in range(len(words)):
        if chances[index] < amount and index != chances.argmax():
            pieces[2 * index + 1] = ""
    return "".join(pieces)


def shuffle_words(text: str, amount: float, rng: np.random.Generator) -> str:
    """Moves a share `amount` of the words, 0 to 1, to each other's places; at least two if any."""
    pieces, words = _split(text)
    places = rng.permutation(len(words))
    places = places[: max(2, round(amount * len(words)))] if amount else places[:0]
    # Each goes to the next one's place: none stays where it was.
    for place, other in zip(places, np.roll(places, -1), strict=True):
        pieces[2 * other + 1] = words[place]
    return "".join(pieces)


def _split(text: str) -> tuple[list[str], list[str]]:
    """Gives what the text is joined of, with the words at the odd places, and the words."""
    pieces = _WORD.split(text)
    return pieces, pieces[1::2]


def _mistake(word: str, place: int, letter: str, first: int) -> str:
    """Makes the first mistake from `first` on that changes the word and leaves something of it."""
    for turn in range(len(_MISTAKES)):
        changed = _MISTAKES[(first + turn) % len(_MISTAKES)](word, place, letter)
        if changed and changed.lower() != word.lower():
            return changed
    raise AssertionError("a letter more is always a change")  # pragma: no cover


_MISTAKES: tuple[Callable[[str, int, str], str], ...] = (
    lambda word, place, letter: word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
    lambda word, place, letter: word[:place] + word[place + 1 :],
    lambda word, place, letter: word[:place] + letter + word[place + 1 :],
    lambda word, place, letter: word[:place] + letter + word[place:],
)

_FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
_UP_TO_THREE_QUARTERS = (0.15, 0.3, 0.45, 0.6, 0.75)

DAMAGES = {
    "typos": Damage(mistype, _FIFTHS, "share of the words with a mistake"),
    "dropped_words": Damage(drop_words, _UP_TO_THREE_QUARTERS, "share of the words left out"),
    "shuffled_words": Damage(shuffle_words, _FIFTHS, "share of the words in another's place"),
}
