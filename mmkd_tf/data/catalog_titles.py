"""Writes the titles of the catalog: synonyms, typos and clutter, as sellers write them."""

import numpy as np

KIND_WORDS = {
    "mug": ("mug", "cup", "coffee mug", "tea cup", "tankard"),
    "bottle": ("bottle", "flask", "water bottle", "carafe", "decanter"),
    "lamp": ("lamp", "desk lamp", "lantern", "table light", "reading lamp"),
    "chair": ("chair", "armchair", "dining chair", "seat", "side chair"),
    "handbag": ("handbag", "bag", "tote", "shoulder bag", "purse"),
}
CONDITION_WORDS = {
    "new": ("new", "brand new", "sealed", "untouched", "with tags"),
    "used": ("used", "second hand", "pre-owned", "worn", "vintage"),
}
CLUTTER = (
    "great gift idea",
    "free postage",
    "top quality",
    "must see",
    "low price",
    "fast delivery",
    "pick up only",
    "home decor",
    "classic design",
    "bargain",
    "rare find",
    "l@@k",
    "no reserve",
    "item 4821",
    "from smoke free home",
    "100% genuine",
)
TYPO_RATE = 0.25  # Of the words that tell a kind or a condition.


def typos(word: str) -> list[str]:
    """Returns the misspellings of a word that sellers make, in a fixed order.

    Two neighbouring letters are swapped, a letter is missing or a letter is doubled; the first
    letter stays. Words of fewer than four letters have none.
    """
    if len(word) < 4:
        return []
    found = []
    for i in range(1, len(word)):
        found.append(word[:i] + word[i + 1 :])
        found.append(word[:i] + word[i] + word[i:])
        found.append(word[:i] + word[i : i + 2][::-1] + word[i + 2 :])
    return [spelling for spelling in dict.fromkeys(found) if spelling != word]


def write_title(kind: str | None, condition: str | None, rng: np.random.Generator) -> str:
    """Writes a title.

    Args:
        kind: One of `KIND_WORDS`, or None: the title then does not tell the kind.
        condition: One of `CONDITION_WORDS`, or None: the title then does not tell it.
        rng: Chooses everything else.

    Returns:
        A str of 1 to 5 phrases in any order, never empty.
    """
    clutter = rng.choice(len(CLUTTER), size=rng.integers(1, 4), replace=False)
    phrases = [CLUTTER[i] for i in clutter]
    for told, words in ((kind, KIND_WORDS), (condition, CONDITION_WORDS)):
        if told is not None:
            phrases.append(_misspell(words[told][rng.integers(len(words[told]))], rng))
    title = " ".join(phrases[i] for i in rng.permutation(len(phrases)))
    return (title, title.capitalize(), title.title(), title.upper())[rng.integers(4)]


def _misspell(phrase: str, rng: np.random.Generator) -> str:
    words = []
    for word in phrase.split():
        wrong = typos(word) if rng.random() < TYPO_RATE else []
        words.append(wrong[rng.integers(len(wrong))] if wrong else word)
    return " ".join(words)
