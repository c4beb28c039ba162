"""WordLlama: byte pairs by literals, and an encoder of a table drawn at random."""

import json
import struct

import numpy as np
import pytest

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.wordllama import DIM, NUM_PIECES, WORD_MARK, BytePairs, load

M = WORD_MARK
START = ["<unk>", "<s>", "</s>", M, *"abt", f"{M}a", "ab", f"{M}ab", f"{M}{M}", "<0xC3>", "<0xA9>"]
IDS = {piece: index for index, piece in enumerate(START)}
MERGES = ["a b", f"{M} a", f"{M} ab", f"{M} {M}"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("ab", [f"{M}ab"]),  # "a b" was merged first, then "_ ab"
        ("a b", [f"{M}a", M, "b"]),
        ("at", [f"{M}a", "t"]),
        ("  a", [f"{M}{M}", f"{M}a"]),  # of equal pairs the first
        ("é", [M, "<0xC3>", "<0xA9>"]),
    ],
)
def test_joins_pairs_in_the_order_of_their_merging(text, pieces):
    assert BytePairs(IDS, MERGES)(text) == [IDS[piece] for piece in pieces]
    as_lists = [merge.split(" ") for merge in MERGES]
    assert BytePairs(IDS, as_lists)(text) == [IDS[piece] for piece in pieces]


@pytest.fixture
def files(tmp_path):
    vocabulary = IDS | {f"{M}word{'x' * (i % 7)}{i}": i for i in range(len(IDS), NUM_PIECES)}
    tokenizer = {"model": {"vocab": vocabulary, "merges": MERGES}}
    table = np.random.default_rng(0).normal(size=[NUM_PIECES, DIM]).astype(np.float16)
    entry = {"dtype": "F16", "shape": table.shape, "data_offsets": [0, table.nbytes]}
    head = json.dumps({"embedding.weight": entry}).encode()
    weights = tmp_path / "l2_supercat_256.safetensors"
    weights.write_bytes(struct.pack("<Q", len(head)) + head + table.tobytes())
    path = tmp_path / "l2_supercat_tokenizer_config.json"
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return {path.name: path, weights.name: weights}, table.astype(np.float32)


def test_averages_the_vectors_of_pieces(files):
    paths, table = files
    encoder = load(find_backbone("wordllama"), paths)
    features = encoder.features(["at", "", "ab ab at"])
    expected = table[IDS[f"{M}a"]] + table[IDS["t"]]
    np.testing.assert_allclose(features[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert not features[1].any()
    assert encoder.words() == ["a", "ab"]


def test_refuses_a_tokenizer_that_the_table_does_not_have(files):
    paths, _ = files
    path = paths["l2_supercat_tokenizer_config.json"]
    path.write_text(json.dumps({"model": {"vocab": IDS, "merges": MERGES}}), encoding="utf-8")
    with pytest.raises(ValueError, match="32000 pieces, as the table has. Received: 13"):
        load(find_backbone("wordllama"), paths)
