"""Word lists: the words of a language by how often people use them.

An encoder's vocabulary holds the pieces that texts are cut into, in many languages at once; many an
everyday word is none of its pieces as a whole. The encoder still says something of each word.
"""

import functools
import hashlib
import heapq
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from spellchecker import SpellChecker

from mmkd_tf.backbones.weight_files import cache_folder
from mmkd_tf.files.whole import whole_file

LEAST_SHARE = 0.1  # of the words, that a language must explain beyond those before it
MOST_LANGUAGES = 3
MOST_WORDS = 50_000  # of a language


def common_words(known: Sequence[str]) -> list[str]:
    """Gives the words of the languages that some words are of, the most frequent first.

    The language that has most of the known words comes first, then the one that has most of those
    left; where there are several, their words take turns.

    Args:
        known: Lower-case words, such as those of training texts.

    Returns:
        Lower-case words of letters alone, each once; none where no list has a tenth of the words.
    """
    left = {word for word in known if word.isalpha()}
    found: list[list[str]] = []
    letters, number = set("".join(left)), len(left)
    lists = {name: _by_frequency(name) for name in SpellChecker.languages()} if left else {}
    while left and len(found) < MOST_LANGUAGES:
        had = {name: left.intersection(words) for name, words in lists.items()}
        best = max(had, key=lambda name: len(had[name]))
        if len(had[best]) < LEAST_SHARE * number:
            break
        left -= had[best]
        found.append([word for word in lists[best] if letters.issuperset(word)])
    return in_turn(found)


def in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """Puts lists together by the place of their items, each item once."""
    places: dict[str, int] = {}
    for items in lists:
        for place, item in enumerate(items):
            places[item] = min(place, places.get(item, place))
    return sorted(places, key=places.__getitem__)


@functools.cache
def _by_frequency(language: str) -> tuple[str, ...]:
    """The words of a language; to sort them takes a second, so they are kept for later runs."""
    name = f"{language}-{version('pyspellchecker')}-{MOST_WORDS}.txt"
    file = cache_folder() / "words" / name
    if (kept := _read(file)) is not None:
        return kept
    counts = SpellChecker(language=language, distance=1).word_frequency.dictionary
    words = (word for word in counts if word.isalpha())
    found = heapq.nsmallest(MOST_WORDS, words, key=lambda word: (-counts[word], word))
    text = "\n".join(found)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as unfinished:
        unfinished.write_text(f"{_checksum(text)}\n{text}", encoding="utf-8", newline="\n")
    return tuple(found)


def _read(file: Path) -> tuple[str, ...] | None:
    """The words of a file that is there and whole."""
    try:
        checksum, _, text = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return tuple(text.split("\n")) if checksum == _checksum(text) else None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
