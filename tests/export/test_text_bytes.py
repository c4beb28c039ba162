import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES, Tokenizer
from mmkd_tf.export.text_bytes import default_num_bytes, text_reader

VECTORS = json.loads((Path(__file__).parents[2] / "docs/tokenizer_vectors.json").read_text())
NUM_BYTES = 512

# Short words of few letters: there are many that differ from a vocabulary word in one of them.
LETTERS = "abÄäΣσςßẞıİi1\u0301茶杯か👍𐐀ж"
RNG = np.random.default_rng(0)
SHORT_WORDS = sorted({"".join(RNG.choice(list("abäσς"), RNG.integers(1, 5))) for _ in range(400)})
VOCABULARY = ["<pad>", "<unk>", *SHORT_WORDS, "茶", "👍", "か", "ß", "1", "𐐀", "ж" * 30]
LENGTH = 12


def run_all(reader, rows):
    """Runs a file of the reader alone on uint8 `[n, num_bytes]`, one text at a time or `[n]`."""
    function = tf.function(lambda text: {"ids": reader.read(text)}, autograph=False)
    concrete = function.get_concrete_function(reader.spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    runner = Interpreter(model_content=converter.convert()).get_signature_runner()
    size = reader.spec.shape[0] or len(rows)
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    return np.concatenate([runner(text=batch)["ids"] for batch in batches])


def to_rows(contents, num_bytes=NUM_BYTES):
    padded = b"".join(content[:num_bytes].ljust(num_bytes, b"\0") for content in contents)
    return np.frombuffer(padded, np.uint8).reshape(-1, num_bytes)


def plain_ids(contents, vocabulary, length, num_bytes=NUM_BYTES):
    tokenizer = Tokenizer(vocabulary, length)
    return [tokenizer(content[:num_bytes].decode(errors="replace")) for content in contents]


@pytest.fixture(scope="module")
def reader():
    return text_reader(VOCABULARY, length=LENGTH, num_bytes=NUM_BYTES, batch_size=None)


@pytest.fixture(scope="module")
def graph(reader):
    return tf.function(reader.read, autograph=False)


def test_every_vector():
    vectors = VECTORS["vectors"] + VECTORS["byte_vectors"]
    contents = [bytes(v["bytes"]) if "bytes" in v else v["text"].encode() for v in vectors]
    assert max(map(len, contents)) <= NUM_BYTES
    reader = text_reader(VECTORS["vocabulary"], length=VECTORS["length"], num_bytes=NUM_BYTES)
    assert (reader.spec.shape, reader.spec.dtype) == ([1, NUM_BYTES], tf.uint8)
    ids = run_all(reader, to_rows(contents))
    assert ids.dtype == np.int32
    for row, vector in zip(ids.tolist(), vectors, strict=True):
        assert row == vector["ids"], vector["about"]


EDGES = [chr(c) for a, b in (*SEPARATORS, *SINGLES) for c in (a, b) if not 0xD800 <= c <= 0xDFFF]
texts = st.lists(
    st.one_of(
        st.sampled_from(SHORT_WORDS),
        st.text(LETTERS, max_size=6),
        st.sampled_from([" ", ", ", "\u3000", "\0"]),
        st.sampled_from([*EDGES, *map(chr, FOLD)]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    )
).map("".join)


@given(st.lists(texts, min_size=1, max_size=10))
@settings(deadline=None, max_examples=200)
def test_any_text(graph, batch):
    contents = [text.encode() for text in batch]
    np.testing.assert_array_equal(graph(to_rows(contents)), plain_ids(contents, VOCABULARY, LENGTH))


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=10))
@settings(deadline=None, max_examples=200)
def test_any_bytes(graph, contents):
    np.testing.assert_array_equal(graph(to_rows(contents)), plain_ids(contents, VOCABULARY, LENGTH))


def test_broken_characters_between_words(graph):
    rng = np.random.default_rng(1)
    parts = ["a", "茶", "👍", "é", " ", "ab"]
    contents = []
    for _ in range(2000):
        content = bytearray("".join(rng.choice(parts, 20)).encode())
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.choice([0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF, 0x41])
        contents.append(bytes(content))
    ids = graph(to_rows(contents)).numpy()
    np.testing.assert_array_equal(ids, plain_ids(contents, VOCABULARY, LENGTH))


