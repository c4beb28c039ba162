import numpy as np
import pytest

from mmkd_tf.export.tokenizing.word_table import place_words


def random_words(number, seed=0):
    rng = np.random.default_rng(seed)
    words = {tuple(-rng.integers(2, 30, rng.integers(1, 12))) for _ in range(number)}
    return [(), (), *sorted(words)]


def place(table, word):
    """The docstring's formula."""
    sums = table.weights[:, : len(word)].astype(int) @ np.array(word)
    shift = table.shifts[sums[0] % len(table.shifts)]
    return (sums[1] + shift) % len(table.words)


@pytest.mark.parametrize("number", [1, 2, 10, 3000])
def test_each_word_has_a_place_of_its_own(number):
    words = random_words(number)
    table = place_words(words, lowest_letter=-31, num_summed=100)
    places = [place(table, word) for word in words[2:]]
    assert len(set(places)) == len(places)
    assert [table.words[p] for p in places] == list(range(2, len(words)))
    free = np.delete(table.words, places)
    assert not free.any() and len(free) < 0.3 * number + 2


def test_symbols_lie_one_word_after_the_other():
    words = [(), (-2, -3), (), (-4,)]
    table = place_words(words, lowest_letter=-5, num_summed=10)
    assert table.starts.tolist() == [0, 0, 2, 2, 3]
    # Behind them as many zeros as a position beyond the longest word can reach.
    assert table.symbols.tolist() == [-2, -3, -4, 0, 0, 0]
    assert table.longest == 2


def test_sums_stay_within_int32():
    words = [(), (-1000, -3, -4), (-2, -50)]
    table = place_words(words, lowest_letter=-50, num_summed=500)
    heaviest = np.abs(table.weights).max(axis=0)
    assert heaviest[0] * 1000 * 500 < 2**31 - len(table.words)
    assert heaviest[1:].max() * 50 * 500 < 2**31 - len(table.words)
    assert (table.weights[:, :-1] < 0).all() and not table.weights[:, -1].any()


def test_no_words():
    table = place_words([(), ()], lowest_letter=-2, num_summed=10)
    assert table.words.tolist() == [0]
    assert table.longest == 1


def test_the_same_words_give_the_same_table():
    words = random_words(50)
    one, other = (place_words(words, lowest_letter=-31, num_summed=100) for _ in range(2))
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.shifts, other.shifts)


def test_refuses_what_no_weights_fit():
    with pytest.raises(ValueError, match="2 words of up to 1 characters, 70000 different ones"):
        place_words([(), (-70_000,)], lowest_letter=-2, num_summed=32_768)
