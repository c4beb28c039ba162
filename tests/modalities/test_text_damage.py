from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.text_damage import drop_words, mistype, shuffle_words

CHANGES = (mistype, drop_words, shuffle_words)
LONG = " ".join(f"word{index}" for index in range(200))


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("change", CHANGES)
@given(text=st.text(), amount=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_text_with_words_keeps_some_and_one_without_stays(change, text, amount, seed):
    changed = change(text, amount, generator(seed))
    assert bool(split_words(changed)) == bool(split_words(text))
    assert split_words(text) or changed == text
    assert changed == change(text, amount, generator(seed))


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_of_it_changes_nothing(change):
    text = "  A red-hot, CUP (茶杯)! "
    assert change(text, 0.0, generator()) == text


def test_every_word_gets_one_mistake():
    words = ["lamp", "Cup", "aa", "x", "2x", "ёлка"]
    for seed in range(50):
        changed = mistype(" ".join(words), 1.0, generator(seed)).split(" ")
        assert len(changed) == len(words)
        for word, new in zip(words, changed, strict=True):
            assert new and new.lower() != word.lower()
            assert abs(len(new) - len(word)) <= 1
            kept = Counter(word) & Counter(new)
            assert kept.total() >= len(word) - 1


def test_all_four_mistakes_are_made():
    seen = {mistype("ab", 1.0, generator(seed)) for seed in range(100)}
    # Swapped; one letter less; one letter replaced; one letter more, of those the text has.
    assert seen == {"ba", "a", "b", "bb", "aa", "aab", "bab", "abb"}


def test_letters_are_of_the_texts_script():
    changed = mistype("синяя чашка и блюдце", 1.0, generator(5))
    assert changed != "синяя чашка и блюдце" and not any("a" <= c <= "z" for c in changed)


@pytest.mark.parametrize("change", [mistype, drop_words])
def test_the_share_is_met_and_more_is_the_same_and_others(change):
    few, many = (change(LONG, share, generator()) for share in (0.2, 0.6))
    words = LONG.split(" ")
    hit = [
        [new != word for word, new in zip(words, text.split(" "), strict=True)]
        for text in (few, many)
    ]
    assert np.mean(hit[0]) == pytest.approx(0.2, abs=0.07)
    assert np.mean(hit[1]) == pytest.approx(0.6, abs=0.07)
    assert all(np.array(hit[1])[hit[0]])


def test_one_word_is_left():
    assert drop_words("red cup", 1.0, generator()).split() in (["red"], ["cup"])
    assert drop_words("cup", 1.0, generator()) == "cup"


def test_shuffled_words_are_the_same_words_elsewhere():
    words = LONG.split(" ")
    for amount in (0.2, 1.0):
        changed = shuffle_words(LONG, amount, generator()).split(" ")
        assert Counter(changed) == Counter(words)
        moved = sum(new != word for word, new in zip(words, changed, strict=True))
        assert moved == amount * len(words)
    assert shuffle_words("red cup", 0.2, generator()) == "cup red"
    assert shuffle_words("茶杯", 1.0, generator()) == "杯茶"
    assert shuffle_words("cup", 1.0, generator()) == "cup"
