import pytest

from mmkd_tf.edge.tokenizer import Tokenizer, build_vocabulary, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n ", []),
        ("Red Cup, 2 PIECES!", ["red", "cup", "2", "pieces"]),
        ("don't", ["don", "t"]),
        ("Größe ÉCLAIR Ñandú", ["größe", "éclair", "ñandú"]),
        ("ΣΟΦΊΑΣ Привет", ["σοφίασ", "привет"]),  # no final sigma: one rule for each letter
        ("İstanbul", ["istanbul"]),
        ("茶杯 red茶", ["茶", "杯", "red", "茶"]),
        ("コーヒー", ["コ", "ー", "ヒ", "ー"]),
        ("커피 잔", ["커", "피", "잔"]),
        ("ab👍🏽cd", ["ab", "👍", "🏽", "cd"]),
        ("a\u200db\ufe0f\u00a0c", ["a", "b", "c"]),
        ("\ud800x", ["x"]),
        ("नमस्ते", ["नमस्ते"]),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


def test_vocabulary_is_ranked_by_frequency_then_code_point():
    texts = ["b a", "a c", "B"]
    assert build_vocabulary(texts) == ["<pad>", "<unk>", "a", "b", "c"]
    assert build_vocabulary(texts, max_size=3) == ["<pad>", "<unk>", "a"]


def test_ids_are_cut_filled_and_unknown():
    tokenizer = Tokenizer(["<pad>", "<unk>", "red", "cup"], length=3)
    assert tokenizer("red cup") == [2, 3, 0]
    assert tokenizer("blue red cup cup") == [1, 2, 3]
    assert tokenizer("") == [0, 0, 0]


def test_the_words_pad_and_unk_in_a_text_are_ordinary_words():
    assert Tokenizer(["<pad>", "<unk>", "pad"], length=2)("<pad> <unk>") == [2, 1]


def test_refuses_what_is_no_vocabulary():
    with pytest.raises(ValueError, match="`vocabulary`: distinct words that begin with '<pad>'"):
        Tokenizer(["red", "cup"], length=3)
    with pytest.raises(ValueError, match="3 of them distinct"):
        Tokenizer(["<pad>", "<unk>", "red", "red"], length=3)
    with pytest.raises(ValueError, match="`length`: at least 1"):
        Tokenizer(["<pad>", "<unk>"], length=0)
    with pytest.raises(ValueError, match="`max_size`: at least 3"):
        build_vocabulary([], max_size=2)
