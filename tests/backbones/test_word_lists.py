"""Words of languages by frequency."""

import pytest

from mmkd_tf.backbones import word_lists
from mmkd_tf.backbones.word_lists import common_words, in_turn


@pytest.mark.parametrize(
    ("known", "first", "others"),
    [
        ("the red cup is on a table by the window", "the", {"pizza", "squirrel", "scissors"}),
        ("le chat est sur la chaise avec une pomme jaune", "le", {"voiture", "manger"}),
    ],
)
def test_the_language_is_that_of_the_known_words(known, first, others):
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = common_words([*known.split(), letters])
    assert words.index(first) < 10 and others < set(words)
    assert len(set(words)) == len(words) and all(set(word) <= set(letters) for word in words)


def test_words_of_two_languages_take_turns():
    both = "the cat and the dog are in this house".split()
    both += "le chat et les chiens sont dans cette maison".split()
    words = common_words(both)
    assert max(words.index("the"), words.index("le")) < 10


def test_what_no_list_knows_has_none():
    assert common_words([]) == common_words(["qzx", "xqz", "zzq", "\u6211"]) == []


def test_items_come_by_their_place_in_any_list():
    assert in_turn([["a", "b", "c"], ["d", "b"]]) == ["a", "d", "b", "c"]
    assert in_turn([]) == []


def test_lists_are_kept_and_made_again_where_they_are_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path))
    by_frequency = word_lists._by_frequency.__wrapped__
    made = by_frequency("fa")
    (file,) = (tmp_path / "words").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(word_lists, "SpellChecker", None)
        assert by_frequency("fa") == made
    file.write_bytes(file.read_bytes()[:-10])
    assert by_frequency("fa") == made
