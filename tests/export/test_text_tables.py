import numpy as np
import pytest

from mmkd_tf.edge.tokenizer import FOLD, split_words
from mmkd_tf.export.text_tables import NUM_LEADS, UNKNOWN_LETTER, number_symbols, place_words

WORDS = ["cab", "größe", "σας", "茶", "👍", "𐐀", "\u0301", "\U00040000"]


@pytest.fixture(scope="module")
def symbols():
    return number_symbols(WORDS)


def walk(table, content):
    """The symbol of the character that `content` begins with, as the docstring says."""
    found = table[content[0]]
    for byte in content[1:].ljust(3):
        if found > 0:
            found = table[found + (byte - 128 if 128 <= byte < 192 else 64)]
    return found


def test_numbers_are_those_of_the_docstring(symbols):
    letters = sorted(set("cabgrößeσας𐐀\u0301\U00040000"))
    assert [symbols.codes[letter] for letter in letters] == [-2 - i for i in range(len(letters))]
    assert symbols.first_single == -2 - len(letters)
    assert symbols.codes["茶"] == symbols.first_single - 1
    assert symbols.codes["👍"] == symbols.first_single - 2
    assert len(symbols.codes) == len(letters) + 2


def test_every_code_point(symbols):
    def expected(character):
        word = split_words(character)
        if not word:
            return 0
        single = split_words(f"a{character}a") != [f"a{word[0]}a"]
        return symbols.codes.get(word[0], symbols.first_single if single else UNKNOWN_LETTER)

    # All that are near a change, and a sample of the others.
    codes = {c + d for a, b in FOLD.items() for c in (a, b) for d in (-1, 0, 1)}
    codes |= set(range(0x1000)) | set(range(0, 0x110000, 61)) | set(range(0x3F, 0x110000, 0x40))
    for code in codes - set(range(0xD800, 0xE000)):
        assert walk(symbols.table, chr(code).encode()) == expected(chr(code)), hex(code)


def test_bytes_that_begin_no_character_are_separators(symbols):
    rng = np.random.default_rng(0)
    contents = [bytes([lead, *rng.integers(0, 256, 3)]) for lead in range(256) for _ in range(50)]
    near = rng.integers(0x7E, 0xC2, (20_000, 3))
    contents += [bytes([lead, *row]) for lead, row in zip(range(0xC0, 0x100), near, strict=False)]
    contents += [bytes([0xE0 + row[0] % 0x18, *row]) for row in near]
    for content in contents:
        character = content.decode("utf-8", errors="replace")[0]
        symbol = walk(symbols.table, content)
        if character == "\ufffd":
            assert symbol == 0, content
        else:
            assert symbol == walk(symbols.table, character.encode()), content


def test_the_table_holds_nodes_only(symbols):
    places = symbols.table[symbols.table > 0]
    assert ((places - NUM_LEADS) % 65 == 0).all()
    assert places.max() == len(symbols.table) - 65
    # Few words need few nodes: a page of the common signs is kept once.
    assert len(symbols.table) < 4000


def test_symbols_of_no_words():
    symbols = number_symbols([])
    assert (symbols.codes, symbols.first_single) == ({}, -2)
    assert walk(symbols.table, b"a") == UNKNOWN_LETTER
    assert walk(symbols.table, "茶".encode()) == -2


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
