"""Which emoji are variants of one emoji, so that all of them lie in one split."""

import hashlib
import re

import numpy as np

# Names that differ in nothing but these words belong to variants of one emoji.
VARIANT_WORDS = frozenset(
    """
    man men woman women person people adult boy girl child male female mens womens older mx father
    mother hair blond red orange yellow green blue purple brown black white grey pink light large
    medium small heavy multiple two three double one four five six seven eight nine ten eleven
    twelve thirty left right up down upwards downwards leftwards rightwards clockwise anticlockwise
    north south east west horizontally vertically facing pointing curving open closed raised
    lowered oncoming new full first second third last quarter waxing waning crescent gibbous face
    with and of the in at on to then getting wearing doing playing oclock
    """.split()
)

# Variants that neither the code points nor the names show: crowns, Father Christmas and his
# relatives, dancers, people who feed a baby, imps, flags of Norway and of the United States.
OTHER_VARIANTS = (
    {"1F934", "1F478", "1FAC5"},
    {"1F385", "1F936", "1F9D1-200D-1F384"},
    {"1F483", "1F57A"},
    {"1F931", "1F9D1-200D-1F37C"},
    {"1F608", "1F47F"},
    {"1F1F3-1F1F4", "1F1E7-1F1FB"},
    {"1F1FA-1F1F8", "1F1FA-1F1F2"},
)

_ADULTS = {"1F468", "1F469", "1F9D1"}
_CHILDREN = {"1F466", "1F467", "1F9D2"}
# Joiner, presentation selector, female, male, facing right, four kinds of hair.
_VARIANT_CODES = {"200D", "FE0F", "2640", "2642", "27A1", "1F9B0", "1F9B1", "1F9B2", "1F9B3"}


def variant_keys(unified: str, name: str, image: np.ndarray) -> set[str]:
    """Says what an emoji shares with its variants.

    Args:
        unified: str, code points in hexadecimal, joined by "-".
        name: str, the full name.
        image: uint8 array, `[height, width, 3]`.

    Returns:
        A set of str. Two emoji with a common key are variants of each other: they have the same
        base (a man, woman or adult counts by what is joined to them, and all families are one),
        the same name but for `VARIANT_WORDS` and single letters and digits, or the same picture,
        as the flags of Norway and Svalbard.
    """
    first, *rest = unified.split("-")
    codes = [first, *(code for code in rest if code not in _VARIANT_CODES)]
    # A flag is spelled in letters: no letter is its base, and Koreas and Guineas are not variants.
    spelled = first.startswith(("1F1E", "1F1F")) or "E007F" in codes
    if spelled:
        base = unified
    elif first in _ADULTS:
        joined = [code for code in codes if code not in _ADULTS]
        base = "family" if _CHILDREN.intersection(joined) else "+".join(["adult", *joined])
    else:
        base = first
    words = set(re.findall(r"[^\W\d]{2,}", name.lower())) - VARIANT_WORDS
    keys = {f"base {base}", f"picture {hashlib.sha256(image.tobytes()).hexdigest()}"}
    if words and not spelled:
        keys.add("name " + " ".join(sorted(words)))
    return keys | {f"other {i}" for i, others in enumerate(OTHER_VARIANTS) if unified in others}


def choose_split(variants: str) -> str:
    """Returns train (about 70 %), validation (10 %) or test (20 %) for a group of variants.

    Args:
        variants: str, as `join_variants` names the group.
    """
    # Python's own hash() differs from one process to the next.
    digest = hashlib.sha256(f"emoji 1 {variants}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if fraction < 0.7 else "validation" if fraction < 0.8 else "test"


def join_variants(keys: dict[str, set[str]]) -> dict[str, str]:
    """Puts emoji that share a key, directly or through others, into one group.

    Args:
        keys: For each emoji (its code points), its `variant_keys`.

    Returns:
        For each emoji, in the same order, the last member of its group.
    """
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        while parents.setdefault(node, node) != node:
            node = parents[node]
        return node

    for unified, own_keys in keys.items():
        for key in own_keys:
            parents[root(key)] = root(unified)
    return {unified: root(unified) for unified in keys}