def test_no_unknown_word_is_taken_for_another(graph):
    # The table has 1.25 places a word, so most of these come to the place of some word.
    letters = list("abcäσςxж")
    rng = np.random.default_rng(2)
    words = {"".join(rng.choice(letters, rng.integers(1, 8))) for _ in range(60_000)}
    unknown = sorted(words - set(VOCABULARY))
    lines = [" ".join(unknown[i : i + LENGTH]) for i in range(0, len(unknown), LENGTH)][:-1]
    ids = graph(to_rows([line.encode() for line in lines])).numpy()
    assert ids.size > 20_000 and (ids == 1).all()


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_the_file_takes_the_batches_it_was_made_for(batch_size):
    reader = text_reader(VOCABULARY, length=LENGTH, num_bytes=64, batch_size=batch_size)
    assert reader.spec.shape.as_list() == [batch_size, 64]
    texts = ["ab äb", "", "茶" * 30, "ab " * 30, "σς👍ß 1", "Äb, ÄB? aB!"] * 2
    contents = [text.encode() for text in texts]
    ids = run_all(reader, to_rows(contents, 64))
    np.testing.assert_array_equal(ids, plain_ids(contents, VOCABULARY, LENGTH, 64))


def test_any_cut():
    texts = ["ab ab ab ab ab", "茶茶茶茶", "👍👍👍", "aß茶👍𐐀", "äb äb", ""]
    contents = [text.encode() for text in texts]
    for num_bytes in range(1, 16):
        reader = text_reader(VOCABULARY, length=LENGTH, num_bytes=num_bytes, batch_size=None)
        ids = reader.read(tf.constant(to_rows(contents, num_bytes)))
        np.testing.assert_array_equal(ids, plain_ids(contents, VOCABULARY, LENGTH, num_bytes))


def test_a_text_of_thousands_of_words():
    reader = text_reader(VOCABULARY, length=2000, num_bytes=32_768)
    content = ("ab 茶zz " * 4000).encode()
    ids = run_all(reader, to_rows([content], 32_768))
    np.testing.assert_array_equal(ids, plain_ids([content], VOCABULARY, 2000, 32_768))


@pytest.mark.parametrize("words", [[], ["Red", "a b"], ["茶"], ["x" * 300], ["a", "茶" * 2]])
def test_small_and_strange_vocabularies(words):
    vocabulary = ["<pad>", "<unk>", *words]
    reader = text_reader(vocabulary, length=3, num_bytes=NUM_BYTES, batch_size=None)
    contents = [t.encode() for t in ["Red a b", "茶x茶", "x" * 300, "x" * 301, "x" * 299, ""]]
    ids = reader.read(tf.constant(to_rows(contents)))
    np.testing.assert_array_equal(ids, plain_ids(contents, vocabulary, 3))


def test_a_large_vocabulary_of_ideographs_and_letters():
    rng = np.random.default_rng(3)
    words = {"".join(rng.choice(list("abcdefghijklmnop"), rng.integers(1, 9))) for _ in range(8000)}
    vocabulary = ["<pad>", "<unk>", *sorted(words), *map(chr, range(0x4E00, 0x7000))]
    reader = text_reader(vocabulary, length=LENGTH, num_bytes=NUM_BYTES, batch_size=None)
    chosen = rng.choice(vocabulary[2:], (1000, LENGTH))
    contents = [" ".join(row).encode() for row in chosen]
    ids = tf.function(reader.read)(to_rows(contents))
    np.testing.assert_array_equal(ids, plain_ids(contents, vocabulary, LENGTH))


def test_default_size_has_room_for_as_many_words_as_the_model_reads():
    # (2 separators + 5 bytes) * 10 words = 70, rounded up to a multiple of 32.
    assert default_num_bytes(["<pad>", "<unk>", "abcde", "жжe"], 10) == 96
    # A vocabulary without words counts as one of words of 8 bytes.
    assert default_num_bytes(["<pad>", "<unk>"], 16) == 160
    assert default_num_bytes(["<pad>", "<unk>", "x" * 1000], 1000) == 32_768
    reader = text_reader(["<pad>", "<unk>", "abcde"], length=10)
    assert reader.spec.shape.as_list() == [1, 96]


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="`vocabulary`: distinct words"):
        text_reader(["red"], length=4)
    with pytest.raises(ValueError, match="`length`: at least 1"):
        text_reader(VOCABULARY, length=0)
    for num_bytes in (0, 32_769):
        with pytest.raises(ValueError, match=f"`num_bytes`: .* Received: num_bytes={num_bytes}"):
            text_reader(VOCABULARY, length=4, num_bytes=num_bytes)
