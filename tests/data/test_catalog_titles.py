import re

import numpy as np
import pytest

from mmkd_tf.data.catalog_titles import (
    CLUTTER,
    CONDITION_WORDS,
    KIND_WORDS,
    typos,
    write_title,
)


def spellings(phrases):
    """Every way in which a word of the phrases may be written."""
    words = {word for phrase in phrases for word in phrase.split()}
    return words.union(*map(typos, words))


KIND_SPELLINGS = {kind: spellings(phrases) for kind, phrases in KIND_WORDS.items()}
CONDITION_SPELLINGS = {told: spellings(phrases) for told, phrases in CONDITION_WORDS.items()}


def read(title, told_by):
    """What a perfect reader takes from a title."""
    words = set(title.lower().split())
    return [told for told, known in told_by.items() if words & known]


def test_typos():
    # Left out, doubled and swapped, for each letter but the first.
    assert typos("lamp") == [
        *("lmp", "laamp", "lmap"),
        *("lap", "lammp", "lapm"),
        *("lam", "lampp"),
    ]
    assert typos("mug") == []


def test_no_typo_can_be_read_as_something_else():
    groups = [*KIND_SPELLINGS.values(), *CONDITION_SPELLINGS.values()]
    groups.append({word for phrase in CLUTTER for word in phrase.split()})

    for i, group in enumerate(groups):
        for other in groups[:i]:
            assert not group & other


@pytest.mark.parametrize("kind", [None, *KIND_WORDS])
@pytest.mark.parametrize("condition", [None, *CONDITION_WORDS])
def test_title_tells_what_it_is_given_and_nothing_else(kind, condition):
    rng = np.random.default_rng(0)

    for _ in range(100):
        title = write_title(kind, condition, rng)
        assert re.fullmatch(r"\S+( \S+)*", title)
        assert read(title, KIND_SPELLINGS) == ([kind] if kind else [])
        assert read(title, CONDITION_SPELLINGS) == ([condition] if condition else [])


def test_titles_vary():
    rng = np.random.default_rng(0)
    titles = [write_title("mug", "new", rng) for _ in range(200)]

    assert len(set(titles)) > 190
    assert sum(title.isupper() for title in titles) > 20
    misspelt = set(" ".join(titles).lower().split()) & (
        KIND_SPELLINGS["mug"] - spellings(["mug", "cup"])
    )
    assert "tankard" in misspelt and len(misspelt) > 3
